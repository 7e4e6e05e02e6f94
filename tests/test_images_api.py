"""Pictures over the public interface: a real server on tiny pipelines, over gradio_client and raw HTTP."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from tiny_images import MAKERS, SIDE

from aigc_demo import png
from aigc_demo.device import choose
from aigc_demo.engine import Engine
from aigc_demo.generators import diffusion_model
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import ImageModel
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.results import finish
from aigc_demo.settings import Settings
from aigc_demo.shell import build, serve
from aigc_demo.ui import images_page
from aigc_demo.ui.images_page import GIVEN
from aigc_demo.ui.run import JOBS

PATIENCE = 60
"""Seconds until a test gives up on something that should happen at once; nothing is measured by it."""
VALUES = {"prompt": "a cat", "model": "./sd", "num_inference_steps": 3, "seed": 7}
ENDPOINTS = {
    "generate_images": [name for name in ImageParams.markers() if name not in (*GIVEN, "strength")],
    "edit_image": [*GIVEN, *(n for n in ImageParams.markers() if n not in GIVEN and not n.startswith("variation"))],
}


@dataclass(frozen=True)
class Server:
    """A running app, a folder of the machine that it must not read, and plain HTTP."""

    url: str
    http: httpx.Client
    models: dict[str, ImageModel]

    def call(self, name: str, values: dict[str, Any], language: str = "en") -> tuple[str, Any]:
        """Call an endpoint without any client library: the last event's name and its data."""
        data = [(ImageParams.defaults() | VALUES | values)[field] for field in ENDPOINTS[name]]
        headers = {"content-type": "application/json", "accept-language": language}
        body = json.dumps({"data": data})  # json.dumps writes NaN as it is
        called = self.http.post(f"/gradio_api/call/{name}", content=body, headers=headers)
        assert called.status_code == 200, called.text
        told = self.http.get(f"/gradio_api/call/{name}/{called.json()['event_id']}", headers=headers).text
        event, line = told.strip().split("\n\n")[-1].split("\n")
        return event.removeprefix("event: "), json.loads(line.removeprefix("data: "))

    def refusal(self, values: dict[str, Any], language: str = "en", name: str = "generate_images") -> str:
        """The message that a call ends with."""
        event, data = self.call(name, values, language)
        assert event == "error"
        return data["error"]

    def upload(self, data: bytes, name: str = "picture.png") -> dict[str, Any]:
        """A file as the endpoints take it, uploaded as gradio's page does."""
        [path] = self.http.post("/gradio_api/upload", files={"files": (name, data)}).json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in a fixed order, and no threads that wait for each other
    place = tmp_path_factory.mktemp("api")
    folders = {name: make(place / "models" / name) for name, make in MAKERS.items()}
    settings = Settings(
        port=17890,
        models_dir=place / "models",
        cache_dir=place / "cache",
        offline=True,
        device="cpu",
        dtype="float32",
        mcp=True,
    )
    page, say = build(Engine(settings))
    _, url, _ = serve(page, say, settings, prevent_thread_lock=True, quiet=True)
    models = {name: diffusion_model.load(folder, choose("cpu", "float32")) for name, folder in folders.items()}
    with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        yield Server(url, http, models)
    page.close(verbose=False)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.url, verbose=False, httpx_kwargs={"trust_env": False, "timeout": PATIENCE})


@pytest.fixture(autouse=True)
def works_afterwards(server: Server) -> Iterator[None]:
    """Whatever a test sent, the next request works and no job is left behind."""
    yield
    event, data = server.call("generate_images", {"num_inference_steps": 1})
    assert event == "complete"
    assert len(data[0]) == 1
    assert JOBS.count() == 0


def picture() -> Image.Image:
    shades = np.linspace(0, 255, 3 * 20 * 20).reshape(20, 20, 3)
    return Image.fromarray(shades.astype(np.uint8))


