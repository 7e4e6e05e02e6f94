"""The public interface as its callers meet it: a real server on a tiny model, over gradio_client, raw HTTP and MCP."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from gradio_client import Client

from aigc_demo.engine import Engine
from aigc_demo.generators.diffusion_params import DEFAULT_MODEL
from aigc_demo.generators.diffusion_rows import MODELS
from aigc_demo.generators.text import LONGEST_PROMPT, TextParams
from aigc_demo.generators.text_model import Passes
from aigc_demo.generators.text_rows import TEXT
from aigc_demo.params import Choice, Data, Range, Seed, Switch, Text
from aigc_demo.settings import Settings
from aigc_demo.shell import build, serve
from aigc_demo.ui.run import JOBS, UPDATES_PER_SECOND
from aigc_demo.weights import Source

PATIENCE = 60
"""Seconds until a test gives up on something that should happen at once; nothing is measured by it."""
VALUES = {"prompt": "The quick brown fox", "model": "./tiny", "max_new_tokens": 12, "seed": 7}
PUBLIC = ["generate_text", "generate_images", "edit_image", "reconstruct_image", "interpolate_latents"]
PUBLIC += ["decode_latent_point", "list_models", "sample_gan", "walk_gan"]
LONG = VALUES | {"model": "./endless", "max_new_tokens": 200}


def endless(folder: Path) -> None:
    """Take a model's ends of text away, so that its answers are as long as a test asks for."""
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        file = folder / name
        entries = json.loads(file.read_text("utf-8"))
        kept = {key: value for key, value in entries.items() if key not in ("eos_token_id", "eos_token")}
        file.write_text(json.dumps(kept), "utf-8")


@dataclass(frozen=True)
class Server:
    """A running app: its address, its page, and a plain HTTP client."""

    url: str
    page: Any
    http: httpx.Client

    def call(self, name: str, data: list[Any], **headers: str) -> tuple[str, Any]:
        """Call an endpoint without any client library: the last event's name and its data."""
        body = json.dumps({"data": data})  # json.dumps writes NaN and "\ud800" as they are
        headers = {"content-type": "application/json", **headers}
        called = self.http.post(f"/gradio_api/call/{name}", content=body, headers=headers)
        assert called.status_code == 200, called.text
        told = self.http.get(f"/gradio_api/call/{name}/{called.json()['event_id']}", headers=headers).text
        event, line = told.strip().split("\n\n")[-1].split("\n")
        return event.removeprefix("event: "), json.loads(line.removeprefix("data: "))

    def ask(self, values: dict[str, Any], **headers: str) -> tuple[str, Any]:
        """Call /generate_text with the defaults for what is not given."""
        data = [(TextParams.defaults() | values)[name] for name in TextParams.markers()]
        return self.call("generate_text", data, **headers)

    def refusal(self, values: dict[str, Any], language: str | None = None) -> str:
        """The message that a call ends with."""
        event, data = self.ask(values, **{"accept-language": language} if language else {})
        assert event == "error"
        return data["error"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Iterator[Server]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # OpenMP's threads wait for each other on a busy machine
    place = tmp_path_factory.mktemp("api")
    shutil.copytree(tiny_llama, place / "models" / "tiny")
    endless(shutil.copytree(tiny_llama, place / "models" / "endless"))
    settings = Settings(
        port=17870,
        models_dir=place / "models",
        cache_dir=place / "cache",
        offline=True,
        device="cpu",
        dtype="float32",
        mcp=True,
    )
    painter = replace(MODELS[DEFAULT_MODEL], source=Source(folder=place / "none"))
    page, say = build(Engine(settings))
    _, url, _ = serve(page, say, settings, prevent_thread_lock=True, quiet=True)
    with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as http, pytest.MonkeyPatch.context() as patch:
        # who sends nothing asks the model that ships for a whole grid: minutes, and no matter of the interface
        patch.setitem(MODELS, DEFAULT_MODEL, painter)
        yield Server(url, page, http)
    page.close(verbose=False)
    torch.set_num_threads(threads)


def connect(server: Server) -> Client:
    return Client(server.url, verbose=False, httpx_kwargs={"trust_env": False, "timeout": PATIENCE})


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return connect(server)


@pytest.fixture(autouse=True)
def works_afterwards(server: Server) -> Iterator[None]:
    """Whatever a test sent, the next request works and no job is left behind."""
    yield
    event, data = server.ask(VALUES)
    assert event == "complete"
    assert data[1]["figures"]["generated_tokens"] > 0
    assert until(lambda: JOBS.count() == 0 and not workers())


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == TEXT.name]


