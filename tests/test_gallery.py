"""The film of a picture and this browser's gallery, in a browser, on a small page that has nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from browser import PATIENCE, TWO_FRAMES, chromium
from PIL import Image, ImageDraw, ImageFilter
from starlette.middleware import Middleware

from aigc_demo.shell import FirstScript, theme
from aigc_demo.ui import film as film_module
from aigc_demo.ui import gallery as gallery_module
from aigc_demo.ui.film import film
from aigc_demo.ui.gallery import STATIC, gallery
from aigc_demo.words import Words

CANARY = "<img src=x onerror=window.__pwned=1>"
STEPS = 12
COUNT = """() => new Promise((done) => {
    const request = indexedDB.open("aigc-demo");
    request.onsuccess = () => {
        const reading = request.result.transaction(["pictures", "thumbs"]), found = [];
        for (const name of ["pictures", "thumbs"])
            reading.objectStore(name).count().onsuccess = (event) => found.push(event.target.result);
        reading.oncomplete = () => { request.result.close(); done(found); };
    };
})"""
"""How many pictures are stored, and how many small copies."""


def drawing(n: int, size: tuple[int, int] = (64, 64), noise: float = 0) -> Image.Image:
    """A picture that looks like nothing but the n-th: a face of its own colour, under a share of noise."""
    width, height = size
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    hue = f"hsl({n * 47 % 360}, 70%, 60%)"
    pen.ellipse([width * 0.1, height * 0.1, width * 0.9, height * 0.9], fill=hue)
    for x in (0.36, 0.64):
        pen.ellipse([width * (x - 0.06), height * 0.35, width * (x + 0.06), height * 0.5], fill="black")
    pen.arc([width * 0.3, height * 0.4, width * 0.7, height * 0.75], 20, 160, fill="black", width=max(1, width // 24))
    if noise:
        grain = Image.merge("RGB", [Image.effect_noise(size, 160) for _ in range(3)])
        image = Image.blend(image, grain, noise)
    return image


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def uri(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def frame(step: int, total: int = STEPS, pull: float | None = 0.5) -> dict[str, Any]:
    """What a step of the sampler hands over: noise that clears, a guess that sharpens."""
    left = 1 - step / total
    face = drawing(3, (32, 32))
    return {
        "step": step,
        "noisy": uri(drawing(3, (32, 32), noise=left)),
        "guess": uri(face.filter(ImageFilter.GaussianBlur(9 * left))),
        "pull": pull and pull * (0.2 + 3.2 * left * (1 - left)),
    }


def payload(frames: list[dict[str, Any]], live: bool = False, **more: Any) -> dict[str, Any]:
    step = frames[-1]["step"] if frames else 0
    base = {"live": live, "step": step, "total": STEPS, "eta": 3.2 if live else None, "frames": frames}
    return {**base, "size": [64, 64], "count": 1, **more}


def recipe(n: int, **settings: Any) -> dict[str, Any]:
    made = {"prompt": f"a smiling face, number {n}", "seed": n, "num_inference_steps": 20, "guidance_scale": 7.5}
    return {"family": "diffusion", "model": {"name": "emoji"}, "settings": {**made, "scheduler": "ddim", **settings}}


# ---- the page -------------------------------------------------------------------------------------------------------


class Stand:
    """A page with the two widgets. The box and the button give the film its value, another streams one."""

    def __init__(self, folder: Path):
        self.folder = folder
        with gr.Blocks(title="stand") as self.blocks:
            shown = film({"guidance_scale": Words("Guidance", "引导强度")}, elem_id="film")
            kept = gallery(elem_id="gallery")
            given, give = gr.Textbox(elem_id="given", visible="hidden"), gr.Button("give", elem_id="give")
            stream = gr.Button("stream", elem_id="stream")
            heard = gr.Textbox(elem_id="heard")

            def run() -> Iterator[dict[str, Any]]:
                frames = []
                for step in range(1, STEPS + 1):
                    frames.append(frame(step))
                    yield payload(frames[-1:], live=True, append=True)
                    time.sleep(0.1)
                yield payload(frames)

            def on(name: str) -> Any:
                def hear(event: gr.EventData) -> str:
                    return json.dumps({"event": name, **event._data})

                return hear

            give.click(json.loads, given, shown)
            stream.click(run, None, shown)
            for name in ("reuse", "reuse_seed", "edit"):
                getattr(kept, name)(on(name), None, heard)
            shown.hold(on("hold"), None, heard)
        _, self.url, _ = self.blocks.launch(
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            allowed_paths=[str(folder)],
            theme=theme(),
            css_paths=[STATIC / "page.css"],
            app_kwargs={"middleware": [Middleware(FirstScript, script=(STATIC / "page.js").read_bytes())]},
        )

    def file(self, image: Image.Image, name: str) -> str:
        """Where the server serves a picture."""
        path = self.folder / name
        if not path.exists():
            path.write_bytes(png(image))
        return f"{self.url}gradio_api/file={path}"


class Visitor:
    def __init__(self, page: Any, stand: Stand):
        self.page = page
        self.stand = stand
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def open(self) -> None:
        self.page.goto(self.stand.url)
        self.page.wait_for_selector(".aigc-gallery .gl-grid", state="attached")
        self.page.wait_for_selector(".aigc-film.fm-is-empty", state="attached")

    def add(self, n: int, image: Image.Image | None = None, **settings: Any) -> Any:
        """Keep the n-th picture, as the tab does after a run; the row, or None where it was not kept."""
        image = image or drawing(n)
        url = self.stand.file(image, f"{n}-{image.width}x{image.height}.png")
        return self.page.evaluate("(made) => aigc.pictures.add(made)", {"url": url, "recipe": recipe(n, **settings)})

    def have(self, *numbers: int) -> None:
        """Keep these, and wait until they stand in the grid."""
        for n in numbers:
            assert self.add(n)
        self.count(len(numbers))

    def count(self, n: int) -> None:
        self.page.wait_for_function(
            "(n) => document.querySelectorAll('.gl-thumb').length === n", arg=n, timeout=PATIENCE
        )

    @property
    def seeds(self) -> list[int]:
        """Of the pictures in the grid, as they stand there."""
        labels = self.page.locator(".gl-thumb").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
        return [int(re.search(r"(\d+)$", label).group()) for label in labels]

    def pick(self, seed: int) -> None:
        """Select a picture of the grid, once it is there."""
        self.page.wait_for_selector(f".gl-thumb[aria-label$=' {seed}']")
        self.page.locator(".gl-thumb").nth(self.seeds.index(seed)).click()

    def look_at(self, seed: int) -> None:
        """Open a picture and wait until it is there."""
        self.pick(seed)
        self.page.wait_for_function(
            "(end) => document.querySelector('.gl-picture img')?.alt.endsWith(end)", arg=f" {seed}", timeout=PATIENCE
        )

    def press(self, name: str) -> None:
        self.page.locator(".gl-detail").get_by_role("button", name=name, exact=True).click()

    def heard(self) -> dict[str, Any]:
        """What the server was told."""
        self.page.wait_for_function("document.querySelector('#heard textarea').value", timeout=PATIENCE)
        return json.loads(self.page.input_value("#heard textarea"))

    def give(self, value: Any) -> None:
        """Let the server set the film's value."""
        self.page.evaluate(
            """(text) => {
                const box = document.querySelector("#given textarea");
                box.value = text;
                box.dispatchEvent(new Event("input", {bubbles: true}));
            }""",
            json.dumps(value),
        )
        self.page.evaluate(TWO_FRAMES)
        self.page.click("#give")

    def sideways(self) -> int:
        """How many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    started = Stand(tmp_path_factory.mktemp("gallery"))
    yield started
    started.blocks.close()


@contextmanager
def visiting(browser: Any, stand: Stand, **options: Any) -> Iterator[Visitor]:
    """Someone with an empty gallery; `open` is theirs to call."""
    context = browser.new_context(
        **{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
    )
    context.set_default_timeout(PATIENCE)
    try:
        yield Visitor(context.new_page(), stand)
    finally:
        context.close()


@pytest.fixture
def visitor(browser: Any, stand: Stand) -> Iterator[Visitor]:
    with visiting(browser, stand) as arrived:
        arrived.open()
        yield arrived
        assert arrived.faults == []
        assert arrived.page.evaluate("window.__pwned") is None


# ---- words ----------------------------------------------------------------------------------------------------------


# A word that the script asks for and nobody wrote would stand on the page as "undefined".
@pytest.mark.parametrize("module", [film_module, gallery_module])
def test_every_word_is_said_in_both_languages_and_is_used(module: Any) -> None:
    script = (STATIC / module.__name__.rpartition(".")[2]).with_suffix(".js").read_text("utf-8")
    asked = set(re.findall(r'(?<!props\.)\bwords\.(\w+)|\bsay\("(\w+)"', script))
    assert {name for pair in asked for name in pair if name} <= set(module.WORDS)
    for key, words in module.WORDS.items():
        assert re.search(rf"\b{key.removesuffix('_help')}\b", script), key
        assert re.search("[\u4e00-\u9fff]", words.zh), key
        assert set(re.findall(r"\{\w+\}", words.en)) == set(re.findall(r"\{\w+\}", words.zh)), key


# ---- the gallery ----------------------------------------------------------------------------------------------------


def test_a_hundred_pictures_stay_the_newest_first_over_a_reload(visitor: Visitor) -> None:
    """The promise of the gallery: nobody loses an evening's pictures, nor their order."""
    visitor.have(*range(1, 101))
    newest_first = list(range(100, 0, -1))
    assert visitor.seeds == newest_first
    visitor.open()
    visitor.count(100)
    assert visitor.seeds == newest_first
    assert "100 pictures" in visitor.page.inner_text(".gl-top")
    rows = visitor.page.evaluate("async () => (await aigc.pictures.list()).map(({blob}) => blob === undefined)")
    assert rows == [True] * 100
    last = visitor.page.locator(".gl-thumb").last
    last.scroll_into_view_if_needed()
    visitor.page.wait_for_function("document.querySelector('.gl-thumb:last-child img').naturalWidth === 64")


