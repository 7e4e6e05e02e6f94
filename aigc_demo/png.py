"""Recipes within pictures: a PNG carries how to make it again, and the line that other programs read and write.

The line is the one of AUTOMATIC1111's web UI, which most others took over:

    a cat on a roof
    Negative prompt: rain
    Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 1, Size: 512x512, Model: name

It is read from the text of a PNG, or from the EXIF comment of a JPEG or WebP file. What it says comes
from strangers, as every recipe does: nothing is fetched or opened for it, and its Params will check it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from aigc_demo import animation, pictures, recipe
from aigc_demo.errors import Invalid
from aigc_demo.params import SEED_LIMIT, clean
from aigc_demo.recipe import Recipe
from aigc_demo.words import Words

OURS = "aigc-demo"
LINE = "parameters"
"""The names of the two text chunks."""

FAMILY = "images"
"""What the line of another program describes; it knows no other family."""

SAMPLERS = {
    "ddim": "DDIM",
    "euler": "Euler",
    "euler_a": "Euler a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "unipc": "UniPC",
    "lcm": "LCM",
}
"""Our scheduler -> its name in the line. "default" has none: it is a different one for each model."""

NO_RECIPE = Words(
    "This picture carries no recipe. Screenshots, and many sites and chats, remove it: "
    "take the file as it was first saved.",
    "这张图片不带配方。截图以及许多网站和聊天软件会将其去除：请使用最初保存的文件。",
)

_SCHEDULERS = {theirs.lower(): ours for ours, theirs in SAMPLERS.items()}
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8")
_NEGATIVE = "Negative prompt:"


def write(picture: Image.Image, made: Mapping[str, Any]) -> bytes:
    """A PNG file with the recipe `made` in it, and with the line where the recipe has a prompt.

    The recipe is the picture's own: of a batch, each picture's holds its own seed.
    """
    info = PngImagePlugin.PngInfo()
    # JSON may hold lone surrogates and UTF-8 may not; this escapes them as JSON would
    info.add_itxt(OURS, recipe.write(made).encode("utf-8", "backslashreplace").decode("utf-8"))
    if made["settings"].get("prompt") is not None:
        info.add_text(LINE, clean(_line(made)))
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def read(data: bytes) -> Recipe:
    """The recipe that a picture carries: ours, or what another program's line says. Raises `Invalid`.

    The line's model is left out: a restored recipe never fetches one, and ours have other names.
    """
    picture = pictures.opened(data)
    ours, line = _texts(picture)
    if ours:
        return recipe.parse(ours)
    settings = _settings(line)
    if not settings:
        raise Invalid(NO_RECIPE)
    return Recipe(FAMILY, settings)


def read_any(data: bytes) -> Recipe:
    """A recipe from whatever was dropped on the page: a picture or an animation that carries one, or its JSON file.
    Raises `Invalid`."""
    if found := animation.read(data):
        return found
    if animation.is_video(data):
        raise Invalid(NO_RECIPE)
    return read(data) if data.startswith(_PICTURES) else recipe.read(data)


def _texts(picture: Image.Image) -> tuple[str, str]:
    """Our recipe and the line, each "" where the picture has none."""
    found = _chunks(picture)
    if any(found):
        return found
    try:
        picture.load()  # text may also stand after the pixels of a PNG
        found = _chunks(picture)
        return found if any(found) else ("", _comment(picture))
    except Exception:  # noqa: BLE001 - its pixels or its EXIF are damaged: nothing can be read from there
        return "", ""


def _chunks(picture: Image.Image) -> tuple[str, str]:
    ours, line = (picture.info.get(name) for name in (OURS, LINE))
    return (ours if isinstance(ours, str) else "", line if isinstance(line, str) else "")


def _comment(picture: Image.Image) -> str:
    """The EXIF UserComment, whose first eight bytes name its encoding."""
    comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else ""
    code, text = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        # UTF-16 in an order that the standard leaves open; the line's Latin letters have their zeros first or last
        order = "be" if text[::2].count(0) >= text[1::2].count(0) else "le"
        return text.decode(f"utf-16-{order}", "replace")
    return text.decode("utf-8", "replace") if code in (b"ASCII\0\0\0", bytes(8)) else ""


def _line(made: Mapping[str, Any]) -> str:
    settings = made["settings"]
    model = made.get("model") or {}
    size = f"{settings['width']}x{settings['height']}" if {"width", "height"} <= settings.keys() else None
    facts = {
        "Steps": settings.get("num_inference_steps"),
        "Sampler": SAMPLERS.get(settings.get("scheduler", "")),
        "CFG scale": settings.get("guidance_scale"),
        "Seed": settings.get("seed"),
        "Size": size,
        "Model": model.get("name") or settings.get("model"),
        "Denoising strength": settings.get("strength"),
    }
    rows = [settings["prompt"]]
    if settings.get("negative_prompt"):
        rows.append(f"{_NEGATIVE} {settings['negative_prompt']}")
    rows.append(", ".join(f"{name}: {_quoted(str(fact))}" for name, fact in facts.items() if fact is not None))
    return "\n".join(rows)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search('[,:"\n]', value) else value


def _settings(text: str) -> dict[str, Any]:
    """What a line says, as far as it can be read, by our names and unchecked; {} where it says nothing."""
    if len(text) > recipe.LONGEST or _is_json(text):
        return {}
    rows = text.replace("\r\n", "\n").strip().split("\n")
    found: dict[str, Any] = {}
    for last in reversed(range(len(rows))):  # some programs write their templates below
        if _FACTS.match(rows[last]) and (found := _facts(rows[last])):
            rows = rows[:last]
            break
    split = next((number for number, row in enumerate(rows) if row.lstrip().startswith(_NEGATIVE)), len(rows))
    prompt = "\n".join(rows[:split]).strip()
    negative = "\n".join(rows[split:]).strip().removeprefix(_NEGATIVE).strip()
    return {name: value for name, value in (("prompt", prompt), ("negative_prompt", negative)) if value} | found


def _is_json(text: str) -> bool:
    """Some programs write JSON of their own under the same name; it is not a prompt."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


