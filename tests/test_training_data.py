"""What is learnt from: filters, hues, captions, canvases, and a split that leaks nothing."""

import random
from collections import Counter

import numpy as np
import pytest

from aigc_demo.errors import UserError
from aigc_demo.training import canvas, captions, concepts, data, hue, prompts, sources, splits, toy

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def pack() -> data.Pack:
    return toy.pack()


@pytest.fixture(scope="module")
def composer(pack: data.Pack) -> captions.Composer:
    return captions.Composer(pack, toy.split(pack).train(pack), seed=5)


@pytest.mark.parametrize(
    ("slug", "category", "code", "kept"),
    [
        ("cat-face", "Animals & Nature", "1f431", True),
        ("waving-hand", "People & Body", "1f44b", True),
        ("waving-hand-light", "People & Body", "1f44b-1f3fb", False),
        ("one-oclock", "Travel & Places", "1f550", False),
        ("twelve-thirty", "Travel & Places", "1f567", False),
        ("keycap-3", "Symbols", "33-20e3", False),
        ("left-arrow", "Symbols", "2b05", False),
        ("recycling-symbol", "Symbols", "267b", True),
        ("man-cook", "People & Body", "1f468-200d-1f373", False),
        ("cook", "People & Body", "1f9d1-200d-1f373", True),
        ("woman-with-headscarf", "People & Body", "1f9d5", True),
        ("rainbow-flag", "Flags", "1f3f3-200d-1f308", False),
    ],
)
def test_only_what_is_worth_drawing_is_kept(slug: str, category: str, code: str, kept: bool) -> None:
    assert concepts.worth_drawing(slug, category, code) is kept


def test_codes_lose_variation_selectors_and_nothing_else() -> None:
    assert concepts.code_of("❤️") == "2764"
    assert concepts.code_of("2764-fe0f-200d-1f525") == "2764-200d-1f525"


def test_share_alike_sets_are_no_source_and_every_source_is_pinned() -> None:
    packages = [*sources.PACKAGES, *sources.FURTHER_PACKAGES.values()]
    names = " ".join(package.name for package in packages)
    assert "openmoji" not in names
    assert "emojione-v1" not in names
    assert all(package.integrity.startswith("sha512-") and package.licence for package in packages)


def test_a_set_without_codes_is_joined_by_the_names_of_things_and_of_characters(pack) -> None:
    """Three of the further sets tell only names, of three kinds; a concept that they lack is no failure."""
    made = [
        concepts.Concept(slug, code, "Toys", pack.concepts[0].name, (), ())
        for slug, code in (
            ("eggplant", "1f346"),
            ("cat-face", "1f431"),
            ("red-heart", "2764"),
            ("cook", "1f9d1-200d-1f373"),
        )
    ]
    assert data.by_name(made, ["aubergine", "cat-face-1", "cat-face-2"]) == {
        "1f346": "aubergine",
        "1f431": "cat-face-1",
    }


def test_further_styles_teach_names_and_no_caption_tells_their_style(pack) -> None:
    """And of what is held out there is none of them either."""
    split = toy.split(pack)
    further = split.further(pack)
    assert {pack.concepts[pack.pictures[i].concept].slug for i in further} == {f"disc-{c}" for c in range(4)}
    told = captions.Composer(pack, further, seed=5)
    said = " ".join(told.draw(n).caption for n in range(200))
    assert not [word for words in concepts.STYLES.values() for word in (words.en, words.zh) if word in said]


def test_a_missing_npm_says_what_to_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UserError, match=r"npm is not installed.*iconify"):
        sources.fetch(sources.PACKAGES[0], tmp_path)


def test_a_cached_file_of_another_content_is_not_used(tmp_path, monkeypatch) -> None:
    (tmp_path / sources.PACKAGES[0].file).write_bytes(b"something else")
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(UserError):
        sources.fetch(sources.PACKAGES[0], tmp_path)


def test_a_missing_and_a_damaged_pack_say_what_to_run(tmp_path) -> None:
    with pytest.raises(UserError, match="training data"):
        data.load(tmp_path)
    data.pack_path(tmp_path).write_bytes(b"PK not really")
    with pytest.raises(UserError, match="damaged"):
        data.load(tmp_path)


