"""`python -m aigc_demo.training examples`: contact sheets of the shipped models, none picked, to be looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aigc_demo.training import canvas, clip, gan, marks, morph, morph_marks, prompts, sheets, shipped, vae
from aigc_demo.training.data import SIZE, Pack
from aigc_demo.training.loop import device
from aigc_demo.training.registry import require
from aigc_demo.training.splits import Split
from aigc_demo.words import LANGUAGES

RECONSTRUCTED = 48
MORPHS, FRAMES = 12, 8
TRUNCATIONS = (0.5, 0.7, 1.0)
PER_TRUNCATION = 48
SAMPLES = (
    ("dragon", "fluent"),
    ("dolphin", "flat"),
    ("butterfly", "noto"),
    ("castle", "twemoji"),
    ("cat-face", "fluent"),
    ("dog-face", "fluent"),
    ("fox", "noto"),
    ("panda", "flat"),
    ("grinning-face", "noto"),
    ("smiling-face-with-sunglasses", "noto"),
    ("red-apple", "flat"),
    ("hamburger", "fluent"),
    ("rocket", "flat"),
    ("automobile", "twemoji"),
    ("sunflower", "noto"),
    ("red-heart", "twemoji"),
)
"""(slug, style) of the pictures that the page offers."""


def reconstructions(weights: Path, pack: Pack, split: Split, folder: Path) -> Path:
    """Pictures of families that emoji-vae never saw: a row as drawn, a row as given back, and so on."""
    import torch

    model = shipped.load_vae(require(weights, "emoji-vae"))
    kept = split.families_kept(pack)
    chosen = torch.tensor(kept[:: max(1, len(kept) // RECONSTRUCTED)][:RECONSTRUCTED])
    real = canvas.white(canvas.shelf(pack.pixels[chosen.numpy()], SIZE, device()))
    made = vae.reconstruct(model, real)
    rows = [part for pair in zip(real.split(12), made.split(12), strict=True) for part in pair]
    return _save(sheets.grid(torch.cat(rows), columns=12), folder / "emoji-vae-reconstructions.webp")


def samples(pack: Pack, folder: Path) -> Path:
    """Some pictures as drawn, on white, for the page; the first ones no model has seen."""
    rows = []
    folder.mkdir(parents=True, exist_ok=True)
    places = pack.places()
    for slug, style in SAMPLES:
        at = places[slug, style]
        name = pack.concepts[pack.pictures[at].concept].name
        [picture] = sheets.as_pictures(canvas.white(canvas.shelf(pack.pixels[at : at + 1], SIZE, device())))
        picture.save(folder / f"{slug}-{style}.png", optimize=True)
        rows.append({"file": f"{slug}-{style}.png", "en": name.en, "zh": name.zh, "style": style})
    text = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
    (folder / "samples.json").write_text(text, encoding="utf-8")
    return folder


def prompted(weights: Path, pack: Pack, split: Split, folder: Path) -> list[Path]:
    """The 64 committed prompts in each language, each picture with its nearest training picture to the right."""
    import torch

    home = require(weights, "emoji-diffusion")
    subjects = shipped.settings(home).get("subjects", "everything")
    pipeline = marks.load_pipeline(home)
    model, _ = shipped.load_clip(require(weights, "emoji-clip"))
    learnt = torch.tensor(pack.about(subjects, split.train(pack)))
    shelf = canvas.white(canvas.shelf(pack.pixels[learnt.numpy()], SIZE, device()))
    known = clip.embed_images(model, shelf)
    rows = prompts.load(subjects)["sheet"]
    written = []
    for language in LANGUAGES:
        made = marks.draw(pipeline, [row[language] for row in rows], [row["seed"] for row in rows])
        nearest = (clip.embed_images(model, made) @ known.T).argmax(1)
        both = torch.stack([made, shelf[nearest].to(made.device)], 1).flatten(0, 1)
        written.append(_save(sheets.grid(both, columns=16), folder / f"emoji-diffusion-{language}.webp"))
    return written


def morphs(weights: Path, pack: Pack, split: Split, folder: Path) -> Path:
    """The first pairs of emoji-morph's exam, a row each: a picture as drawn, the line from its reconstruction to
    the other's, and the other as drawn."""
    import torch

    model = shipped.load_morph(require(weights, "emoji-morph"))
    drawn = torch.tensor(morph_marks.pairs(pack, split, MORPHS)).flatten()
    real = canvas.white(canvas.shelf(pack.pixels[drawn.numpy()], morph.SIDE, device()))
    z = morph.encode(model, real)
    lines = morph.decode(model, morph.blend(z[::2], z[1::2], FRAMES).flatten(0, 1)).unflatten(0, (MORPHS, FRAMES))
    rows = torch.cat([real[::2, None], lines, real[1::2, None]], 1)
    return _save(sheets.grid(rows.flatten(0, 1), columns=FRAMES + 2), folder / "emoji-morph.webp")


def sampled(weights: Path, folder: Path) -> Path:
    """Three blocks of emoji-gan's samples, the same seeds from most typical to most varied."""
    import torch

    generator, _ = shipped.load_gan(require(weights, "emoji-gan"))
    blocks = [gan.sample(generator, range(PER_TRUNCATION), psi) for psi in TRUNCATIONS]
    return _save(sheets.grid(torch.cat(blocks), columns=16), folder / "emoji-gan.webp")


def _save(sheet: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=92, method=6)
    return path
