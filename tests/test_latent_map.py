"""The map of the latent space: what a place means, what components, words and sums do to it, and whose map it is."""

from __future__ import annotations

import base64
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aigc_demo.device import choose
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid, ModelDamaged
from aigc_demo.generators import latent_map, latent_rows
from aigc_demo.generators.latent_map import SUM, LatentMap, MapParams, Point, decode_point
from aigc_demo.generators.latent_model import LatentModel, load
from aigc_demo.results import finish
from aigc_demo.settings import Settings
from aigc_demo.ui import latent_page
from aigc_demo.ui.latent_map import charted, point

MORPH = latent_map.WEIGHTS / "emoji-morph"


@pytest.fixture(scope="module")
def chart() -> LatentMap:
    return latent_map.load()


@pytest.fixture(scope="module")
def model() -> LatentModel:
    return load(MORPH, choose("cpu", "float32"))


def decode(chart: LatentMap, model: LatentModel, **settings: Any) -> Point:
    return finish(decode_point(MapParams(**settings), model, chart)).value


# New weights without a new map would take the section off the page in silence.
def test_the_map_that_ships_is_of_the_weights_that_ship() -> None:
    assert latent_rows.chart() is not None, "python -m aigc_demo.training map"
    assert sum(file.stat().st_size for file in latent_map.FOLDER.iterdir()) <= 1_500_000


# With other weights the names would be of other pictures: no map, and a recipe that needs it says so.
def test_a_map_of_other_weights_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(MORPH, tmp_path / "other")
    with (tmp_path / "other" / "model.safetensors").open("ab") as file:
        file.write(b" ")
    assert latent_map.of_weights(tmp_path / "other") is None
    monkeypatch.setattr(latent_page, "chart", lambda: None)
    with pytest.raises(Invalid, match="no map"):
        latent_page.restore(b'{"format": "aigc-demo recipe", "family": "map", "settings": {"x": 1.0}}')
    with pytest.raises(ModelDamaged):
        latent_map.load(tmp_path)


# The page says: on a dot you get exactly its picture.
def test_a_dot_is_its_picture(chart: LatentMap, model: LatentModel) -> None:
    for n, layout in itertools.product(range(0, len(chart.known), 97), ("components", "likeness")):
        place = (chart.likeness if layout == "likeness" else chart.places)[n]
        np.testing.assert_allclose(chart.at(place, layout), chart.latents[n], atol=1e-6)
        x, y = map(float, place)
        found = decode(chart, model, layout=layout, x=x, y=y)
        assert found.nearest[0] == (chart.known[n].slug, pytest.approx(0, abs=1e-3))
        assert found.place == pytest.approx((x, y), abs=1e-3)


# A drag has to be a film and not a slide show: halving the step halves the largest change, also where neighbours swap.
@pytest.mark.parametrize("layout", ["components", "likeness"])
def test_a_way_over_the_map_has_no_jump(chart: LatentMap, layout: str) -> None:
    def largest(points: int) -> float:
        way = np.linspace((-1.2, -0.8), (1.3, 1.1), points)
        steps = np.diff(np.stack([chart.at(place, layout) for place in way]), axis=0)
        return float(np.linalg.norm(steps, axis=1).max())

    assert largest(40_001) < 0.6 * largest(20_001)


# Likeness is what this layout is for: of two pictures side by side far more often both are near for the model than by chance,
# and more often than on the two components.
def test_likes_stand_together(chart: LatentMap) -> None:
    def kept(places: np.ndarray) -> float:
        def nearest(points: np.ndarray) -> np.ndarray:
            at = torch.from_numpy(points)
            return torch.cdist(at, at).argsort(1)[:, 1:6].numpy()

        pairs = zip(nearest(places), nearest(chart.latents * chart.stretch), strict=True)
        return float(np.mean([len(set(seen) & set(true)) / 5 for seen, true in pairs]))

    assert kept(chart.likeness) > 2 * kept(chart.places)
    assert np.abs(chart.likeness).max() < latent_map.REACH


# A sum and a slider lead somewhere on this map as well: to the pictures that the result is most like.
def test_what_was_added_shows_where_its_likes_stand(chart: LatentMap, model: LatentModel) -> None:
    found = decode(chart, model, start=SUM, a="red-circle", b="red-circle", c="green-circle", layout="likeness")
    assert found.place == pytest.approx(chart.likeness[chart.find("green-circle")], abs=1e-3)
    x, y = map(float, chart.likeness[5])
    assert decode(chart, model, layout="likeness", x=x, y=y, red=3.0).place != pytest.approx((x, y), abs=1e-3)


# What the READMEs promise, and what A - B + C is for.
def test_green_circle_less_red_circle_and_red_heart_is_near_a_green_heart(chart: LatentMap, model: LatentModel) -> None:
    found = decode(chart, model, start=SUM)
    assert found.nearest[0][0] == "green-heart"
    assert not {"green-circle", "red-circle", "red-heart"} & {slug for slug, _ in found.nearest}
    a, b, c = (chart.latents[chart.find(slug)] for slug in ("green-circle", "red-circle", "red-heart"))
    with torch.no_grad():
        wanted = model.decode(torch.from_numpy(a - b + c)[None].float())[0]
    np.testing.assert_allclose(np.asarray(found.picture) / 127.5 - 1, wanted.permute(1, 2, 0).numpy(), atol=0.005)
    with pytest.raises(Invalid, match="no picture"):
        decode(chart, model, start=SUM, a="green-elephant")


# A slider named red has to make things red, and a component's slider has to move along that component by deviations.
def test_words_and_components_add_to_the_point(chart: LatentMap, model: LatentModel) -> None:
    def mean(**settings: Any) -> np.ndarray:
        return np.asarray(decode(chart, model, x=0.5, y=0.2, **settings).picture, float).mean((0, 1))

    plain = mean()
    for channel, colour in enumerate(("red", "green", "blue")):
        shift = mean(**{colour: 1.5}) - plain
        assert shift.argmax() == channel, colour
    moved = decode(chart, model, x=0.5, y=0.2, component_1=1.0, component_2=-0.5)
    assert moved.place == pytest.approx((1.5, -0.3), abs=1e-3)


# What the page gets for a point carries its recipe, and that recipe makes the same picture again.
def test_the_pages_picture_restores_its_point() -> None:
    engine = Engine(Settings(offline=True))
    settings = {"x": -0.7, "y": 0.4, "smiling": 1.2, "component_4": -0.5}
    answer = point(engine, settings)
    family, found = latent_page.restore(base64.b64decode(answer["picture"].partition(",")[2]))
    assert family is latent_rows.MAP
    assert found == MapParams(**settings).values()
    assert point(engine, found)["nearest"] == answer["nearest"]


# Every name in both languages, and the first settings of the page name pictures that are there.
def test_the_chart_is_whole_in_both_languages(chart: LatentMap) -> None:
    for language in ("en", "zh"):
        made = charted(chart, language)
        assert all(row[1].strip() for row in made["dots"])
        slugs = [row[2] for row in made["dots"]]
        assert set(made["layouts"]["names"]) == set(made["layouts"]["places"])
        assert len(set(slugs)) == len(slugs)
        assert {made["settings"][name] for name in "abc"} <= set(slugs)
    assert made["dots"][slugs.index("red-heart")][1] == "红心"
