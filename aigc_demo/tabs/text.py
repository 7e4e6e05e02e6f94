"""The Text tab: a conversation or a continuation, the knobs of sampling, and a look inside every token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency

from aigc_demo.engine import Engine
from aigc_demo.generators.text import TextParams
from aigc_demo.generators.text_rows import TEXT
from aigc_demo.ui import facts, text_page
from aigc_demo.ui.clicks import PRIVATE, QUICK, bind_job, bind_stop
from aigc_demo.ui.conversation import Conversation
from aigc_demo.ui.form import Form
from aigc_demo.ui.model_choice import place_model
from aigc_demo.ui.run import told_in
from aigc_demo.ui.section import KEEP, changed
from aigc_demo.ui.stored import stored_panel
from aigc_demo.ui.text_page import EMPTY, Click, Update
from aigc_demo.ui.token_view import token_view
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import Words

TITLE = Words("Text", "文本")
KEEP_ANSWER = """(conversation, view, recipe, read) =>
    aigc.store.save(conversation, {node: conversation && conversation.leaf, view, recipe, read})"""
LOAD_ANSWER = """async (leaf) => {
    const found = await aigc.store.answer(leaf) || {};
    return [found.view || null, found.recipe || null, found.read || ""];
}"""
LOAD_CONVERSATION = """async (id) => {
    const conversation = await aigc.store.load(id);
    const found = conversation && await aigc.store.answer(conversation.leaf) || {};
    return [conversation, found.view || null, found.recipe || null, found.read || "", aigc.draft()];
}"""
DOWNLOAD = """(recipe) => recipe && aigc.download(
    `aigc-text-${recipe.settings.seed}.json`, JSON.stringify(recipe, null, 2))"""


@dataclass(frozen=True)
class Parts:
    """The components that clicks read and change. The hidden ones are the browser's copies of what it keeps."""

    form: Form
    conversation: gr.JSON
    given: gr.JSON
    chat: gr.Chatbot
    status: gr.HTML
    branch: gr.Dropdown
    send: gr.Button
    stop: gr.Button
    again: gr.Button
    new: gr.Button
    view: gr.HTML
    recipe: gr.JSON
    save: gr.Button
    drop: gr.UploadButton
    keep_seed: gr.Button
    read: gr.Textbox
    stored: gr.HTML
    model_note: gr.HTML

    def paint(self, update: Update) -> dict[Any, Any]:
        """What gradio is to change for an update."""
        out: dict[Any, Any] = {}
        if update.conversation is not KEEP:
            talk = update.conversation
            branches = talk.branches()
            out[self.conversation] = talk.data()
            out[self.chat] = text_page.shown_messages(talk)
            out[self.branch] = gr.update(choices=branches, value=talk.leaf, visible=len(branches) > 1)
        if update.busy is not KEEP:
            out[self.send] = gr.update(visible=not update.busy)
            out[self.stop] = gr.update(visible=update.busy)
            out |= {button: gr.update(interactive=not update.busy) for button in (self.again, self.new)}
        if update.settings is not KEEP:
            out |= {
                self.form.components[name]: value for name, value in update.settings.items() if name in self.form.names
            }
        same = {
            self.chat: update.messages,
            self.status: update.status,
            self.view: update.view,
            self.recipe: update.recipe,
            self.read: update.read,
            self.form.components["prompt"]: update.prompt,
            self.given: update.given,
            self.model_note: update.model_note,
        }
        return out | changed(same)

    @property
    def painted(self) -> list[Any]:
        """Everything that `paint` may change."""
        parts = [self.conversation, self.given, self.chat, self.status, self.branch, self.view]
        return [
            *parts,
            self.send,
            self.stop,
            self.again,
            self.new,
            self.recipe,
            self.read,
            self.model_note,
            *self.form.inputs,
        ]


def build(engine: Engine, say: Catalogue, language: gr.Textbox, arrived: Dependency) -> None:
    """Lay the tab out and bind it. language: holds the page's language, once `arrived` has happened."""
    with gr.Tab(say(TITLE), id="text", elem_id="tab-text"):
        parts = _layout(engine, say)
    _bind(engine, parts, language, arrived)