def half() -> Image.Image:
    painted = Image.new("L", (20, 20))
    painted.paste(255, (0, 0, 10, 20))
    return painted


def bytes_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A caller's own files."""
    place = tmp_path_factory.mktemp("mine")
    contents = {"image": bytes_of(picture()), "mask": bytes_of(half()), "empty": bytes_of(Image.new("L", (20, 20)))}
    for name, data in contents.items():
        (place / f"{name}.png").write_bytes(data)
    (place / "text.png").write_text("no picture")
    return {path.stem: path for path in place.iterdir()}


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as found:
        return np.asarray(found.convert("RGB"))


def wanted(server: Server, **values: Any) -> list[np.ndarray]:
    """What Python makes of the same request."""
    request = ImageParams.of(VALUES | values)
    made = finish(generate(request, server.models[request.model.removeprefix("./")]))
    return [np.asarray(one.image) for one in made.value.pictures]


# ---- what it gives ----------------------------------------------------------------------------------------------


# Programs get what the page and a line of Python get, pixel by pixel, whatever the kind of model.
@pytest.mark.parametrize("kind", MAKERS)
def test_pictures_from_words(server: Server, client: Client, kind: str):
    values = VALUES | {"model": f"./{kind}", "num_images": 2, "guidance_scale": 3, "negative_prompt": "a dog"}
    paths, recipes = client.predict(**values, api_name="/generate_images")
    for path, pixel in zip(paths, wanted(server, **values), strict=True):
        assert np.array_equal(pixels(path), pixel)
    assert [own["settings"]["seed"] for own in recipes] == [7, 8]
    for path, own in zip(paths, recipes, strict=True):
        assert png.read(Path(path).read_bytes()).settings == own["settings"]
        assert own["settings"]["num_images"] == 1
        with Image.open(path) as found:
            assert found.format == "PNG"
            assert found.info["parameters"].startswith("a cat\nNegative prompt: a dog\nSteps: 3,")


# From a picture, and from a picture with a mask; the files travel as gradio's do.
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("masked", [False, True])
def test_pictures_from_a_picture(server: Server, client: Client, files: dict[str, Path], kind: str, masked: bool):
    values = VALUES | {"model": f"./{kind}", "strength": 0.7}
    given = {"image": handle_file(files["image"])} | ({"mask": handle_file(files["mask"])} if masked else {})
    paths, recipes = client.predict(**given, **values, api_name="/edit_image")
    own = {"image": picture()} | ({"mask": half()} if masked else {})
    assert np.array_equal(pixels(paths[0]), wanted(server, **values, **own)[0])
    assert recipes[0]["settings"]["image"].startswith("sha256:")
    assert (recipes[0]["settings"]["mask"] is not None) == masked
    assert png.read(Path(paths[0]).read_bytes()).settings == recipes[0]["settings"]


# The recipe that came with a picture, sent back, gives the picture again; the random seed included.
def test_a_recipe_gives_the_same_picture(client: Client):
    paths, recipes = client.predict(**VALUES | {"seed": -1}, api_name="/generate_images")
    again = {name: recipes[0]["settings"][name] for name in ENDPOINTS["generate_images"]}
    assert np.array_equal(pixels(client.predict(**again, api_name="/generate_images")[0][0]), pixels(paths[0]))