def test_a_page_of_version_1_leaves_its_conversations_behind(browser: Any, stand: Stand) -> None:
    """Who used the page before it had pictures keeps every conversation."""
    with visiting(browser, stand) as visitor:
        visitor.page.goto(stand.file(drawing(1), "plain.png"))  # the same origin, without our script
        visitor.page.evaluate(
            """() => new Promise((done) => {
                const request = indexedDB.open("aigc-demo", 1);
                request.onupgradeneeded = () => {
                    request.result.createObjectStore("conversations", {keyPath: "id"});
                    request.result.createObjectStore("answers", {keyPath: ["conversation", "node"]});
                };
                request.onsuccess = () => {
                    const writing = request.result.transaction(["conversations", "answers"], "readwrite");
                    const conversation = {leaf: "n1", nodes: [{id: "n1", role: "user", content: "from before"}]};
                    const row = {id: "old", revision: 3, title: "from before", updated: 1, conversation};
                    writing.objectStore("conversations").put(row);
                    writing.objectStore("answers").put({conversation: "old", node: "n1", view: "kept"});
                    writing.oncomplete = () => { request.result.close(); done(); };
                };
            })"""
        )
        visitor.open()
        visitor.have(1)
        titles = visitor.page.evaluate("async () => (await aigc.store.list()).map(({title}) => title)")
        assert titles == ["from before"]
        kept = visitor.page.evaluate(
            "async () => [await aigc.store.load('old'), await aigc.store.answer('n1')].map((x) => x.leaf || x.view)"
        )
        assert kept == ["n1", "kept"]