def until(happens: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happens()


# Programs are written against these names: the endpoints, and the parameters with their defaults.
def test_names_and_defaults(client: Client):
    info = client.view_api(return_format="dict", print_info=False)
    assert list(info["named_endpoints"]) == [f"/{name}" for name in PUBLIC]
    assert info["unnamed_endpoints"] == {}
    parameters = info["named_endpoints"]["/generate_text"]["parameters"]
    assert [p["parameter_name"] for p in parameters] == list(TextParams.markers())
    found = {p["parameter_name"]: p["parameter_default"] for p in parameters if p["parameter_has_default"]}
    assert found == TextParams.defaults()
    assert info["named_endpoints"]["/list_models"]["parameters"] == []


# Language models read the same from the MCP schema: names, types, help, and what they may leave out.
def test_the_mcp_schema(server: Server):
    tools = {tool["name"]: tool for tool in server.http.get("/gradio_api/mcp/schema").json()}
    assert set(tools) == set(PUBLIC)
    schema = tools["generate_text"]["inputSchema"]
    kinds = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array"}
    markers, defaults = TextParams.markers(), TextParams.defaults()
    assert {n: p["type"] for n, p in schema["properties"].items()} == {n: kinds[k] for n, (k, _) in markers.items()}
    assert {n: p["description"] for n, p in schema["properties"].items()} == {
        n: marker.help.en for n, (_, marker) in markers.items()
    }
    assert schema["required"] == ["prompt"]
    # gradio leaves out a default that is empty, zero or false
    assert {n: p["default"] for n, p in schema["properties"].items() if "default" in p} == {
        name: value for name, value in defaults.items() if value
    }
    assert "language model" in tools["generate_text"]["description"]


# What the page does for itself is no promise to programs: it stands in no list, and no client library calls it.
def test_the_pages_own_functions_are_not_public(server: Server, client: Client):
    own = page_functions(server)
    assert len(own) > 5
    tools = server.http.get("/gradio_api/mcp/schema").json()
    for name in own:
        assert name not in [tool["name"] for tool in tools]
        with pytest.raises(ValueError, match="api_name"):
            client.submit(api_name=f"/{name}")


# gradio's raw HTTP reaches them all the same: whatever comes in that way, a plain answer goes out and nothing breaks.
@pytest.mark.parametrize("junk", [None, 7, "x", {"nodes": 5, "leaf": []}, {"path": "/etc/passwd"}])
def test_the_pages_own_functions_take_no_harm(server: Server, junk: Any):
    for name, inputs in page_functions(server).items():
        event, data = server.call(name, [junk] * inputs)
        assert event in ("complete", "error")
        assert "root:" not in json.dumps(data)


# A recipe is restored from what was uploaded, never from a path on the server that somebody names.
def test_no_file_of_the_server_can_be_restored(server: Server, tmp_path: Path):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"format": "aigc-demo recipe", "family": "text", "settings": {"prompt": "secret"}}))
    file = {"path": str(recipe), "meta": {"_type": "gradio.FileData"}}
    restores = [name for name in page_functions(server) if name.startswith("restore")]
    assert len(restores) == 6
    for name in restores:
        event, data = server.call(name, [file, "en"])
        assert event == "error"
        assert "secret" not in json.dumps(data)


def page_functions(server: Server) -> dict[str, int]:
    """Name -> number of inputs."""
    named = {fn.api_name: fn for fn in server.page.fns.values() if fn.fn}
    assert {n for n, fn in named.items() if fn.api_visibility != "private"} == set(PUBLIC)
    return {n: len(fn.inputs) for n, fn in named.items() if fn.api_visibility == "private"}