def _layout(engine: Engine, say: Catalogue) -> Parts:
    form = Form(TextParams, "text", say)
    part: dict[str, Any] = {"conversation": gr.JSON(visible=False), "given": gr.JSON(visible=False)}

    def button(name: str, words: Words, **options: Any) -> None:
        # "text-stop" is the field of stop strings
        part[name] = gr.Button(say(words), elem_id=f"text-{name}-button", min_width=90, **options)

    with gr.Row(elem_classes="aigc-columns"):
        with gr.Column(scale=3, min_width=320):
            part["chat"] = gr.Chatbot(
                label=say(Words("Conversation", "对话")),
                elem_id="text-chat",
                height=400,
                buttons=["copy", "copy_all"],
                editable="user",
                latex_delimiters=[],
                group_consecutive_messages=False,
                placeholder=say(
                    Words(
                        "Say something to a language model that runs right here.",
                        "跟一个就在这里运行的语言模型说点什么吧。",
                    )
                ),
            )
            part["status"] = gr.HTML(elem_id="text-status")
            part["branch"] = gr.Dropdown(
                label=say(Words("Branch", "分支")),
                info=say(
                    Words("Every edit, retry and chosen token makes one.", "每次编辑、重试或选择词元都会产生一个分支。")
                ),
                elem_id="text-branch",
                visible=False,
            )
            placeholder = say(Words("Ask something, then press Enter", "写下问题，按 Enter 发送"))
            form.place("prompt", lines=1, max_lines=8, info=None, autofocus=True, placeholder=placeholder)
            with gr.Row():
                button("send", Words("Send", "发送"), variant="primary")
                button("stop", Words("Stop", "停止"), variant="stop", visible=False)
                button("again", Words("Regenerate", "重新生成"))
                button("new", Words("New conversation", "新对话"))
            with gr.Accordion(say(Words("Inside the tokens", "词元内部")), open=True, elem_id="text-inside"):
                part["view"] = token_view(elem_id="text-tokens")
        with gr.Column(scale=2, min_width=300, elem_classes="aigc-settings"):
            form.place("mode")
            part["model_note"] = place_model(form, engine, TEXT)
            with gr.Accordion(say(Words("Sampling", "采样")), open=True):
                for name in ("temperature", "top_k", "top_p", "min_p"):
                    form.place(name)
            with gr.Accordion(say(Words("Length, repetition, seed", "长度、重复与种子")), open=False):
                for name in ("max_new_tokens", "repetition_penalty", "stop", "seed"):
                    form.place(name)
                button("keep_seed", Words("Use the last answer's seed", "沿用上一个回答的种子"), size="sm")
            with gr.Accordion(say(TextParams.markers()["system_prompt"][1].label), open=False):
                form.place("system_prompt", show_label=False, lines=3)
    with gr.Accordion(say(Words("Recipe: make it again", "配方：重现结果")), open=False, elem_id="text-recipes"):
        with gr.Row():
            button("save", Words("Download the recipe", "下载配方"), size="sm")
            part["drop"] = gr.UploadButton(
                say(Words("Restore from a recipe", "从配方恢复")), elem_id="text-drop", size="sm"
            )
        part["recipe"] = gr.JSON(label=say(Words("Recipe of this answer", "此回答的配方")), elem_id="text-recipe")
    read = say(Words("What the model read", "模型读到的内容"))
    with gr.Accordion(read, open=False, elem_id="text-prompt-read"):
        part["read"] = gr.Textbox(
            label=read, show_label=False, container=False, lines=6, max_lines=20, interactive=False, elem_id="text-read"
        )
    with gr.Accordion(
        say(Words("What is stored, and delete it", "存储了什么，以及如何删除")), open=False, elem_id="text-store"
    ):
        part["stored"] = stored_panel(elem_id="text-stored")
    return Parts(form=form, **part)


