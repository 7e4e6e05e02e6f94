"""The form of the Images tab, filled in and sent off without a browser."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image
from tiny_images import MAKERS

from aigc_demo.engine import Engine
from aigc_demo.errors import UserError
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.settings import Settings
from aigc_demo.ui import images_page, uploads
from aigc_demo.ui.images_page import Click, Update

STEPS = 4
FORM = {**ImageParams.defaults(), "prompt": "a cat", "model": "./sd", "num_inference_steps": STEPS, "seed": 3}
FORM = {name: value for name, value in FORM.items() if name not in images_page.GIVEN}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = tmp_path_factory.mktemp("images")
    for name in ("sd", "sd3"):
        MAKERS[name](place / "models" / name)
    return Engine(
        Settings(models_dir=place / "models", cache_dir=place / "cache", offline=True, device="cpu", dtype="float32")
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """gradio's upload folder, empty."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    return Path(get_upload_folder())


def click(canvas: Any = None, language: str = "en", **settings: Any) -> Click:
    return Click(FORM | settings, canvas, language, "someone")


def drawn(engine: Engine, canvas: Any = None, **settings: Any) -> list[Update]:
    return list(images_page.draw(engine, click(canvas, **settings)))


def bytes_of(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, **{"format": "PNG"} | options)
    return file.getvalue()


def picture(width: int = 20, height: int = 20) -> Image.Image:
    shades = np.linspace(0, 255, 3 * width * height).reshape(height, width, 3)
    return Image.fromarray(shades.astype(np.uint8))


def layer(box: tuple[int, int, int, int] | None, colour: str = "black") -> Image.Image:
    """A drawing on a transparent layer, as the canvas sends it."""
    found = Image.new("RGBA", (20, 20))
    if box:
        found.paste(colour, box)
    return found


def upload(data: bytes, name: str = "picture.png") -> dict[str, Any]:
    """A file as gradio's JSON names it after an upload."""
    return {"path": uploads.keep(data, name), "meta": {"_type": "gradio.FileData"}}


def canvas(background: Image.Image | None, *layers: Image.Image) -> dict[str, Any]:
    return {
        "background": upload(bytes_of(background)) if background else None,
        "layers": [upload(bytes_of(one), "layer.png") for one in layers],
        "composite": None,
    }


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as found:
        return np.asarray(found.convert("RGB"))


def refusal(work: Any, *given: Any) -> str:
    """What a call that must fail says; in both languages."""
    with pytest.raises(UserError) as caught:
        work(*given)
    assert caught.value.words.zh.endswith("。")
    return caught.value.words.en