# The list says what a program may ask for, the folders of this machine included.
def test_list_models(client: Client):
    models = [model for model in client.predict(api_name="/list_models") if model["family"] == "text"]
    assert [model["id"] for model in models] == [*TEXT.rows, "./endless", "./tiny"]
    assert models[-1]["here"]


# Text grows as it is written, nothing is taken back, and the end brings the recipe.
def test_text_streams(client: Client):
    updates = list(client.submit(**LONG, api_name="/generate_text"))
    assert len(updates) > 2
    texts = [text for text, _ in updates]
    for before, after in itertools.pairwise(texts):
        assert after.startswith(before)
    assert [recipe for _, recipe in updates[:-1]] == [{}] * (len(updates) - 1)
    recipe = updates[-1][1]
    assert recipe["settings"] == TextParams.of(LONG).values()
    assert recipe["figures"]["generated_tokens"] == 200
    assert recipe["figures"]["finish"] == "length"
    assert "tokens" not in recipe


# However fast the tokens come, a caller is not told more often than it can bear; the last update is never lost.
def test_updates_come_at_a_bearable_pace(client: Client):
    begun = time.monotonic()
    updates = list(client.submit(**LONG, api_name="/generate_text"))
    # the first comes at once and the last whenever it is there; those in between keep their distance
    assert len(updates) <= 2 + UPDATES_PER_SECOND * (time.monotonic() - begun)
    assert updates[-1][1]["figures"]["generated_tokens"] == 200


# The same recipe gives the same text, the random seed included; another seed another.
def test_a_recipe_gives_the_same_text(client: Client):
    text, recipe = client.predict(**LONG | {"seed": -1}, api_name="/generate_text")
    assert client.predict(**recipe["settings"], api_name="/generate_text")[0] == text
    other = recipe["settings"] | {"seed": (recipe["settings"]["seed"] + 1) % 2**31}
    assert client.predict(**other, api_name="/generate_text")[0] != text


# Who wants to look inside gets every token with what else could have stood there.
def test_token_details(client: Client):
    text, recipe = client.predict(**VALUES, token_details=True, api_name="/generate_text")
    tokens = recipe["tokens"]
    assert len(tokens) == recipe["figures"]["generated_tokens"]
    # the text may end with a character that was never completed
    assert text.rstrip("\ufffd") == "".join(token["text"] for token in tokens).rstrip("\ufffd")
    for token in tokens:
        assert 0 < token["probability"] <= 1
        assert token["id"] in token["head"]["ids"]
        assert len(token["head"]["ids"]) == len(token["head"]["pieces"]) == len(token["head"]["probabilities"])


def out_of_range() -> Iterator[tuple[str, Any]]:
    """For every field a value of its own type that it does not admit; then one of a wrong type."""
    for name, (_, marker) in TextParams.markers().items():
        if isinstance(marker, Range):
            yield name, marker.low - 1
            yield name, marker.high + 1
        elif isinstance(marker, Seed):
            yield name, -2
            yield name, 2**31
        elif isinstance(marker, Choice):
            yield name, "neither"
        elif isinstance(marker, Text):
            yield name, "x" * (marker.max_length + 1)
        elif isinstance(marker, Data):
            yield name, [-1]
        yield name, {"an": "object"}
        if not isinstance(marker, Switch):
            yield name, True


# Every field that a program gets wrong is named to it, in its own language.
@pytest.mark.parametrize(("name", "value"), list(out_of_range()))
def test_every_field_out_of_range(server: Server, name: str, value: Any):
    label = TextParams.markers()[name][1].label
    assert server.refusal(VALUES | {name: value}).startswith(f"{label.en} ({name}) ")
    assert server.refusal(VALUES | {name: value}, "zh-CN,zh;q=0.9").startswith(f"“{label.zh}”")


