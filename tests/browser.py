"""A headless browser before a real server, and what a person does there, for the tests of the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_tiny_llama

from aigc_demo.engine import Engine
from aigc_demo.generators.text_model import Passes
from aigc_demo.recipe import FORMAT
from aigc_demo.settings import Settings
from aigc_demo.shell import build, serve

PATIENCE = 30_000
"""Milliseconds until a test gives up on something that should happen at once; nothing is measured by it."""
CONTEXT = 2048
CALM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CALM += ["--disable-sync", "--no-first-run"]

TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
KEPT = """(id) => new Promise((resolve, reject) => {
    id = id || sessionStorage.getItem("aigc-conversation");
    if (!id) return resolve(null); // to open the database would make it, without what the page puts in
    const request = indexedDB.open("aigc-demo");
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
        const stores = request.result.transaction(["conversations", "answers"]);
        stores.oncomplete = () => request.result.close();
        stores.objectStore("conversations").get(id).onsuccess = ({target: {result: found}}) => {
            if (!found) return resolve(null);
            const key = [id, found.conversation.leaf];
            stores.objectStore("answers").get(key).onsuccess = ({target: {result: answer}}) =>
                resolve({...found, answer: answer || null});
        };
    };
})"""
SHOWN = f"async () => {{ const kept = await ({KEPT})(); return kept && kept.id + kept.conversation.leaf; }}"
"""The conversation and the branch of it that are kept as shown."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A running Chromium. Without one the test is skipped, or fails where AIGC_REQUIRE_BROWSER is set."""
    missing = pytest.fail if os.environ.get("AIGC_REQUIRE_BROWSER") else pytest.skip
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        missing(f"no Chromium: {error}")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path, args=CALM)
        except Error as error:
            missing(f"no Chromium: {error}")
        yield started
        started.close()


class Site:
    """The app on a port of its own, with two models: ./tiny, and ./slow, which never ends by itself and takes `pause`
    seconds for a token."""

    pause = 0.04

    def __init__(self, place: Path):
        self.models = place / "models"
        allow(make_tiny_llama(self.models / "tiny"), context=CONTEXT)
        allow(make_tiny_llama(self.models / "slow", seed=1), context=CONTEXT, endless=True)
        self.settings = Settings(models_dir=self.models, cache_dir=place / "cache", offline=True, port=7930)
        self.url = ""
        self.start()

    def start(self) -> None:
        """Serve, at the address of the time before if there was one."""
        self.engine = Engine(self.settings)
        self.page, words = build(self.engine)
        port = int(self.url.rstrip("/").rpartition(":")[2]) if self.url else self.settings.port
        _, self.url, _ = serve(
            self.page, words, Settings(**{**vars(self.settings), "port": port}), prevent_thread_lock=True, quiet=True
        )

    def stop(self) -> None:
        self.page.close(verbose=False)


def recipe_file(folder: Path, settings: dict[str, Any]) -> Path:
    """A recipe as a stranger could send it."""
    file = folder / "recipe.json"
    file.write_text(json.dumps({"format": FORMAT, "family": "text", "settings": settings}), "utf-8")
    return file


def allow(folder: Path, context: int, endless: bool = False) -> None:
    """Give a model folder a longer context, and take its ends of text away."""
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        entries = json.loads((folder / name).read_text("utf-8"))
        for key in ("max_position_embeddings", "model_max_length"):
            if key in entries:
                entries[key] = context
        if endless:
            entries.pop("eos_token", None)
            entries.pop("eos_token_id", None)
        (folder / name).write_text(json.dumps(entries), "utf-8")


@contextmanager
def serving(place: Path) -> Iterator[Site]:
    """A site whose ./slow is slow, on one thread: OpenMP's threads wait for each other on a busy machine."""
    threads, step = torch.get_num_threads(), Passes.step

    def unhurried(self: Passes, token: int) -> torch.Tensor:
        if self._loaded.model.name_or_path.endswith("slow"):
            time.sleep(site.pause)
        return step(self, token)

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passes, "step", unhurried)
        site = Site(place)
        yield site
        site.stop()
    torch.set_num_threads(threads)