def test_an_older_page_in_another_tab_does_not_hang_this_one(browser: Any, stand: Stand) -> None:
    """The database cannot grow while a page of version 1 holds it: this one goes on, says so, and recovers."""
    with visiting(browser, stand) as visitor:
        older = visitor.page.context.new_page()
        older.goto(stand.file(drawing(1), "plain.png"))
        older.evaluate(
            """() => new Promise((done) => {
                const request = indexedDB.open("aigc-demo", 1);
                request.onsuccess = () => { window.held = request.result; done(); };
            })"""
        )
        visitor.open()
        visitor.page.wait_for_selector(".aigc-gallery .warn:not([hidden])")
        assert visitor.page.evaluate("aigc.store.load('old')") is None
        older.close()
        visitor.page.wait_for_function("aigc.pictures.list().then(() => true, () => false)", timeout=PATIENCE)
        visitor.have(1)
        assert visitor.page.locator(".aigc-gallery .warn").is_hidden()


def test_two_tabs_show_the_same_pictures(visitor: Visitor) -> None:
    """They share one store: a picture that one deletes is gone from the other, also where it is shown large."""
    visitor.have(1, 2)
    other = Visitor(visitor.page.context.new_page(), visitor.stand)
    other.open()
    other.count(2)
    other.look_at(1)
    visitor.page.bring_to_front()
    visitor.look_at(1)
    visitor.press("Delete")
    for tab in (visitor, other):
        tab.count(1)
        tab.page.wait_for_selector(".gl-picture", state="detached")
        assert tab.seeds == [2]
    assert other.faults == []