# JSON has no NaN and Python's has: it passes every comparison that is asked the wrong way round.
@pytest.mark.parametrize(
    "name", ["temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "seed"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none(server: Server, name: str, value: float):
    assert f"({name}) must be a finite number" in server.refusal(VALUES | {name: value})


# What cannot be had says so as on the page.
@pytest.mark.parametrize(
    ("values", "en", "zh"),
    [
        ({"model": "no-such-model"}, "There is no model “no-such-model”. Choose one of the list", "没有模型"),
        ({"model": "./no-such-folder"}, "There is no model folder “no-such-folder”", "没有模型文件夹"),
        ({"model": "nobody/nothing"}, "the app was started offline", "离线"),
        ({"prompt": " \n"}, "Prompt (prompt) is empty", "是空的"),
        ({"prompt": "x" * 1_000_000}, f"1,000,000 characters long; at most {LONGEST_PROMPT:,}", "1,000,000 个字符"),
        ({"prompt": "word " * 1000}, "tokens, ", "超出"),
        ({"answer_prefix": [2**31 - 1]}, "tokens that this model lacks", "没有的词元"),
    ],
)
def test_what_cannot_be_had(server: Server, values: dict[str, Any], en: str, zh: str):
    assert en in server.refusal(VALUES | values)
    assert en in server.refusal(VALUES | values, "en-US,en;q=0.9,zh;q=0.8")
    assert zh in server.refusal(VALUES | values, "zh-CN")


# Half an emoji, cut off by somebody's program, comes as "\ud800": it is replaced, and the answer can be sent.
def test_lone_surrogates(server: Server):
    event, data = server.ask(VALUES | {"prompt": "a\ud800b", "stop": "\udfff", "history": []})
    assert event == "complete"
    assert data[1]["settings"]["prompt"] == "a\ufffdb"
    assert data[1]["settings"]["stop"] == "\ufffd"


# Fewer values than there are parameters is a mistake in a program, and must not take the server along.
@pytest.mark.parametrize("data", [[], ["hello"], ["hello"] * 40])
def test_a_wrong_number_of_values(server: Server, data: list[Any]):
    event, _ = server.call("generate_text", data)
    assert event == "error"


class Brake:
    """Counts the forward passes of every run by its thread, and makes them slow until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.released = threading.Event()
        self.passes: dict[threading.Thread, int] = {}
        step = Passes.step

        def slowed(passes: Passes, token: int) -> Any:
            me = threading.current_thread()
            self.passes[me] = self.passes.get(me, 0) + 1
            self.released.wait(0.1)
            return step(passes, token)

        monkeypatch.setattr(Passes, "step", slowed)


# Everyone stops only their own: one caller leaves, the other gets the text it would have had alone.
def test_two_callers_of_whom_one_leaves(server: Server, monkeypatch: pytest.MonkeyPatch):
    alone, _ = connect(server).predict(**LONG, api_name="/generate_text")
    brake = Brake(monkeypatch)
    leaves, stays = (connect(server).submit(**LONG, api_name="/generate_text") for _ in range(2))
    assert until(lambda: len(brake.passes) == 2 and bool(leaves.outputs()) and bool(stays.outputs()))
    assert leaves.cancel()
    assert until(lambda: len(workers()) == 1)
    brake.released.set()
    text, recipe = stays.result(PATIENCE)
    assert text == alone
    assert recipe["figures"]["generated_tokens"] == 200
    assert until(lambda: not workers())
    cancelled, whole = sorted(brake.passes.values())
    assert cancelled < whole == 199


# Somebody closes the page, or the connection breaks: nobody is there to read on, so nothing is computed on.
def test_a_caller_who_hangs_up(server: Server, monkeypatch: pytest.MonkeyPatch):
    brake = Brake(monkeypatch)
    data = [(TextParams.defaults() | LONG)[name] for name in TextParams.markers()]
    called = server.http.post("/gradio_api/call/generate_text", json={"data": data}).json()
    with server.http.stream("GET", f"/gradio_api/call/generate_text/{called['event_id']}") as told:
        assert next(told.iter_lines()) == "event: generating"
    assert until(lambda: not workers())
    assert max(brake.passes.values()) < 199