# The code that the page shows for a picture gives that picture: it is run as it stands, but for the address.
@pytest.mark.parametrize("given", [(), ("image",), ("image", "mask")])
def test_the_code_of_the_page_runs(
    server: Server,
    client: Client,
    files: dict[str, Path],
    given: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    for name in given:
        shutil.copy(files[name], images_page.FILES[name])
    values = VALUES | {"prompt": 'it\'s a "cat"\n猫', "scheduler": "euler_a", "strength": 0.8}
    if not given:
        values.pop("strength")
    sent = {name: handle_file(files[name]) for name in given}
    endpoint = "/edit_image" if given else "/generate_images"
    paths, recipes = client.predict(**sent, **values, api_name=endpoint)
    code = images_page.as_code(recipes[0]).replace("http://127.0.0.1:7860", server.url)
    options = "verbose=False, httpx_kwargs={'trust_env': False}"
    names: dict[str, Any] = {}
    exec(re.sub(r"(Client\(\".*?\")\)", rf"\1, {options})", code), names)
    assert np.array_equal(pixels(names["files"][0]), pixels(paths[0]))
    assert names["recipes"][0]["settings"] == recipes[0]["settings"]


# ---- how it is declared -----------------------------------------------------------------------------------------


# Programs are written against these names and defaults.
def test_names_and_defaults(client: Client):
    info = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for name, fields in ENDPOINTS.items():
        parameters = info[f"/{name}"]["parameters"]
        assert [p["parameter_name"] for p in parameters] == fields
        found = {p["parameter_name"]: p["parameter_default"] for p in parameters if p["parameter_has_default"]}
        assert found == {n: v for n, v in ImageParams.defaults().items() if n in fields and (n, name) != REQUIRED}


REQUIRED = ("image", "edit_image")


# Language models read the same from the MCP schema, and find two tools of different names.
def test_the_mcp_schema(server: Server):
    tools = {tool["name"]: tool["inputSchema"] for tool in server.http.get("/gradio_api/mcp/schema").json()}
    markers = ImageParams.markers()
    for name, fields in ENDPOINTS.items():
        found = tools[name]["properties"]
        assert list(found) == fields
        for field in fields:
            assert markers[field][1].help.en in found[field]["description"]
    assert tools["edit_image"]["required"] == ["image"]
    assert not tools["generate_images"].get("required")


# The list says what a program may ask for: each family's rows and folders, and no model of the other one.
def test_list_models(client: Client):
    listed = client.predict(api_name="/list_models")
    images = [model for model in listed if model["family"] == "images"]
    assert [model["id"] for model in images] == [*IMAGES.rows, "./sd", "./sd3", "./sdxl"]
    assert all(model["here"] for model in images[-3:])
    assert not [model for model in listed if model["family"] == "text" and model["id"].startswith("./")]


# ---- what it refuses --------------------------------------------------------------------------------------------

WRONG = [
    ({"scheduler": "euler_b"}, "(scheduler) must be one of", "“采样器”须为以下之一"),
    ({"scheduler": "euler", "model": "./sd3"}, "The sampler Euler does not go with this model", "不适用于该模型"),
    ({"style": "baroque"}, "(style) must be one of", "“风格”须为以下之一"),
    ({"width": 26, "height": 16}, "Width of 26 px", "宽度为 26 像素"),
    ({"height": 4096}, "(height) must be from 0 to 2048", "“高度”须在"),
    ({"num_images": 17}, "(num_images) must be from 1 to 16", "“图片数量”须在"),
    ({"num_images": 1.5}, "(num_images) must be a whole number", "须为整数"),
    ({"num_inference_steps": 0}, "(num_inference_steps) must be", "“步数”须"),
    ({"guidance_scale": float("nan")}, "(guidance_scale) must be a finite number", "须为有限的数字"),
    ({"seed": float("inf")}, "(seed) must be a finite number", "须为有限的数字"),
    ({"seed": 2**31}, "(seed) must be a whole number from 0", "“随机种子”须为"),
    ({"prompt": "x" * 100_000}, "100,000 characters long; at most 20,000", "100,000 个字符"),
    ({"prompt": ["a"]}, "(prompt) must be text", "“提示词”须为文字"),
    ({"prompt": None}, "(prompt) must be text", "“提示词”须为文字"),
    ({"seed": {"a": 1}}, "(seed) must be a number", "须为数字"),
    ({"model": ""}, "(model) is empty", "是空的"),
    ({"model": "nothing"}, "There is no model “nothing”", "没有模型“nothing”"),
    ({"model": "./gone"}, "There is no model folder “gone”", "没有模型文件夹“gone”"),
    ({"model": "./../../etc"}, "There is no model folder", "没有模型文件夹"),
    ({"model": "nobody/nothing"}, "started offline", "离线"),
]


# Every mistake is named to a program, in its own language.
@pytest.mark.parametrize(("values", "en", "zh"), WRONG)
def test_wrong_values(server: Server, values: dict[str, Any], en: str, zh: str):
    assert en in server.refusal(values)
    said = server.refusal(values, "zh-CN,zh;q=0.9")
    assert zh in said
    assert said.endswith("。")


# Files that are none, and edits that leave nothing to do.
@pytest.mark.parametrize(
    ("given", "values", "en", "zh"),
    [
        ({"image": "text"}, {}, "not a picture that can be opened", "不是可以打开的图片"),
        ({"image": "image", "mask": "text"}, {}, "not a picture that can be opened", "不是可以打开的图片"),
        ({"image": "image", "mask": "empty"}, {}, "Nothing is painted", "没有涂抹任何区域"),
        ({"image": "image"}, {"strength": 0.1}, "a strength of 0.1 leaves none", "重绘幅度 0.1"),
        ({"image": "image"}, {"strength": 2}, "(strength) must be from 0.05 to 1", "“重绘幅度”须在"),
    ],
)
def test_wrong_edits(
    server: Server, files: dict[str, Path], given: dict[str, str], values: dict[str, Any], en: str, zh: str
):
    sent = {name: server.upload(files[file].read_bytes()) for name, file in given.items()}
    assert en in server.refusal(sent | values, name="edit_image")
    assert zh in server.refusal(sent | values, "zh", name="edit_image")


# A photograph as a phone makes it is larger than what gradio was once told to take here.
def test_a_photograph_of_twelve_megabytes_is_taken(server: Server) -> None:
    file = io.BytesIO()
    Image.frombytes("RGB", (2000, 2000), os.urandom(12_000_000)).save(file, "PNG", compress_level=0)
    assert len(file.getvalue()) > 12_000_000
    event, (pictures, _) = server.call("edit_image", {"image": server.upload(file.getvalue())})
    assert event == "complete"
    assert len(pictures) == 1


# Whoever calls by hand may name any path; none but an upload is opened, and nothing of it comes back.
@pytest.mark.parametrize("name", GIVEN)
def test_no_path_of_the_server_is_read(server: Server, files: dict[str, Path], name: str):
    secret = str(files["image"])
    good = {"image": server.upload(files["image"].read_bytes())}
    for odd in (
        secret,
        "/etc/passwd",
        "..",
        {"path": secret},
        {"path": secret, "meta": {"_type": "gradio.FileData"}},
        {"path": f"{good['image']['path']}/../../../{Path(secret).name}", "meta": {"_type": "gradio.FileData"}},
        {"path": "/etc/passwd", "url": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        [secret],
        7,
        True,
    ):
        said = server.refusal(good | {name: odd}, name="edit_image")
        assert said, odd
        assert "root:" not in said


# An edit without a picture is a mistake in a program: told, not turned into a picture from words.
@pytest.mark.parametrize("nothing", [None, "", {}])
def test_an_edit_needs_a_picture(server: Server, nothing: Any):
    assert "(image)" in server.refusal({"image": nothing}, name="edit_image")
    assert "“图片”" in server.refusal({"image": nothing}, "zh", name="edit_image")


# gradio's own client shows the message to whoever wrote the program.
def test_the_client_raises_the_words(client: Client):
    with pytest.raises(AppError, match="must be one of default"):
        client.predict(**VALUES | {"scheduler": "x"}, api_name="/generate_images")


# Pictures are as many as were asked for and as large.
def test_sizes(client: Client):
    paths, _ = client.predict(**VALUES | {"width": 24, "height": SIDE, "num_images": 3}, api_name="/generate_images")
    assert [pixels(path).shape for path in paths] == [(SIDE, 24, 3)] * 3