def test_one_picture_or_all_are_deleted(visitor: Visitor) -> None:
    """What is said to be deleted is gone from the store and not only from the page; all of it only when asked twice."""
    visitor.have(1, 2, 3)
    visitor.look_at(2)
    visitor.press("Delete")
    visitor.count(2)
    assert visitor.seeds == [3, 1]
    visitor.page.wait_for_function("document.activeElement.ariaLabel?.endsWith(' 1')")  # the next one
    delete_all = visitor.page.get_by_role("button", name="Delete all")
    visitor.page.once("dialog", lambda dialog: dialog.dismiss())
    delete_all.click()
    visitor.count(2)
    visitor.page.once("dialog", lambda dialog: dialog.accept())
    delete_all.click()
    visitor.count(0)
    assert gallery_module.WORDS["none"].en in visitor.page.inner_text(".aigc-gallery")
    visitor.open()
    assert visitor.page.evaluate(COUNT) == [0, 0]


def test_a_full_store_says_so_and_keeps_the_rest(visitor: Visitor) -> None:
    """A picture that was not kept must not look kept, half of one neither; deleting something ends the trouble."""
    visitor.have(1, 2)
    visitor.page.evaluate(
        """() => {
            const put = IDBObjectStore.prototype.put;
            IDBObjectStore.prototype.put = function (value) {
                if (this.name === "thumbs") throw new DOMException("full", "QuotaExceededError");
                return put.call(this, value);
            };
        }"""
    )
    assert visitor.add(3) is None
    warning = visitor.page.locator(".aigc-gallery .warn")
    assert warning.inner_text() == gallery_module.WORDS["full"].en
    assert visitor.page.evaluate(COUNT) == [2, 2]
    visitor.look_at(1)
    visitor.press("Delete")
    warning.wait_for(state="hidden")
    assert visitor.seeds == [2]


def test_a_browser_that_stores_nothing_says_so(browser: Any, stand: Stand) -> None:
    """Where storage is forbidden the page still works, and says what will be lost."""
    with visiting(browser, stand) as visitor:
        visitor.page.add_init_script(
            """IDBFactory.prototype.open = () => { throw new DOMException("no", "SecurityError"); };
            window.BroadcastChannel = function () { throw new DOMException("no", "SecurityError"); };"""
        )
        visitor.open()
        assert visitor.page.inner_text(".aigc-gallery .warn") == gallery_module.WORDS["refused"].en
        assert visitor.add(1) is None
        assert visitor.page.inner_text(".aigc-gallery .warn") == gallery_module.WORDS["refused"].en
        assert visitor.page.evaluate("aigc.store.load('any')") is None
        assert visitor.faults == []


def test_a_picture_that_the_server_lost_is_told(visitor: Visitor) -> None:
    """Gradio deletes its files after a while; a broken thumbnail in the grid would help nobody."""
    assert visitor.page.evaluate("aigc.pictures.add({url: '/nothing-here.png', recipe: {}})") is None
    assert visitor.page.inner_text(".aigc-gallery .warn") == gallery_module.WORDS["lost"].en
    assert visitor.seeds == []


