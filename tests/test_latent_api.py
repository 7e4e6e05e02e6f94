"""Autoencoders over the public interface: a real server on tiny models, over gradio_client."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from test_latent import picture, same
from tiny_latent import MAKERS

from aigc_demo import animation, png
from aigc_demo.engine import Engine
from aigc_demo.generators.latent import RebuildParams, WalkParams
from aigc_demo.generators.latent_map import MapParams
from aigc_demo.generators.latent_rows import MAP, REBUILD, WALK
from aigc_demo.results import finish
from aigc_demo.settings import Settings
from aigc_demo.shell import build, serve


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = tmp_path_factory.mktemp("latent-api")
    for name, make in MAKERS.items():
        make(place / "models" / name)
    return Engine(Settings(models_dir=place / "models", cache_dir=place / "cache", offline=True, port=7970))


@pytest.fixture(scope="module")
def client(engine: Engine) -> Iterator[Client]:
    page, words = build(engine)
    _, url, _ = serve(page, words, engine.settings, prevent_thread_lock=True, quiet=True)
    yield Client(url, verbose=False)
    page.close(verbose=False)


@pytest.fixture
def files(tmp_path: Path) -> list[Any]:
    found = []
    for n in range(3):
        picture(n).save(tmp_path / f"{n}.png")
        found.append(handle_file(tmp_path / f"{n}.png"))
    return found


# Page, API and Python give the same pixels, and the file carries what made it.
def test_reconstruct_image_gives_what_python_gives(client: Client, engine: Engine, files: list[Any]) -> None:
    file, recipe = client.predict(image=files[0], model="./kl", spread=0.5, seed=3, api_name="/reconstruct_image")
    ours = finish(engine.run(REBUILD, RebuildParams(image=picture(0), model="./kl", spread=0.5, seed=3)))
    with Image.open(file) as made:
        assert same(made, ours.value.rebuilt)
    assert recipe["figures"]["psnr"] == pytest.approx(ours.figures["psnr"])
    assert png.read(Path(file).read_bytes()).settings == recipe["settings"]


def test_interpolate_latents_gives_frames_and_an_animation(client: Client, engine: Engine, files: list[Any]) -> None:
    frames, film, recipe = client.predict(
        images=files, model="./vector", frames=5, interpolation="slerp", api_name="/interpolate_latents"
    )
    asked = WalkParams(images=[picture(n) for n in range(3)], model="./vector", frames=5, interpolation="slerp")
    ours = finish(engine.run(WALK, asked)).value
    for file, frame in zip(frames, ours.frames, strict=True):
        with Image.open(file) as made:
            assert same(made, frame)
    data = Path(film).read_bytes()
    with Image.open(io.BytesIO(data)) as made:
        assert made.n_frames == 5
    found = animation.read(data)
    assert found is not None
    assert found.settings == recipe["settings"]


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("/interpolate_latents", {"count": 1}, "from 2 to 6 pictures"),
        ("/interpolate_latents", {"count": 3, "frames": 100_000}, "from 2 to 600"),
        ("/reconstruct_image", {"model": "./nothing"}, "no model folder"),
        ("/reconstruct_image", {"spread": -1}, "from 0 to 10"),
    ],
)
def test_what_cannot_be_is_told(client: Client, files: list[Any], name: str, values: dict[str, Any], told: str) -> None:
    given = {"images": files[: values.pop("count")]} if "count" in values else {"image": files[0]}
    with pytest.raises(AppError, match=told):
        client.predict(**given, **{"model": "./kl", **values}, api_name=name)


def test_the_models_are_listed_once_as_one_family(client: Client) -> None:
    listed = [model["id"] for model in client.predict(api_name="/list_models") if model["family"] == "latent"]
    assert len(listed) == len(set(listed))
    assert {"emoji-vae", "sd-vae-ft-mse", "./kl", "./tiny", "./vector"} <= set(listed)


# A script walks the map as the page does, and is told which of its names is unknown.
def test_decode_latent_point_gives_what_python_gives(client: Client, engine: Engine) -> None:
    settings = {"x": 0.4, "y": -0.6, "blue": 1.0}
    file, recipe = client.predict(**settings, api_name="/decode_latent_point")
    ours = finish(engine.run(MAP, MapParams(**settings)))
    with Image.open(file) as made:
        assert same(made, ours.value.picture)
    assert recipe["figures"]["nearest"] == dict(ours.value.nearest)
    with pytest.raises(AppError, match="no picture"):
        client.predict(start="sum", a="nothing", api_name="/decode_latent_point")
