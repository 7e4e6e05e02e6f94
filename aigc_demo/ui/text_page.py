"""What the Text tab does on a click, without its layout: a Click comes in, Updates go out.

A conversation comes from the browser with every click and goes back with every answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html import escape, unescape
from typing import Any

import gradio as gr

from aigc_demo import recipe
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid, UserError
from aigc_demo.generators.text import TextParams
from aigc_demo.generators.text_rows import TEXT, TextSpec
from aigc_demo.generators.tokens import TextResult, Token
from aigc_demo.params import clean
from aigc_demo.results import Done, Step
from aigc_demo.ui import facts, model_choice
from aigc_demo.ui.conversation import Conversation
from aigc_demo.ui.model_choice import Rows
from aigc_demo.ui.run import paced, run
from aigc_demo.ui.section import KEEP
from aigc_demo.ui.token_view import view_of
from aigc_demo.words import Words

LANGUAGES = {"en": Words("English", "英语"), "zh": Words("Chinese", "中文")}


@dataclass(frozen=True)
class Click:
    """What the page sends with every click.

    settings: names and values of the form. given: the beginning that a restored recipe gives the next answer.
    event: what the component says of it (the index of a message, an edited text, a chosen token).
    """

    conversation: Conversation
    settings: dict[str, Any]
    language: str
    session: str
    given: Any = None
    event: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """What the page shows from now on. busy: an answer is being written. final: never to be skipped."""

    conversation: Conversation = KEEP
    messages: list[dict[str, Any]] = KEEP
    status: str = KEEP
    view: dict[str, Any] | None = KEEP
    recipe: dict[str, Any] | None = KEEP
    read: str = KEEP
    prompt: str = KEEP
    given: Any = KEEP
    busy: bool = KEEP
    settings: dict[str, Any] = KEEP
    model_note: str = KEEP
    final: bool = False


SUGGESTIONS = {
    "Explain in two sentences why the sky is blue.": Words("Why is the sky blue?", "天空为什么是蓝色的？（用英语）"),
    "Write a haiku about the sea.": Words("A haiku about the sea", "写一首关于大海的俳句（用英语）"),
    "Give me three names for a small bakery.": Words("Three names for a bakery", "给面包店起三个名字（用英语）"),
}
"""What is sent -> what is shown. English, as the model that everybody starts with knows nothing else."""
WAITING = Words("Waiting for its turn", "正在排队")
ALREADY = Words("An answer is being written. Wait for it, or stop it.", "正在书写一个回答。请等它结束，或先停止它。")
EMPTY = Update(Conversation(), status="", view=None, recipe=None, read="", given=None, final=True)


def ask(engine: Engine, click: Click) -> Iterator[Update]:
    """Send the prompt as a new turn."""
    typed, mode = click.settings["prompt"], click.settings["mode"]
    TextParams.of({"prompt": typed, "mode": mode})  # before it becomes a turn
    given = click.given if isinstance(click.given, dict) and click.given.get("prompt") == typed else {}
    talk = click.conversation.ask(typed, mode, click.conversation.leaf)
    return _answer(engine, replace(click, conversation=talk), given.get("tokens", []), sent=True)


def suggest(engine: Engine, click: Click) -> Iterator[Update]:
    """Send one of the suggestions that an empty conversation shows."""
    return ask(engine, replace(click, settings={**click.settings, "prompt": click.event["value"]["text"]}))


def retry(engine: Engine, click: Click) -> Iterator[Update]:
    """Answer a question again: that of the message clicked on, or the last one."""
    path = click.conversation.path()
    asked = [turn.id for turn in path[: click.event.get("index", len(path)) + 1] if turn.role == "user"]
    if not asked:
        return iter(())
    return _answer(engine, replace(click, conversation=click.conversation.show(asked[-1])), [])


def edit(engine: Engine, click: Click) -> Iterator[Update]:
    """Ask a changed question in the place of an earlier one; the earlier one stays as a branch."""
    turn = click.conversation.path()[click.event["index"]]
    content = TextParams.of({"prompt": typed_text(click.event["value"])}).prompt
    talk = click.conversation.ask(content, turn.mode, turn.parent)
    return _answer(engine, replace(click, conversation=talk), [])


def follow(engine: Engine, click: Click) -> Iterator[Update]:
    """Go on from another token of an answer: a branch of the same question."""
    answer = click.conversation.nodes[click.event["node"]]
    prefix = [*answer.tokens[: click.event["index"]], click.event["id"]]
    return _answer(engine, replace(click, conversation=click.conversation.show(answer.parent)), prefix)


def _answer(engine: Engine, click: Click, prefix: list[int], sent: bool = False) -> Iterator[Update]:
    """Answer the shown leaf, a user's turn. sent: the prompt box holds that turn; it is emptied, and filled again on trouble."""
    asked = click.conversation.nodes[click.conversation.leaf or ""]
    values = {
        **click.settings,
        "prompt": asked.content,
        "mode": asked.mode,
        "history": click.conversation.history(asked.id),
        "answer_prefix": prefix,
        "token_details": True,
    }
    yield Update(busy=True, status="", view=None, prompt="" if sent else KEEP)
    try:
        updates = _updates(run(engine, TEXT, values, click.session), click.conversation, click.language)
        yield from paced((update, update.final) for update in updates)
    except Exception:
        if sent:
            yield Update(prompt=asked.content)
        raise


