"""The command line: `data`, `evaluate`, `examples`, `map`, or one model's name. It drives generators and writes what they say."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aigc_demo.errors import UserError
from aigc_demo.results import Done, Step
from aigc_demo.training import data, loop, prompts, registry, splits
from aigc_demo.training.concepts import SUBJECTS


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        if options.command == "data":
            return _data(options)
        if options.command == "evaluate":
            from aigc_demo.training import evaluate

            return evaluate.main(options)
        if options.command == "examples":
            return _examples(options)
        if options.command == "map":
            return _map(options)
        return _train(options)
    except UserError as error:
        print(f"\n{error.words.en}\n{error.words.zh}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; the checkpoint is kept and the same command goes on from it.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m aigc_demo.training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("data", help="fetch the npm packages and draw the pack")
    made.add_argument("--cache", type=Path, help="instead of the user's cache folder")
    made.add_argument(
        "--draw-split", action="store_true", help="draw the committed split and prompts anew (changes every figure)"
    )
    judged = commands.add_parser("evaluate", help="compute the figures of the models in --weights")
    judged.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(registry.MODELS))
    judged.add_argument("--weights", type=Path, default=splits.ASSETS / "weights")
    judged.add_argument("--cache", type=Path)
    shown = commands.add_parser("examples", help="draw the contact sheets of the models in --weights")
    shown.add_argument("--weights", type=Path, default=splits.ASSETS / "weights")
    shown.add_argument("--out", type=Path, default=splits.ASSETS / "examples")
    shown.add_argument("--cache", type=Path)
    mapped = commands.add_parser("map", help="draw the map of the emoji-morph in --weights")
    mapped.add_argument("--weights", type=Path, default=splits.ASSETS / "weights")
    mapped.add_argument("--out", type=Path, default=splits.ASSETS / "morph-map")
    mapped.add_argument("--cache", type=Path)
    for name in registry.MODELS:
        model = commands.add_parser(name, help=f"train {name}")
        model.add_argument("--preset", choices=registry.PRESETS, default="cpu")
        model.add_argument("--out", type=Path, required=True, help="where checkpoint, log, sheets and the model go")
        model.add_argument("--weights", type=Path, default=splits.ASSETS / "weights", help="of models this one needs")
        model.add_argument("--begin", type=Path, help="a trained model to begin with, instead of with chance")
        model.add_argument("--cache", type=Path)
        model.add_argument("--threads", type=int, help="of the CPU; on a shared machine fewer can be faster")
        for field in dataclasses.fields(registry.MODELS[name].params()):
            model.add_argument(
                f"--{field.name.replace('_', '-')}", type=type(field.default), help="overrides the preset"
            )
    return parser


def _data(options: argparse.Namespace) -> int:
    done = None
    for item in data.build(options.cache):
        if isinstance(item, Done):
            done = item
        else:
            _bar(item.stage, item.index, item.total or 0, item.value or "")
    assert done is not None
    print()
    pack = data.load(options.cache)
    if options.draw_split or not splits.SPLIT_FILE.exists():
        splits.save(splits.draw(pack), pack)
    split = splits.load()
    splits.check(split, pack)
    for subjects in SUBJECTS:
        if options.draw_split or not prompts.file(subjects).exists():
            prompts.save(prompts.draw(pack, split, subjects), subjects)
    counts = {
        "families": len(set(split.family.values())),
        "held-out families": len({split.family[s] for s in split.held_out}),
        "held-out family pictures": len(split.families_kept(pack)),
        "held-back style pictures": len(split.styles_kept(pack)),
        "training pictures": len(split.train(pack)),
        "training pictures of clip and judge": len(split.train(pack, naming=True)),
        "and in further styles": len(split.further(pack)),
    }
    print(json.dumps({"pack": str(done.value), **done.figures, **counts}, indent=2, ensure_ascii=False))
    return 0


def _examples(options: argparse.Namespace) -> int:
    from aigc_demo.training import examples

    pack, split = data.load(options.cache), splits.load()
    print(examples.samples(pack, options.out / "samples"))
    print(examples.reconstructions(options.weights, pack, split, options.out))
    if (options.weights / "emoji-diffusion").exists():
        print(*examples.prompted(options.weights, pack, split, options.out), sep="\n")
    if (options.weights / "emoji-morph").exists():
        print(examples.morphs(options.weights, pack, split, options.out))
    if (options.weights / "emoji-gan").exists():
        print(examples.sampled(options.weights, options.out))
    return 0


def _map(options: argparse.Namespace) -> int:
    from aigc_demo.training import morph_map

    print(morph_map.main(options.weights, data.load(options.cache), splits.load(), options.out))
    return 0


def _train(options: argparse.Namespace) -> int:
    model = registry.MODELS[options.command]
    base = model.presets()[options.preset]
    overrides = {name: getattr(options, name) for name in base.values() if getattr(options, name) is not None}
    params = dataclasses.replace(base, **overrides).resolved()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    # a background job of a shell ignores Ctrl-C's signal, and `kill` sends another one: both keep the checkpoint
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    folder = options.out
    folder.mkdir(parents=True, exist_ok=True)
    run = registry.start(options.command, params, options.preset, folder, options.weights, options.cache, options.begin)
    try:
        with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
            done = _follow(run, folder, log)
    finally:
        run.close()
    print(f"\n{done.value}  {done.timings['total']:.0f} s")
    return 0


def _follow(run: Iterator[Step[loop.Progress] | Done[Path]], folder: Path, log: Any) -> Done[Path]:
    for item in run:
        if isinstance(item, Done):
            return item
        progress = item.value
        if progress is None:
            _bar(item.stage, item.index, item.total or 0, "")
            continue
        row = {k: v for k, v in vars(progress).items() if k != "sheet" and v != {}}
        log.write(json.dumps(row) + "\n")
        log.flush()
        if progress.sheet is not None:
            progress.sheet.save(folder / f"sheet-{progress.step:06}.png")
        told = {**progress.losses, **progress.held_out}
        words = " ".join(f"{name} {value:.4g}" for name, value in told.items())
        eta = f"{progress.eta_seconds / 60:.0f} min"
        _bar("train", item.index, item.total or 0, f"{progress.samples_per_second:.0f}/s  {eta}  {words}")
        if progress.held_out:
            print()
    raise RuntimeError("the run ended without Done")


def _bar(stage: str, index: int, total: int, words: str) -> None:
    filled = 24 * index // max(1, total)
    print(f"\r{stage} [{'#' * filled}{'.' * (24 - filled)}] {index}/{total}  {words[:150]:<60}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