_FACTS = re.compile(r"\s*(steps|sampler|cfg scale|seed|size|denoising strength):", re.IGNORECASE)
_WHOLE = re.compile(r"-?\d{1,15}")
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{0,20})?")
_SIZE = re.compile(r"(\d{1,9})\s*x\s*(\d{1,9})")
_PAIR = re.compile(r'\s*([A-Za-z][\w /-]{0,40}):\s*("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')


def _facts(row: str) -> dict[str, Any]:
    """The settings in one row; {} where it only looked like their row, and is a prompt's."""
    pairs = dict(_pairs(row))
    found: dict[str, Any] = {}
    for name, setting in (("steps", "num_inference_steps"), ("seed", "seed")):
        if _WHOLE.fullmatch(pairs.get(name, "")):
            found[setting] = int(pairs[name])
    for name, setting in (("cfg scale", "guidance_scale"), ("denoising strength", "strength")):
        if _DECIMAL.fullmatch(pairs.get(name, "")):
            found[setting] = float(pairs[name])
    if found.get("seed", 0) >= SEED_LIMIT:
        del found["seed"]  # theirs go to 2**32, and would not give the same picture here anyway
    if size := _SIZE.fullmatch(pairs.get("size", "")):
        found["width"], found["height"] = int(size[1]), int(size[2])
    sampler = pairs.get("sampler", "").lower()
    if pairs.get("schedule type", "").lower() == "karras":
        sampler += " karras"
    for name in (sampler, sampler.removesuffix(" karras")):  # "Euler Karras" is nearest to our Euler
        if name in _SCHEDULERS:
            found["scheduler"] = _SCHEDULERS[name]
            break
    return found


def _pairs(row: str) -> Iterator[tuple[str, str]]:
    """ "Name: value" and "Name: "quoted, value"", separated by commas; names in lower case."""
    start = 0
    while start < len(row):
        pair = _PAIR.match(row, start)
        if pair is None:
            start = row.find(",", start) + 1 or len(row)
            continue
        start = pair.end()
        value = pair[2].strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value.strip('"')
        yield pair[1].strip().lower(), value