def _updates(steps: Iterator[Step[Any] | Done[TextResult]], talk: Conversation, language: str) -> Iterator[Update]:
    tokens: list[Token] = []
    shown = shown_messages(talk)
    for item in steps:
        if isinstance(item, Done):
            yield _finished(item, talk, language)
        elif item.stage == "decode" and item.value is not None:
            tokens.extend(replace(token, head=None) for token in item.value.tokens)
            yield Update(
                messages=[*shown, {"role": "assistant", "content": shown_text(item.value.text)}],
                status=facts.progress(item, language),
                view=view_of(tokens, TextParams(prompt="-"), live=True),
            )
        else:
            yield Update(messages=shown, status=facts.progress(item, language), final=item.stage == "load")


def _finished(done: Done[TextResult], talk: Conversation, language: str) -> Update:
    result = done.value
    talk = talk.answer(clean(result.text), [token.id for token in result.tokens])  # as `Conversation.read` will give it
    return Update(
        talk,
        status=facts.text_facts(done.recipe, language),
        view=view_of(result.tokens, TextParams.of(done.recipe["settings"]), node=talk.leaf or ""),
        recipe=done.recipe,
        read=result.prompt_text,
        given=None,
        busy=False,
        final=True,
    )


def reopen(talk: Conversation, made: Any, language: str) -> Update:
    """A conversation that the browser kept, with the recipe of the answer that it shows: facts and knobs as they were.

    The prompt box keeps its draft; a seed that was drawn at random is not what the person had chosen.
    """
    try:
        settings = TextParams.of(made["settings"]).values()
    except (UserError, KeyError, TypeError):
        return Update(talk, status="")
    own = {name: value for name, value in settings.items() if name not in ("prompt", "seed")}
    return Update(talk, status=facts.text_facts(made, language), settings=own)


def restore(data: bytes, language: str) -> Update:
    """A recipe's file -> the whole form, the conversation before its prompt, and the prompt, ready to be sent."""
    found = recipe.read(data)
    if found.family != TEXT.name:
        raise Invalid(Words("This recipe is not for text.", "该配方不是文本配方。"))
    request: TextParams = TextParams.of(found.settings)
    talk = Conversation()
    for turn in request.history:
        if turn["role"] == "user":
            talk = talk.ask(turn["content"], "chat", talk.leaf)
        elif talk.leaf:
            talk = talk.answer(turn["content"], [])
    said = Words("Restored. Send the prompt to make the result again.", "已恢复。发送提示词即可重现结果。")
    return replace(
        EMPTY,
        conversation=talk,
        settings=request.values(),
        prompt=request.prompt,
        given={"prompt": request.prompt, "tokens": request.answer_prefix} if request.answer_prefix else None,
        status=facts.note(said.to(language)),
    )


def shown_messages(conversation: Conversation) -> list[dict[str, Any]]:
    """The shown branch for gr.Chatbot."""
    return [{"role": m["role"], "content": shown_text(m["content"])} for m in conversation.messages()]


_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)


_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?[0-9A-Za-z]+;)")


def shown_text(text: str) -> str:
    """Markdown in which tags and entities outside of code are text: who writes about <div> or &lt; wants to read that."""
    parts = _CODE.split(text)
    return "".join(part if n % 2 else _MARKUP.sub(lambda m: escape(m[0]), part) for n, part in enumerate(parts))


def typed_text(shown: str) -> str:
    """The inverse of `shown_text`, for a message that was edited on the page."""
    parts = _CODE.split(shown)
    return "".join(
        part if n % 2 else re.sub("&(?:lt|amp);", lambda m: unescape(m[0]), part) for n, part in enumerate(parts)
    )


def chosen(engine: Engine, model: str, language: str) -> Update:
    """A person chose a model: what to know of it, and the settings that suit it."""
    row = TEXT.rows.get(model)
    return Update(model_note=model_note(engine, model, language), settings=dict(row.defaults) if row else KEEP)


def model_note(engine: Engine, model: str, language: str) -> str:
    """What to know of a model before running it."""

    def languages(spec: TextSpec) -> Rows:
        return [(Words("Languages", "语言"), ", ".join(LANGUAGES[code].to(language) for code in spec.languages))]

    def context(spec: TextSpec) -> Rows:
        return [(Words("Context", "上下文"), f"{spec.context:,}" if spec.context else "")]

    return model_choice.model_note(engine, TEXT, model, language, first=languages, more=context)


AT_ZERO = Words(
    "No effect at temperature 0: the likeliest token always wins.", "温度为 0 时不起作用：总是取最可能的词元。"
)
COMPLETING = Words(
    "No effect in the mode “Complete”: the model reads your text alone.", "在“续写”模式下不起作用：模型只读你的文字。"
)
IDLE = {"top_k": AT_ZERO, "top_p": AT_ZERO, "min_p": AT_ZERO, "seed": AT_ZERO, "system_prompt": COMPLETING}
"""Fields that can be without effect, and why."""


def what_is_idle(temperature: Any, mode: Any, language: str) -> list[dict[str, Any]]:
    """Updates for the IDLE fields: disabled with the reason, or enabled with their own help."""
    markers = TextParams.markers()
    idle = {AT_ZERO: temperature == 0, COMPLETING: mode == "complete"}
    return [
        gr.update(interactive=not idle[why], info=(why if idle[why] else markers[name][1].help).to(language))
        for name, why in IDLE.items()
    ]
