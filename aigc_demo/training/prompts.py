"""The prompts that a diffusion model is judged by, drawn once for what it may learn and committed before it was trained.

`exam`: name + style, for the judge. `colours`: a colour that no style gives the thing by nature. `sheet`: the 64
that a person looks at. Each is one row with both languages and its seed, so that no one can pick.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aigc_demo.training import captions, hue
from aigc_demo.training.concepts import STYLES
from aigc_demo.training.data import Pack
from aigc_demo.training.splits import ASSETS, Split
from aigc_demo.words import LANGUAGES

EXAM = 500
SHEET = {"plain": 44, "colour": 10, "ground": 6, "several": 4}
Row = dict[str, Any]


def file(subjects: str) -> Path:
    return ASSETS / "training" / f"prompts-{subjects}.json"


def draw(pack: Pack, split: Split, subjects: str = "everything", *, seed: int = 500) -> dict[str, list[Row]]:
    """All prompts, of concepts that may be learnt. Deterministic for a pack, a split, subjects and a seed."""
    dice = random.Random(seed)
    known = [c for c, it in enumerate(pack.concepts) if it.slug not in split.held_out and it.is_of(subjects)]
    natural = natural_colours(pack)
    tinted = [c for c in known if natural[c] and not captions.HAS_COLOUR.search(_names(pack, c))]
    asked = [(c, dice.choice(list(STYLES))) for c in dice.sample(known, min(EXAM, len(known)))]
    others = sorted({(c, style) for c in known for style in STYLES} - set(asked))
    asked += dice.sample(others, min(EXAM - len(asked), len(others)))
    exam = [_row(pack, c, style, n) for n, (c, style) in enumerate(asked)]
    colours = [_colour(pack, c, natural[c], dice, n) for n, c in enumerate(dice.sample(tinted, min(200, len(tinted))))]
    kinds = [kind for kind, count in SHEET.items() for _ in range(count)]
    sheet = []
    for n, kind in enumerate(kinds):
        concept = dice.choice(tinted if kind == "colour" else known)
        if kind == "colour":
            sheet.append(_colour(pack, concept, natural[concept], dice, n))
        elif kind == "ground":
            ground = dice.choice(list(hue.BACKGROUNDS))
            sheet.append(_row(pack, concept, dice.choice(list(STYLES)), n, ground=ground))
        elif kind == "several":
            sheet.append(_row(pack, concept, dice.choice(list(STYLES)), n, beside=dice.choice(known)))
        else:
            sheet.append(_row(pack, concept, dice.choice(list(STYLES)), n))
    return {"exam": exam, "colours": colours, "sheet": sheet}


def natural_colours(pack: Pack) -> list[set[str]]:
    """Per concept, the colour words that some style draws it in; empty where none has enough colour to turn."""
    found: list[set[str]] = [set() for _ in pack.concepts]
    for i, degrees in captions.dominant_hues(pack, range(len(pack.pictures))).items():
        found[pack.pictures[i].concept].add(hue.nearest(degrees))
    return found


def save(rows: dict[str, list[Row]], subjects: str) -> None:
    path = file(subjects)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        f'"{name}": [\n' + ",\n".join(json.dumps(row, ensure_ascii=False) for row in part) + "\n]"
        for name, part in rows.items()
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def load(subjects: str = "everything") -> dict[str, list[Row]]:
    return json.loads(file(subjects).read_text(encoding="utf-8"))


def _colour(pack: Pack, concept: int, natural: set[str], dice: random.Random, seed: int) -> Row:
    words: Sequence[str] = [w for w in hue.HUES if w not in natural]
    return _row(pack, concept, dice.choice(list(STYLES)), seed, colour=dice.choice(words))


def _row(
    pack: Pack,
    concept: int,
    style: str,
    seed: int,
    colour: str | None = None,
    ground: str | None = None,
    beside: int | None = None,
) -> Row:
    row: Row = {"slug": pack.concepts[concept].slug, "style": style, "seed": seed}
    row |= {key: value for key, value in (("colour", colour), ("ground", ground)) if value}
    if beside is not None:
        row["beside"] = pack.concepts[beside].slug
    for language in LANGUAGES:
        what = pack.concepts[concept].name.to(language)
        if colour:
            what = captions.say(captions.COLOURED, language, colour=hue.HUES[colour][1], name=what)
        if beside is not None:
            what += captions.AND.to(language) + pack.concepts[beside].name.to(language)
        if ground:
            what = captions.say(captions.GROUNDED, language, what=what, ground=hue.BACKGROUNDS[ground][1])
        row[language] = captions.named(what, style, language)
    return row


def _names(pack: Pack, concept: int) -> str:
    return f"{pack.concepts[concept].name.en} {pack.concepts[concept].name.zh}"