def _bind(engine: Engine, parts: Parts, language: gr.Textbox, arrived: Dependency) -> None:
    form = parts.form
    prompt, model = form.components["prompt"], form.components["model"]
    answer = [parts.view, parts.recipe, parts.read]

    inputs = [parts.conversation, parts.given, language, *form.inputs]

    def on_click(handler: Callable[[Engine, Click], Iterator[Update]]) -> Callable[..., Iterator[dict[Any, Any]]]:
        def work(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[dict[Any, Any]]:
            data, given, chosen, *settings = values
            click = Click(
                conversation=Conversation.read(data),
                settings=dict(zip(form.names, settings, strict=True)),
                language=chosen,
                session=request.session_hash or "",
                given=given,
                event=event,
            )
            for update in handler(engine, click):
                yield parts.paint(update)

        return work

    for trigger, handler in (
        (prompt.submit, text_page.ask),
        (parts.send.click, text_page.ask),
        (parts.again.click, text_page.retry),
        (parts.chat.retry, text_page.retry),
        (parts.chat.edit, text_page.edit),
        (parts.chat.example_select, text_page.suggest),
        (parts.view.branch, text_page.follow),
    ):
        bind_job(
            trigger,
            on_click(handler),
            engine=engine,
            family=TEXT,
            language=language,
            inputs=inputs,
            outputs=parts.painted,
            waiting=lambda chosen: parts.paint(Update(busy=True, status=facts.busy(text_page.WAITING, chosen))),
            rest=lambda: parts.paint(Update(busy=False, status="")),
            already=text_page.ALREADY,
        ).success(None, js=KEEP_ANSWER, inputs=[parts.conversation, *answer])
    bind_stop(parts.stop, TEXT)

    def reopen(data: Any, recipe: Any, language: str) -> dict[Any, Any]:
        return parts.paint(text_page.reopen(Conversation.read(data), recipe, language))

    def suggestions(language: str) -> dict[str, Any]:
        shown = [{"text": text, "display_text": words.to(language)} for text, words in text_page.SUGGESTIONS.items()]
        return gr.update(examples=shown)

    arrived.then(suggestions, [language], [parts.chat], **QUICK)

    shown = {"inputs": [parts.conversation, parts.recipe, language], "outputs": parts.painted, **QUICK}
    loaded = {"outputs": [parts.conversation, *answer, prompt]}
    arrived.then(None, js=f"() => ({LOAD_CONVERSATION})(null)", **loaded).then(reopen, **shown)
    parts.stored.open(None, js=f"() => ({LOAD_CONVERSATION})(aigc.store.wanted)", **loaded).then(reopen, **shown)

    def switch(data: Any, leaf: Any) -> dict[str, Any]:
        talk = Conversation.read(data)
        return talk.show(leaf).data() if leaf in talk.nodes else talk.data()

    parts.branch.select(switch, [parts.conversation, parts.branch], [parts.conversation], **QUICK).then(
        None, js=LOAD_ANSWER, inputs=[parts.branch], outputs=answer
    ).then(reopen, **shown).then(None, js="(talk) => aigc.store.save(talk)", inputs=[parts.conversation])

    for trigger in (parts.new.click, parts.chat.clear, parts.stored.forget):
        trigger(lambda: parts.paint(EMPTY), outputs=parts.painted, **QUICK).then(None, js="() => aigc.store.begin()")

    def restore(path: str, language: str) -> dict[Any, Any]:
        with told_in(language):
            return parts.paint(text_page.restore(Path(path).read_bytes(), language))

    # queued: gradio shows no error of an event outside the queue
    parts.drop.upload(restore, [parts.drop, language], parts.painted, **{**PRIVATE, "preprocess": True}).success(
        None, js="() => aigc.store.begin()"
    )
    parts.save.click(None, js=DOWNLOAD, inputs=[parts.recipe])
    parts.keep_seed.click(
        None,
        js="(recipe, seed) => recipe ? recipe.settings.seed : seed",
        inputs=[parts.recipe, form.components["seed"]],
        outputs=[form.components["seed"]],
    )

    def note(model: str, language: str) -> str:
        return text_page.model_note(engine, model, language)

    arrived.then(note, [model, language], [parts.model_note], **PRIVATE)
    model.input(
        lambda model, language: parts.paint(text_page.chosen(engine, model, language)),
        [model, language],
        parts.painted,
        **PRIVATE,
    )

    knobs = [form.components["temperature"], form.components["mode"]]
    idle = {
        "inputs": [*knobs, language],
        "outputs": [form.components[name] for name in text_page.IDLE],
        "trigger_mode": "always_last",
        **QUICK,
    }
    arrived.then(text_page.what_is_idle, **idle)
    for knob in knobs:
        knob.change(text_page.what_is_idle, **idle)