def test_markup_in_a_recipe_is_shown_and_not_interpreted(visitor: Visitor) -> None:
    """A recipe may come from a stranger's file, and this page holds everything that a visitor has made."""
    strange = {"prompt": CANARY, "negative_prompt": CANARY, "scheduler": CANARY, "seed": CANARY, CANARY: CANARY}
    url = visitor.stand.file(drawing(1), "1-64x64.png")
    for recipe_ in (
        {"settings": {"prompt": "plain"}},
        {"settings": strange, "model": {"name": CANARY}},
        {"settings": None, "model": [CANARY]},
        "nothing",
    ):
        visitor.page.evaluate("(made) => aigc.pictures.add(made)", {"url": url, "recipe": recipe_})
    visitor.count(4)
    for n in (3, 0, 1, 2):
        visitor.page.locator(".gl-thumb").nth(n).click()
        visitor.page.wait_for_selector(".gl-picture img")
    facts = visitor.page.locator(".gl-detail")
    visitor.page.wait_for_function("(text) => document.querySelector('.gl-texts').innerText.includes(text)", arg=CANARY)
    assert facts.inner_text().count(CANARY) == 5
    visitor.press("Compare")
    visitor.page.locator(".gl-thumb").nth(3).click()
    visitor.page.wait_for_selector(".gl-differences")
    assert facts.inner_text().count(CANARY) == 7
    assert visitor.page.locator("img[src='x']").count() == 0


def test_the_buttons_hand_the_recipe_over(visitor: Visitor) -> None:
    """What the tab puts into the form is what the picture was made from, and what it edits is the PNG itself."""
    big = drawing(9, (512, 512), noise=0.5)
    visitor.have(1, 2)
    assert visitor.add(9, big, prompt="两只猫")
    visitor.count(3)
    visitor.look_at(9)
    for button, event in (("Reuse everything", "reuse"), ("Reuse the seed", "reuse_seed"), ("Edit this", "edit")):
        visitor.press(button)
        visitor.page.wait_for_function(
            '(name) => document.querySelector(\'#heard textarea\').value.includes(`"event": "${name}"`)', arg=event
        )
        heard = visitor.heard()
        assert heard["recipe"] == recipe(9, prompt="两只猫")
    head, _, data = heard["picture"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == png(big)
    assert len(data) > 500_000


def test_a_download_is_the_png_byte_for_byte(visitor: Visitor) -> None:
    """The recipe is in the file's text chunks: drawn anew, a picture would lose it."""
    for n, prompt, name in (
        (1, "A red/blue  <fox>!", "aigc-a-red-blue-fox-1.png"),
        (2, "../../一只 狐狸", "aigc-一只-狐狸-2.png"),
        (3, "", "aigc-3.png"),
    ):
        visitor.add(n, prompt=prompt)
        visitor.look_at(n)
        with visitor.page.expect_download() as got:
            visitor.press("Download")
        assert got.value.suggested_filename == name
        assert Path(got.value.path()).read_bytes() == png(drawing(n))


def test_two_pictures_are_compared_with_keys_alone(visitor: Visitor) -> None:
    """The slider between two pictures, and what differs in their making, for who uses no mouse."""
    page = visitor.page
    visitor.have(1, 2)
    assert visitor.add(3, drawing(3, (96, 64)), guidance_scale=3)
    visitor.count(3)
    page.locator(".gl-thumb[tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector(".gl-picture")
    page.locator(".gl-compare").focus()
    page.keyboard.press("Enter")
    assert page.inner_text(".gl-hint") == gallery_module.WORDS["second"].en
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    wipe = page.get_by_label(gallery_module.WORDS["wipe"].en)
    wipe.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.aigc-gallery .aigc-wipe img + img')).clipPath")
        == "inset(0px 30% 0px 0px)"
    )
    assert wipe.get_attribute("aria-valuetext") == "70% of the left picture, 30% of the right one"
    boxes = page.locator(".aigc-gallery .aigc-wipe img").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().width)"
    )
    assert boxes[0] == boxes[1]
    rows = page.locator(".gl-differences tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    assert rows == [
        ["Prompt", "a smiling face, number 1", "a smiling face, number 3"],
        ["Seed", "1", "3"],
        ["Guidance", "7.5", "3"],
        ["Size", "64 × 64", "96 × 64"],
    ]
    page.keyboard.press("Escape")
    page.wait_for_selector(".gl-picture")
    page.keyboard.press("Escape")
    page.wait_for_selector(".gl-picture", state="detached")


# ---- the film -------------------------------------------------------------------------------------------------------


