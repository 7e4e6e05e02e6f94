"""Is this folder a whole model that is safe to load? Looked at before anything of it is loaded."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from aigc_demo.errors import ModelDamaged
from aigc_demo.words import Words

INDEXES = ("model_index.json", "config.json")
"""Either makes a folder a model: a diffusers pipeline, or one model of diffusers or transformers."""
PAIR = ("generator", "discriminator")
"""An adversarial pair has no index of its own: it is these two folders, each one model."""

TEMPLATE_LIMIT = 64 * 2**10
JSON_LIMIT = 4 * 2**20
TOKENIZER_LIMIT = 64 * 2**20
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
_CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipeline", "custom_pipelines", "custom_code"})
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion", None)
"""What a pipeline's parts may come from. "stable_diffusion" is diffusers' own, under its old name."""
_TEXT_MODEL = re.compile("(ForCausalLM|LMHeadModel|ForConditionalGeneration)$")
_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_MISSING = Words("{file} is missing", "缺少 {file}")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\b")
_READ = frozenset(
    {"generation_config", "tokenizer_config", "scheduler_config", "preprocessor_config", "processor_config"}
)
_READ_TOO = frozenset({"special_tokens_map", "added_tokens", "chat_template", "tokenizer", "vocab"})
"""The JSON files that loaders read, beside the indexes. Others (a trainer's state, say) are nobody's business."""


def dropped_in(models: Path) -> list[Path]:
    """The model folders that a person put under `models`: models/<Name> and models/<owner>/<Name>, sorted."""
    found: list[Path] = []
    for folder in _folders(models):
        found += [folder] if is_model(folder) else [inner for inner in _folders(folder) if is_model(inner)]
    return found


def is_model(folder: Path) -> bool:
    """Whether it looks like a model at all; `check_folder` says whether it is a whole one."""
    return main_index(folder) is not None


def main_index(folder: Path) -> str | None:
    """The name of the file that says what is in the folder, which tells a pipeline from a single model."""
    found = next((index for index in INDEXES if (folder / index).is_file()), None)
    if found is None and all((folder / part / "config.json").is_file() for part in PAIR):
        return f"{PAIR[0]}/config.json"
    return found


def check_folder(folder: Path, *, root: Path | None = None) -> None:
    """Raise `ModelDamaged`, saying what is wrong, unless `folder` is a complete model that is safe to load.

    root: links may lead anywhere under it (the hub's cache keeps files beside the folder); the folder itself if None.
    Reads JSON files and the headers of weights, never the weights. A folder that passed is not read again until one
    of its files has another size or time.
    """
    if not folder.is_dir():
        _refuse(folder, Words("it does not exist", "它不存在"))
    top = folder.resolve()
    files = tuple(_files(top, (root or folder).resolve(), folder))
    _check(top, folder.name, tuple((str(f), (s := f.stat()).st_size, s.st_mtime_ns) for f in files))


@lru_cache(maxsize=256)
def _check(top: Path, name: str, seen: tuple[tuple[str, int, int], ...]) -> None:
    files = [Path(path) for path, _, _ in seen]
    main = main_index(top)
    if main is None or top / main not in files:
        _refuse(name, _MISSING.format(file="config.json"))
    index = _json(top / main, name)
    parts = _pipeline_parts(top, index, files, name) if main == INDEXES[0] else []
    if main not in INDEXES:
        parts = [top / part for part in PAIR]
    there = [file for file in files if file.parent in (top, top / "additional_chat_templates", *parts)]
    data = {file: _json(file, name) for file in there if _is_read(file)}
    for file, value in data.items():
        if file.name != "tokenizer.json" and (key := _code_key(value)):
            _refuse(
                name,
                Words(
                    "{file} asks to run program code of the model's own ({key}), which this app never does",
                    "{file} 要求运行模型自带的程序代码（{key}），本应用从不这样做",
                ).format(file=file.name, key=key),
            )
        if file.name.endswith(".safetensors.index.json"):
            _shards(file, value, name)
    _check_templates(there, data, name)
    for folder in [part for part in parts if part / "config.json" in there] or [top]:
        _check_weights(folder, there, data, name)
    architectures = index.get("architectures")
    text = isinstance(architectures, list) and any(isinstance(a, str) and _TEXT_MODEL.search(a) for a in architectures)
    if text and not any(top / tokenizer in there for tokenizer in _TOKENIZERS):
        _refuse(name, Words("its tokenizer is missing ({file})", "缺少分词器（{file}）").format(file="tokenizer.json"))


def _pipeline_parts(top: Path, index: dict[str, Any], files: list[Path], name: str) -> list[Path]:
    """The folders of a pipeline's parts."""
    if not isinstance(index.get("_class_name"), str):
        _refuse(name, Words("{file} names no pipeline", "{file} 没有写明流水线").format(file="model_index.json"))
    parts = []
    for part, kind in index.items():
        if part.startswith("_") or not isinstance(kind, list):
            continue
        if len(kind) != 2 or kind[0] not in _LIBRARIES or not (kind[1] is None or str(kind[1]).isidentifier()):
            _refuse(
                name,
                Words(
                    "{file} takes “{part}” from outside diffusers and transformers",
                    "{file} 中的“{part}”来自 diffusers 和 transformers 之外",
                ).format(file="model_index.json", part=part[:40]),
            )
        if kind[0] and kind[1]:
            if not _is_plain(part) or not any(file.parent == top / part for file in files):
                _refuse(name, Words("the part “{part}” is missing", "缺少部件“{part}”").format(part=part[:40]))
            parts.append(top / part)
    return parts


def _is_read(file: Path) -> bool:
    return (
        file.name in INDEXES
        or file.name.endswith(".index.json")
        or (file.suffix == ".json" and file.stem in _READ | _READ_TOO)
    )


def _check_weights(folder: Path, there: list[Path], data: dict[Path, Any], name: str) -> None:
    here = [file for file in there if file.parent == folder]
    weights = [file for file in here if file.suffix == ".safetensors"]
    if not weights:
        if any(file.suffix in PICKLES for file in here):
            _refuse(
                name,
                Words(
                    "its weights are only there in a format that can run program code when it is read ({files}); "
                    "this app loads safetensors only",
                    "其权重只有读取时可能运行程序代码的格式（{files}）；本应用只加载 safetensors",
                ).format(files=", ".join(sorted({file.suffix for file in here if file.suffix in PICKLES}))),
            )
        _refuse(name, Words("the weights are missing (*.safetensors)", "缺少权重（*.safetensors）"))
    if all(_SHARD.search(file.name) for file in weights):
        indexes = [file for file in here if file.name.endswith(".safetensors.index.json")]
        if not indexes:
            _refuse(name, Words("the index of its weight files is missing", "缺少权重文件的索引"))
        lacking = [sorted(_shards(file, data[file], name) - {w.name for w in weights}) for file in indexes]
        if all(lacking):
            _refuse(name, _MISSING.format(file=lacking[0][0]))
    for file in weights:
        _check_safetensors(file, name)


def _check_safetensors(file: Path, name: str) -> None:
    """The library's own check of the header against the file's size; the numbers themselves are not read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError):
        _refuse(
            name,
            Words(
                "{file} is damaged or was cut off: its size is not what its first bytes say",
                "{file} 已损坏或不完整：其大小与文件开头所写的不符",
            ).format(file=file.name),
        )


def _shards(file: Path, index: Any, name: str) -> set[str]:
    """The weight files that an index names; they can only be beside it."""
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names:
        _refuse(name, Words("{file} lists no weight files", "{file} 没有列出权重文件").format(file=file.name))
    shards = set(map(str, names.values()))
    for shard in shards:
        if not _is_plain(shard) or not shard.endswith(".safetensors"):
            _refuse(
                name,
                Words(
                    "{file} names a weight file that is not in the same folder or not safetensors",
                    "{file} 指向的权重文件不在同一文件夹内，或不是 safetensors",
                ).format(file=file.name),
            )
    return shards


def _check_templates(there: list[Path], data: dict[Path, Any], name: str) -> None:
    size = max((file.stat().st_size for file in there if file.suffix == ".jinja"), default=0)
    for file, value in data.items():
        if file.name in ("tokenizer_config.json", "chat_template.json", "processor_config.json"):
            size = max(size, len(json.dumps(value.get("chat_template"), ensure_ascii=False).encode(errors="replace")))
    if size > TEMPLATE_LIMIT:
        _refuse(
            name,
            Words(
                "its chat template has {size} KiB; at most {limit} are read",
                "其对话模板有 {size} KiB；最多只能读取 {limit} KiB",
            ).format(size=size // 1024, limit=TEMPLATE_LIMIT // 1024),
        )


def _json(file: Path, name: str) -> Any:
    limit = TOKENIZER_LIMIT if file.name in ("tokenizer.json", "vocab.json") else JSON_LIMIT
    if file.stat().st_size > limit:
        _refuse(
            name,
            Words(
                "{file} is larger than {limit} MiB, which no such file is",
                "{file} 超过 {limit} MiB，正常的文件不会这样大",
            ).format(file=file.name, limit=limit // 2**20),
        )
    try:
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        _refuse(name, Words("{file} is not valid JSON", "{file} 不是有效的 JSON").format(file=file.name))
    return value


def _code_key(value: Any, depth: int = 0) -> str | None:
    """The first key that asks for code to be run, however deep; nobody nests a config ten levels."""
    if depth > 10:
        return None
    if isinstance(value, dict):
        own = next((key for key in _CODE_KEYS & value.keys() if value[key]), None)
        return own or next((k for v in value.values() if (k := _code_key(v, depth + 1))), None)
    if isinstance(value, list):
        return next((k for v in value if (k := _code_key(v, depth + 1))), None)
    return None


def _files(top: Path, root: Path, folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(top):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and Path(parent) == top)
        for path in [Path(parent, n) for n in sorted(names)] + [Path(parent, f) for f in folders]:
            if path.is_symlink() and not _leads_into(path, root):
                _refuse(
                    folder,
                    Words(
                        "“{file}” is a link that leads out of the folder or nowhere",
                        "“{file}” 是指向文件夹之外或不存在之处的链接",
                    ).format(file=path.name),
                )
            if path.is_file():
                yield path


def _leads_into(link: Path, root: Path) -> bool:
    try:
        return link.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):  # nowhere, or in a circle
        return False


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(f for f in parent.iterdir() if not f.name.startswith(".") and f.is_dir())


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def _refuse(folder: Path | str, reason: Words) -> NoReturn:
    raise ModelDamaged(
        Words("The model folder “{name}” cannot be used: {reason}.", "模型文件夹“{name}”无法使用：{reason}。").format(
            name=folder if isinstance(folder, str) else folder.name, reason=reason
        )
    )