def test_a_pack_comes_back_as_it_was_written_and_the_same_twice(tmp_path, pack) -> None:
    from PIL import Image

    files = [data._webp(Image.fromarray(picture)) for picture in pack.pixels]
    for folder in (tmp_path / "a", tmp_path / "b"):
        data._write(data.pack_path(folder), pack.concepts, pack.pictures, files)
    assert data.pack_path(tmp_path / "a").read_bytes() == data.pack_path(tmp_path / "b").read_bytes()
    again = data.load(tmp_path / "a")
    assert (again.concepts, again.pictures) == (pack.concepts, pack.pictures)
    seen = pack.pixels[..., 3] > 0
    assert np.array_equal(again.pixels[seen], pack.pixels[seen])
    assert np.array_equal(again.pixels[..., 3], pack.pixels[..., 3])


def test_an_icon_is_drawn_with_its_alias_and_a_broken_one_is_not() -> None:
    pytest.importorskip("resvg_py")
    body = '<rect x="0" y="0" width="8" height="16" fill="#f00"/>'
    icons = {
        "icons": {"left": {"body": body}, "broken": {"body": "<rect"}, "empty": {"body": ""}},
        "aliases": {"right": {"parent": "left", "hFlip": True}},
        "width": 16,
        "height": 16,
    }
    left, right = data.rasterise(icons, "left"), data.rasterise(icons, "right")
    assert left is not None
    assert right is not None
    assert left.getpixel((10, 64)) == (255, 0, 0, 255) == right.getpixel((118, 64))
    assert left.getpixel((118, 64))[3] == 0
    assert data.rasterise(icons, "broken") is None
    assert data.rasterise(icons, "empty") is None


def test_turning_a_hue_by_the_difference_reaches_the_target() -> None:
    picture = np.zeros((8, 8, 3), np.float32) + np.array([0.7, 0.45, 0.35], np.float32)
    weight = np.ones((8, 8))
    start = hue.dominant(picture, weight)
    assert start is not None
    for word, (target, _) in hue.HUES.items():
        turned = (picture @ hue.turn(target - start)).clip(0, 1)
        found = hue.dominant(turned, weight)
        assert found is not None
        assert hue.nearest(found) == word
        assert np.allclose(turned.mean(), picture.mean(), atol=0.02), "lightness stays"


def test_grey_has_no_dominant_hue() -> None:
    assert hue.dominant(np.full((8, 8, 3), 0.5, np.float32), np.ones((8, 8))) is None


def test_draws_are_the_same_wherever_they_are_drawn(pack, composer) -> None:
    again = captions.Composer(pack, composer.members, seed=5)
    backwards = [again.draw(n) for n in reversed(range(200))][::-1]
    assert backwards == [composer.draw(n) for n in range(200)]
    assert captions.Composer(pack, composer.members, seed=6).draw(0) != composer.draw(0)


def test_an_epoch_shows_every_picture_once(composer) -> None:
    count = len(composer.members)
    for epoch in range(2):
        shown = [composer.draw(epoch * count + n).pieces[0][0] for n in range(count)]
        assert sorted(shown) == sorted(composer.members)


def test_the_mix_is_about_as_declared_in_both_languages(composer) -> None:
    plans = [composer.draw(n) for n in range(2000)]
    kinds = Counter(plan.kind for plan in plans)
    assert abs(kinds["plain"] / 2000 - captions.MIX["plain"]) < 0.05
    assert abs(sum(plan.language == "zh" for plan in plans) / 2000 - 0.5) < 0.05


def test_words_of_a_caption_have_effects(pack, composer) -> None:
    dice = random.Random(1)
    picture = composer.members[0]
    tinted = composer.plan("colour", "en", picture, dice)
    assert tinted.pieces[0][1] != 0
    assert any(word in tinted.caption for word in hue.HUES)
    grounded = composer.plan("ground", "zh", picture, dice)
    assert grounded.ground is not None
    assert hue.BACKGROUNDS[grounded.ground][1].zh + "背景" in grounded.caption
    several = composer.plan("several", "en", picture, dice)
    assert len(several.pieces) == several.caption.count(" and ") + 1
    assert len({pack.pictures[i].style for i, _ in several.pieces}) == 1