def test_frames_arrive_while_the_picture_is_made_and_stay(visitor: Visitor) -> None:
    """Each payload brings one frame, so the page has to keep those before it; the next run begins with none."""
    page = visitor.page
    page.evaluate(
        """() => {
            window.seen = new Set();
            const image = document.querySelector(".fm-now img");
            new MutationObserver(() => window.seen.add(image.src)).observe(image, {attributes: true});
        }"""
    )
    page.click("#stream")
    page.wait_for_selector(".fm-is-live")
    page.wait_for_selector(".aigc-film:not(.fm-is-live) .fm-strip img")
    assert page.evaluate("window.seen.size") > 3
    assert page.get_attribute(".fm-slider", "max") == str(STEPS - 1)
    assert page.inner_text(".fm-spoken") == film_module.WORDS["finished"].en.format(n=STEPS)

    visitor.give(payload([frame(1)], live=True, append=True))
    page.wait_for_selector(".fm-is-live")
    assert page.inner_text(".fm-now .aigc-progress-line").split("\n") == ["Step 1 of 12", "about 3 s left"]
    assert page.get_attribute(".fm-progress", "aria-valuenow") == "8"
    visitor.give(payload([frame(2)], live=True, append=True, eta=None))
    page.wait_for_function("document.querySelector('.fm-now').innerText.startsWith('Step 2')")
    visitor.give(payload([frame(3)], append=True))
    page.wait_for_selector(".aigc-film:not(.fm-is-live)")
    assert page.get_attribute(".fm-slider", "max") == "2"
    assert page.locator(".fm-strip img").count() == 3
    visitor.give(None)
    page.wait_for_selector(".aigc-film.fm-is-empty")
    assert page.inner_text(".aigc-film") == film_module.WORDS["empty"].en


def test_progress_is_not_announced_at_every_step(visitor: Visitor) -> None:
    """A screen reader that reads fifty steps aloud says nothing any more."""
    visitor.page.evaluate(
        """() => {
            window.said = 0;
            new MutationObserver(() => window.said++).observe(document.querySelector(".fm-spoken"), {childList: true});
        }"""
    )
    visitor.page.click("#stream")
    visitor.page.wait_for_selector(".fm-is-live")
    visitor.page.wait_for_selector(".aigc-film:not(.fm-is-live) .fm-strip img")
    assert visitor.page.evaluate("window.said") <= 4


def test_the_steps_are_walked_with_arrow_keys(visitor: Visitor) -> None:
    """Noise, guess, pull and strip all follow the one slider."""
    page, frames = visitor.page, [frame(step, pull=step / 10) for step in range(1, STEPS + 1)]
    visitor.give(payload(frames))
    page.wait_for_selector(".fm-strip img")
    slider = page.get_by_label("Step", exact=True)
    slider.focus()

    def look() -> list[Any]:
        images = page.locator(".fm-pair img").evaluate_all("(all) => all.map((one) => one.src)")
        chosen = page.locator(".fm-strip img").evaluate_all(
            "(all) => all.findIndex((one) => one.matches('.fm-chosen'))"
        )
        return [*images, page.inner_text(".fm-line output"), page.inner_text(".fm-title b"), chosen]

    for key, at in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", STEPS - 1)):
        page.keyboard.press(key)
        told = f"Step {at + 1} of {STEPS}"
        pull = f"{frames[at]['pull']:.3f}" if frames[at]["pull"] >= 0.1 else f"{frames[at]['pull']:.4f}"
        assert look() == [frames[at]["noisy"], frames[at]["guess"], told, pull, at]
        assert slider.get_attribute("aria-valuetext") == told
    dot, thumb = (
        page.evaluate(
            "(of) => { const box = document.querySelector(of).getBoundingClientRect(); return box.left + box.width / 2; }",
            of,
        )
        for of in (".fm-dot", ".fm-strip img.fm-chosen")
    )
    assert abs(dot - thumb) < 1.5


def test_a_film_without_guidance_says_so(visitor: Visitor) -> None:
    """A flat line would look like a measurement."""
    visitor.give(payload([frame(step, pull=None) for step in range(1, 5)]))
    visitor.page.wait_for_selector(".fm-without:not([hidden])")
    assert visitor.page.locator(".fm-pull").is_hidden()
    visitor.give(payload([{**frame(step), "pull": None if step == 2 else 0.3} for step in range(1, 5)]))
    visitor.page.wait_for_selector(".fm-without", state="hidden")
    assert visitor.page.get_attribute(".fm-curve", "d").count("M") == 2
    visitor.page.locator(".fm-slider").focus()
    visitor.page.keyboard.press("Home")
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.page.inner_text(".fm-title b") == "–"