@contextmanager
def visiting(browser: Any, url: str, locale: str = "en-US", **options: Any) -> Iterator[Visitor]:
    """A person with a browser profile of their own, who has the page open."""
    context = browser.new_context(
        **{"locale": locale, "viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
    )
    context.set_default_timeout(PATIENCE)
    try:
        visitor = Visitor(context.new_page())
        visitor.open(url)
        yield visitor
    finally:
        context.close()


class Visitor:
    """What a person does on the page."""

    def __init__(self, page: Any):
        self.page = page
        self.context = page.context
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def open(self, url: str) -> None:
        self.page.goto(url)
        self.arrive()

    def reload(self) -> None:
        self.page.bring_to_front()
        self.page.reload()
        self.arrive()

    def arrive(self) -> None:
        """Wait until the page has loaded what it keeps, and has looked at the device and the model."""
        self.page.wait_for_selector("#text-model-note p, #text-model-note dl", state="attached")
        self.page.wait_for_selector("#aigc-device p", state="attached")

    def unfold(self, *names: str) -> None:
        """Open accordions by a part of their names; all of them without one."""
        for fold in self.page.locator("button.label-wrap").all():
            closed = "open" not in fold.get_attribute("class").split()
            if closed and (not names or any(name in fold.inner_text() for name in names)):
                fold.click()

    def choose(self, model: str) -> None:
        box = self.page.locator("#text-model input")
        box.fill(model)
        with self.page.expect_response(lambda response: "/queue/join" in response.url):
            box.press("Enter")
        # of two dropped folders the note says the same
        self.page.wait_for_selector("#text-model-note .progress-text", state="detached")

    def set(self, name: str, value: Any) -> None:
        """Type a value into a field."""
        box = self.page.locator(f"#text-{name}").locator("input[type=number], textarea").first
        if not box.is_visible():
            self.unfold()
        box.fill(str(value))
        box.blur()

    def type(self, text: str) -> None:
        self.page.locator("#text-prompt textarea").fill(text)

    @property
    def prompt(self) -> str:
        return self.page.input_value("#text-prompt textarea")

    def ask(self, text: str) -> str:
        """Send a prompt and wait for the answer."""
        self.page.bring_to_front()
        self.type(text)
        with self.answered():
            self.page.press("#text-prompt textarea", "Enter")
        return self.answer

    @contextmanager
    def answered(self) -> Iterator[None]:
        """For the time in which an answer is written, until it is shown whole and kept."""
        shown = self.page.evaluate(SHOWN)
        yield
        self.comes_to(lambda: self.page.evaluate(SHOWN) != shown, True)
        self.page.wait_for_selector("#text-status .aigc-facts")
        self.page.wait_for_selector("#text-send-button", state="visible")
        self.page.wait_for_selector(".tv-live", state="detached")
        self.page.evaluate(TWO_FRAMES)

    def comes_to(self, look: Callable[[], Any], expected: Any) -> None:
        """Assert that what is to be seen becomes this. (`wait_for_function` would take a promise for a yes.)"""
        end = time.monotonic() + PATIENCE / 1000
        while look() != expected and time.monotonic() < end:
            self.page.wait_for_timeout(50)
        assert look() == expected

    @property
    def kept(self) -> dict[str, Any]:
        """What this browser keeps of the conversation that is shown, and of its newest answer."""
        return self.page.evaluate(KEPT)

    @property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of the branch that is kept as shown."""
        talk = self.kept["conversation"]
        nodes, at, found = {node["id"]: node for node in talk["nodes"]}, talk["leaf"], []
        while at is not None:
            found.append((nodes[at]["role"], nodes[at]["content"]))
            at = nodes[at]["parent"]
        return found[::-1]

    @property
    def answer(self) -> str:
        return self.turns[-1][1]

    @property
    def recipe(self) -> dict[str, Any]:
        return self.kept["answer"]["recipe"]

    @property
    def facts(self) -> dict[str, str]:
        return dict(
            self.page.locator("#text-status .aigc-fact").evaluate_all(
                "(facts) => facts.map((fact) => [...fact.children].map((part) => part.textContent))"
            )
        )

    @property
    def said(self) -> list[str]:
        """The messages in the chat, as they are read."""
        return self.page.locator("#text-chat .message-content").all_inner_texts()

    def branches(self) -> list[str]:
        """The branches in the list; empty where there is no list."""
        box = self.page.locator("#text-branch input")
        if not box.is_visible():
            return []
        box.click()
        found = self.page.locator("#text-branch [role=option]").all_inner_texts()
        box.press("Escape")
        box.blur()
        return found

    def show_branch(self, n: int) -> None:
        """Switch to the n-th branch of the list."""
        shown = self.page.evaluate(SHOWN)
        self.page.locator("#text-branch input").click()
        self.page.locator("#text-branch [role=option]").nth(n).click()
        self.comes_to(lambda: self.page.evaluate(SHOWN) != shown, True)

    def value(self, name: str) -> Any:
        """What a field of the form holds."""
        field = self.page.locator(f"#text-{name}")
        if name == "mode":
            return field.locator("input:checked").get_attribute("value")
        number = field.locator("input[type=number]")
        return float(number.input_value()) if number.count() else field.locator("input, textarea").first.input_value()

    def restore(self, file: Path) -> None:
        """Give the page a recipe's file."""
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name=re.compile("Restore from a recipe|从配方恢复")).click()
        chooser.value.set_files(file)

    def toast(self) -> str:
        """Read the message that has come up, and close it."""
        shown = self.page.get_by_test_id("toast-body").last
        text = shown.inner_text()
        shown.get_by_test_id("toast-close").click()
        shown.wait_for(state="detached")
        return text


def short(visitor: Visitor) -> Visitor:
    """The form set to short answers of ./tiny that can be made again."""
    visitor.choose("./tiny")
    visitor.set("max_new_tokens", 16)
    visitor.set("seed", 7)
    return visitor
