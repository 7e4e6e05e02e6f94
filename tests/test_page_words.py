"""The page in Chinese: every word that stands on it, and every message that can come up."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CONTEXT, Site, Visitor, recipe_file, serving, short, visiting

from aigc_demo.generators.text import LONGEST_PROMPT
from aigc_demo.generators.text_model import Passes
from aigc_demo.ui.run import APOLOGY
from aigc_demo.ui.uploads import LONGEST

READ = """() => {
    const found = [document.title];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        const shown = node.checkVisibility({visibilityProperty: true, opacityProperty: true});
        const others = node.closest("script, style, .message, .tv-piece, .tv-line, .tv-text, #text-recipe, .aigc-stored-title, .toast-wrap");
        if (shown && !others) found.push(walker.currentNode.textContent.trim());
    }
    for (const node of document.querySelectorAll("[placeholder], [title]"))
        if (!node.closest(".icon-button, .tv-piece, #text-recipe")) found.push(node.placeholder || "", node.title || "");
    return found.filter(Boolean);
}"""
NAMES = (
    r"English|aigc-demo|Top-[kp]|Min-p|top-[kp]|min-p|Enter|Hugging Face|owner/name|\./name|\./tiny|\./slow|\./broken|models/|logits|softmax"
    r"|CPU|GPU|API|JSON|KB|GiB|MB|M|tiny|bfloat16|float32|float16|SmolLM2|Qwen3|Apache-2\.0|Instruct|\\n|id|model\.safetensors|[kp]|IndexedDB"
    r"|smollm2-[\d.]+[mb]|qwen3-[\d.]+b|[\d.]+[MB]"
)


def english(text: str) -> list[str]:
    """The Latin words of a text that are no names, units or somebody's own text in quotes."""
    text = re.sub(r"“[^”]*”|/tmp/[\w/.-]+|\b[A-Z]+_[A-Z]+\b", "", text)
    return re.findall(r"[A-Za-z][A-Za-z_.]+", re.sub(rf"(?<![A-Za-z0-9])(?:{NAMES})(?![A-Za-z0-9])", "", text))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("words")) as started:
        broken = shutil.copytree(started.models / "tiny", started.models / "broken")
        weights = broken / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        yield started


@pytest.fixture(scope="module")
def reader(browser: Any, site: Site) -> Iterator[Visitor]:
    """Someone whose browser speaks Chinese."""
    with visiting(browser, site.url, "zh-CN") as arrived:
        arrived.unfold()
        yield short(arrived)
        assert arrived.faults == []


def read_the_page(visitor: Visitor) -> None:
    texts = visitor.page.evaluate(READ)
    assert len(texts) > 80
    assert not [text for text in texts if "i18n" in text]
    assert {text: english(text) for text in texts if english(text)} == {}
    assert visitor.page.evaluate("document.documentElement.lang") == "zh-CN"


def test_a_chinese_browser_gets_a_chinese_page(reader: Visitor) -> None:
    """Before an answer, after it, with a token open, and with knobs that rest."""
    read_the_page(reader)
    reader.ask("The quick brown fox")
    reader.page.locator(".tv-text [role=option][data-index='3']").click()
    with reader.answered():
        reader.page.locator(".tv-table .tv-go:enabled").first.click()
    reader.page.locator(".tv-text [role=option][data-index='3']").click()
    reader.set("temperature", 0)
    reader.page.get_by_role("radio", name="续写").check()
    reader.page.wait_for_function("document.querySelectorAll('.aigc-settings textarea:disabled').length > 0")
    read_the_page(reader)
    reader.page.get_by_role("radio", name="对话").check()
    reader.set("temperature", 0.7)


def test_an_english_browser_is_switched_by_hand(browser: Any, site: Site) -> None:
    """The switch is on the page, and costs neither the conversation nor what is being typed."""
    with visiting(browser, site.url) as visitor:
        short(visitor).ask("The quick brown fox")
        visitor.type("not sent yet")
        said = visitor.said
        with visitor.page.expect_navigation():
            visitor.page.get_by_role("button", name="中文").click()
        visitor.arrive()
        visitor.page.wait_for_selector("#text-status .aigc-facts")
        visitor.unfold()
        assert visitor.said == said
        assert visitor.prompt == "not sent yet"
        read_the_page(visitor)
        visitor.reload()
        assert visitor.page.evaluate("aigc.language") == "zh"


def test_every_message_is_chinese_and_the_prompt_is_kept(
    reader: Visitor, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of UserError, out of memory, a full queue, and a fault of ours: told in the reader's language, and nothing is lost."""
    page = reader.page

    def told(prompt: str, *parts: str) -> None:
        reader.type(prompt)
        page.press("#text-prompt textarea", "Enter")
        heard(prompt, *parts)

    def heard(prompt: str, *parts: str) -> None:
        message = reader.toast()
        assert english(message) == [], message
        assert all(part in message for part in parts), message
        page.wait_for_selector("#text-send-button", state="visible")
        page.wait_for_function("(text) => document.querySelector('#text-prompt textarea').value === text", arg=prompt)

    told("  ", "是空的")
    told("word " * CONTEXT, "上下文为", "超出")
    told("字" * (LONGEST_PROMPT + 1), "个字符；最多只能读取")
    reader.set("seed", 3_000_000_000)
    told("kept", "随机种子")
    reader.set("seed", 7)
    for model, part in {
        "nothing": "没有模型",
        "HuggingFaceTB/SmolLM2": "离线",
        "a/b/c": "Hugging Face",
        "./gone": "没有模型文件夹",
        "./broken": "已损坏或不完整",
    }.items():
        reader.choose(model)
        told("kept", part)
        assert not english(page.inner_text("#text-model-note"))
    reader.choose("./tiny")
    nonsense, large = tmp_path / "nonsense", tmp_path / "large"
    nonsense.write_text("{")
    large.write_bytes(bytes(LONGEST + 1))
    for file, part in (
        (nonsense, "已损坏"),
        (recipe_file(tmp_path, {"prompt": "x", "temperature": 9}), "温度"),
        (large, "太大"),
    ):
        reader.type("kept")
        reader.restore(file)
        heard("kept", part)

    def failing(error: Exception) -> Callable[..., Any]:
        def step(self: Passes, token: int) -> Any:
            raise error

        return step

    for error, part in ((MemoryError(), "内存不足"), (RuntimeError("a fault"), APOLOGY.zh)):
        with monkeypatch.context() as patch:
            patch.setattr(Passes, "step", failing(error))
            told("kept", part)
    with monkeypatch.context() as patch:
        patch.setattr(site.page._queue, "max_size", 0)
        told("kept", "排队的人太多")
    reader.ask("kept")
    assert reader.turns[-2] == ("user", "kept")