# ---- both -----------------------------------------------------------------------------------------------------------


def test_the_page_speaks_chinese(browser: Any, stand: Stand) -> None:
    """Not a word of English is left on a Chinese page, except what people and models wrote."""
    with visiting(browser, stand, locale="zh-CN") as visitor:
        visitor.open()
        assert visitor.page.inner_text(".aigc-film") == film_module.WORDS["empty"].zh
        visitor.add(1, prompt="狐狸", scheduler="调度", guidance_scale=2)
        visitor.add(2, prompt="熊猫")
        visitor.give(payload([frame(1), frame(2)]))
        visitor.page.wait_for_selector(".fm-strip img")
        visitor.look_at(1)

        def english() -> list[str]:
            text = "".join(visitor.page.inner_text(of) for of in (".aigc-film", ".aigc-gallery"))
            return re.findall(r"[A-Za-z]+", re.sub(r"emoji|DDIM|\d+ KB", "", text))

        assert english() == []
        visitor.press("比较")
        visitor.pick(2)
        visitor.page.wait_for_selector(".gl-differences")
        assert english() == []


def test_a_phone_needs_no_sideways_scroll(browser: Any, stand: Stand) -> None:
    """Half of the visitors hold the page in their hand."""
    with visiting(browser, stand, viewport={"width": 390, "height": 844}) as visitor:
        visitor.open()
        for n in range(1, 8):
            visitor.add(n, prompt="W" * 300)
        visitor.add(8, drawing(8, (512, 128)))
        visitor.give(payload([frame(n, 50) for n in range(1, 51)], live=True, total=50))
        visitor.page.wait_for_selector(".fm-is-live")
        assert visitor.sideways() <= 0
        visitor.give(payload([frame(n, 50) for n in range(1, 51)], total=50, count=4))
        visitor.page.wait_for_selector(".fm-strip img")
        visitor.look_at(1)
        assert visitor.sideways() <= 0
        visitor.press("Compare")
        visitor.pick(8)
        visitor.page.wait_for_selector(".aigc-gallery .aigc-wipe")
        assert visitor.sideways() <= 0


# Two settings from the same noise, side by side at the same share of their steps: what a held run is for.
def test_a_held_run_is_compared_with_the_next(visitor: Visitor) -> None:
    page = visitor.page
    first, second = [frame(n) for n in range(1, 5)], [frame(n, pull=0.2) for n in range(1, STEPS + 1)]
    visitor.give(payload(first, settings={"seed": 5, "guidance_scale": 4, "prompt": CANARY}))
    page.get_by_role("button", name="Hold to compare").click()
    assert visitor.heard() == {"event": "hold", "seed": 5}
    assert page.locator(".fm-held").is_visible()
    assert not page.locator(".fm-compared").is_visible(), "a run is not compared with itself"

    visitor.give(payload(second, settings={"seed": 5, "guidance_scale": 8, "prompt": CANARY}))
    page.wait_for_selector(".fm-compared", state="visible")
    rows = page.locator(".fm-differences tr").evaluate_all("(all) => all.map((row) => row.innerText.split('\\t'))")
    assert rows == [["", "Held run (left)", "This run (right)"], ["Guidance", "4", "8"]]
    left, right = page.get_by_alt_text("Held run (left)"), page.get_by_alt_text("This run (right)")
    assert (left.get_attribute("src"), right.get_attribute("src")) == (first[-1]["guess"], second[-1]["guess"])
    page.locator(".fm-slider").fill("0")
    assert (left.get_attribute("src"), right.get_attribute("src")) == (first[0]["guess"], second[0]["guess"])

    visitor.give(payload(second, settings={"seed": 6, "guidance_scale": 8, "prompt": "another"}))
    page.get_by_text("The seeds differ").wait_for()
    assert page.evaluate("window.__pwned") is None
    page.get_by_role("button", name="Let go").click()
    assert not page.locator(".fm-compared").is_visible()
    assert visitor.sideways() <= 0