def test_articles_fit_their_word() -> None:
    assert captions.say(captions.COLOURED, "en", colour="orange", name="cat") == "an orange cat"
    assert captions.say(captions.COLOURED, "en", colour="blue", name="cat") == "a blue cat"


def test_keywords_that_fit_too_many_are_not_used(pack) -> None:
    told = concepts.telling_keywords(pack.concepts, "en", at_most=3)
    assert not any(told.values()), "each shape has four colours and each colour six shapes"
    assert concepts.telling_keywords(pack.concepts, "en", at_most=4)["disc-0"] == ("disc",)


def test_a_canvas_has_the_ground_and_the_pieces(pack, composer) -> None:
    shelf = canvas.shelf(pack.pixels, 64)
    plans = [
        captions.Plan("", "en", "ground", ((0, 0.0),), ground="blue"),
        captions.Plan("", "en", "several", ((0, 0.0), (4, 0.0))),
    ]
    pictures, cover = canvas.compose(shelf, plans, torch.Generator().manual_seed(0))
    corner = ((pictures[0, :, 0, 0] + 1) * 127.5).round().int().tolist()
    assert tuple(corner) == hue.BACKGROUNDS["blue"][0]
    assert (pictures[1, :, 0, 0] == 1).all()
    halves = cover[1, 0, :, :32].sum(), cover[1, 0, :, 32:].sum()
    assert min(halves) > 50
    still, _ = canvas.compose(shelf, [captions.Plan("", "en", "plain", ((0, 0.0),))], torch.Generator())
    assert torch.allclose(still, canvas.white(shelf[:1]), atol=1e-6)


def test_the_committed_split_leaks_no_family() -> None:
    split = splits.load()
    held = {split.family[slug] for slug in split.held_out}
    assert held.isdisjoint(split.family[slug] for slug in split.family if slug not in split.held_out)
    assert 0.04 < len(held) / len(set(split.family.values())) < 0.06
    assert not split.held_out & set(split.held_style)
    known = len(split.family) - len(split.held_out)
    assert abs(len(split.held_style) / known - 0.25) < 0.01
    assert set(split.held_style.values()) == {"noto", "twemoji"}


def test_members_of_one_sequence_are_one_family() -> None:
    import json

    rows = json.loads(splits.SPLIT_FILE.read_text(encoding="utf-8"))
    family: dict[str, str] = {}
    for row in rows.values():
        base = row["code"].split("-")[0]
        assert family.setdefault(base, row["family"]) == row["family"]


def test_twins_are_one_family(pack) -> None:
    groups = splits.families(pack)
    drawn = splits.draw(pack, share=0.2)
    assert sum(map(len, groups)) == len(pack.concepts)
    assert drawn == splits.draw(pack, share=0.2)


def test_the_sets_of_a_split_do_not_meet(pack) -> None:
    split = toy.split(pack)
    naming, kept, back = split.train(pack, naming=True), split.families_kept(pack), split.styles_kept(pack)
    gems = [i for i, p in enumerate(pack.pictures) if p.style == toy.FURTHER and i not in split.further(pack)]
    assert sorted([*naming, *kept, *back, *split.further(pack), *gems]) == list(range(len(pack.pictures)))
    assert {pack.concepts[pack.pictures[i].concept].slug for i in gems} <= split.held_out
    assert sorted([*naming, *back]) == split.train(pack)


@pytest.mark.parametrize("subjects", concepts.SUBJECTS)
def test_committed_prompts_ask_only_for_what_may_be_learnt(subjects: str) -> None:
    split, rows = splits.load(), prompts.load(subjects)
    colours = {"everything": 200, "nature": 125, "faces": 148, "living": 200}[subjects]
    assert {name: len(part) for name, part in rows.items()} == {"exam": 500, "colours": colours, "sheet": 64}
    assert len({(row["slug"], row["style"]) for row in rows["exam"]}) == 500, "nothing is asked twice"
    for row in [row for part in rows.values() for row in part]:
        assert row["slug"] not in split.held_out
        assert row["en"]
        assert row["zh"]
        assert row["style"] in concepts.STYLES
