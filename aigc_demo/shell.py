"""The page around the tabs: header, language, theme; and how it is served."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from aigc_demo.engine import Engine
from aigc_demo.settings import Settings
from aigc_demo.tabs import gan, images, latent, text
from aigc_demo.ui import api, facts, uploads
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import LANGUAGES, Words

TABS: tuple[Callable[[Engine, Catalogue, gr.Textbox, Dependency], None], ...] = (
    text.build,
    images.build,
    latent.build,
    gan.build,
)

NAME = "aigc-demo"
TITLE = Words("Generative AI, hands on", "亲手体验生成式人工智能")
THESIS = Words(
    "Neither a gold mine nor a bubble: real models, every knob, real numbers. See how each result comes about.",
    "既不是金矿，也不是泡沫：真实的模型、全部的旋钮、真实的数字。看看每个结果是怎么来的。",
)
LOOKING = Words("Looking for the device", "正在查找设备")
STATIC = Path(__file__).parent / "ui" / "static"
ASSETS = Path(__file__).parent.parent / "assets"
FONTS = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Noto Sans Mono", "Noto Sans Mono CJK SC", "monospace"]
PORTS_TRIED = 100
FORGET = (1800, 3600)
"""Seconds: how often the server looks for files that it made or was given, and the age at which it deletes them."""
LANGUAGE_SWITCH = """element.querySelectorAll("button").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.language === aigc.language));
    button.addEventListener("click", () => aigc.setLanguage(button.dataset.language));
})"""


def theme() -> gr.Theme:
    """Quiet and dense; only fonts that the reader's system has, so that nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue="teal", neutral_hue="slate", radius_size="md", text_size="md", font=FONTS, font_mono=MONO
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        block_label_text_weight="500",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_info_text_size="*text_xs",
        layout_gap="*spacing_lg",
        block_shadow="none",
    )


def build(engine: Engine) -> tuple[gr.Blocks, Catalogue]:
    """The page, and the words that gradio has to be given at launch."""
    say = Catalogue()
    titles = {language: f"{NAME} · {TITLE.to(language)}" for language in LANGUAGES}
    with gr.Blocks(title=titles["en"], analytics_enabled=False, delete_cache=FORGET) as page:
        language = gr.Textbox("en", visible=False)
        gr.HTML(_header(), js_on_load=LANGUAGE_SWITCH, elem_id="aigc-header")
        device = gr.HTML(elem_id="aigc-device")
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        arrived = page.load(
            None,
            js=f"() => {{ document.title = {json.dumps(titles)}[aigc.language]; return aigc.language; }}",
            outputs=[language],
            **quiet,
        )
        with gr.Tabs():
            for tab in TABS:
                tab(engine, say, language, arrived)
        api.publish(engine)
        arrived.then(lambda chosen: facts.busy(LOOKING, chosen), [language], [device], queue=False, **quiet).then(
            lambda chosen: _device_line(engine, chosen), [language], [device], **quiet
        )
    # nothing shows gradio's own progress here, and yet at each message its page would renew that of every output
    for event in page.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [language]
    # gradio sums up its whole record of events after each one, for a page of its own that nobody is led to here
    os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000")
    page.queue(max_size=engine.settings.queue_size, default_concurrency_limit=8)
    return page, say


def serve(page: gr.Blocks, say: Catalogue, settings: Settings, **options: Any) -> tuple[Any, str, str | None]:
    """Launch; returns gradio's (app, local URL, public URL). options: more for `launch`."""
    port = free_port(settings.host or "127.0.0.1", settings.port)
    if port != settings.port:
        print(f"Port {settings.port} is taken; using {port}.")
    return page.launch(
        server_name=settings.host,
        server_port=port,
        share=settings.share,
        auth=settings.credentials or None,
        root_path=settings.root_path,
        mcp_server=settings.mcp,
        i18n=say.i18n,
        theme=theme(),
        css_paths=[STATIC / "page.css"],
        app_kwargs={"middleware": [Middleware(FirstScript, script=(STATIC / "page.js").read_bytes())]},
        favicon_path=ASSETS / "favicon.png",
        footer_links=["api"],
        run_history=False,  # the page keeps conversations itself, in the browser
        ssr_mode=False,
        pwa=False,
        show_error=True,
        max_file_size=uploads.LONGEST,
        **options,
    )


class FirstScript:
    """Puts a script first in the head of the page, as ASGI. gradio runs its own `head` too late: only after it has
    chosen the page's language."""

    def __init__(self, app: Any, script: bytes):
        self.app = app
        self.head = b"<head><script>" + script + b"</script>"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and scope["path"] == "/":
            # gradio asks so at its start, and gives up after three seconds: no time to write the page on a busy machine
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": b""})
            return
        held: list[Any] = []  # the beginning of a page, until its length is known

        async def pass_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                if MutableHeaders(scope=message).get("content-type", "").startswith("text/html"):
                    held.append(message)
                    return
            elif held:
                start, body = held.pop(), message.get("body", b"")
                if b"<head>" in body:
                    message = {**message, "body": body.replace(b"<head>", self.head, 1)}
                    MutableHeaders(scope=start)["content-length"] = str(len(message["body"]))
                await send(start)
            await send(message)

        await self.app(scope, receive, pass_on)


def free_port(host: str, first: int) -> int:
    """The first port from `first` on that nobody listens on; `first` itself if there is none."""
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # there it would let a taken port pass for free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    return first


def _header() -> str:
    """Both languages stand in the page; a style shows one, so that the header is there at once."""
    buttons = "".join(
        f"<button type='button' lang='{tag}' data-language='{tag}'>{escape(name)}</button>"
        for tag, name in LANGUAGES.items()
    )
    words = "".join(
        f"<div lang='{tag}' class='aigc-in-{tag}'><h1>{escape(TITLE.to(tag))}</h1><p>{escape(THESIS.to(tag))}</p></div>"
        for tag in LANGUAGES
    )
    return f"<header class='aigc-header'>{words}<div class='aigc-languages' role='group' aria-label='Language · 语言'>{buttons}</div></header>"


def _device_line(engine: Engine, language: str) -> str:
    device = engine.device
    return facts.note(f"{device.name} · {device.dtype} — {device.reason.to(language)}")
