"""The token view: every token of an answer, how likely it was, and what else could have stood there.

    Token records -> view_of -> payload -> token_view.js

The page redraws the next-token distribution as the sliders move without asking the model again: a payload
carries the likeliest tokens and a histogram of the others, and the browser repeats `sampling.cut` on them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from aigc_demo.generators.text import TextParams
from aigc_demo.generators.tokens import Head, Token
from aigc_demo.words import LANGUAGES, Words

STATIC = Path(__file__).parent / "static"
SETTINGS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
WORDS = {
    "empty": Words(
        "The tokens of the next answer appear here, each marked by how likely it was.",
        "下一个回答的词元会显示在这里，并按各自的概率作标记。",
    ),
    "choose": Words(
        "Select a token to see what else could have stood there, and to continue from it.",
        "选择一个词元，看看这里还可能出现什么，并可从那里接着写。",
    ),
    "tokens": Words("Tokens of the answer", "回答的词元"),
    "count": Words("{n} tokens", "{n} 个词元"),
    "count_one": Words("1 token", "1 个词元"),
    "perplexity": Words("perplexity", "困惑度"),
    "mean_surprisal": Words("mean surprisal", "平均惊讶度"),
    "bits": Words("{n} bits", "{n} 比特"),
    "legend": Words("Probability", "概率"),
    "at_least": Words("≥ {p}", "≥ {p}"),
    "below": Words("< {p}", "< {p}"),
    "between": Words("{a} – {b}", "{a} – {b}"),
    "end": Words("end", "结束"),
    "of_character": Words("part of “{text}”", "“{text}”的一部分"),
    "of_unfinished": Words("part of a character", "一个字符的一部分"),
    "place": Words("token {n}", "第 {n} 个词元"),
    "id": Words("id {id}", "编号 {id}"),
    "probability": Words("Probability", "概率"),
    "surprisal": Words("Surprisal", "惊讶度"),
    "rank": Words("Rank", "排名"),
    "chance": Words("After the filters", "过滤之后"),
    "chance_help": Words(
        "What the draw saw: after penalty, temperature and filters", "抽取时的概率：经过惩罚、温度和过滤之后"
    ),
    "alternatives": Words("The likeliest tokens here", "此处最可能的词元"),
    "token": Words("Token", "词元"),
    "model": Words("Model", "模型"),
    "model_help": Words(
        "The model's own probability, before penalty, temperature and filters", "模型自身的概率，未经惩罚、温度和过滤"
    ),
    "kept": Words("kept: {p}", "保留：{p}"),
    "removed_by": Words("removed by {filter}", "被{filter}去除"),
    "temperature": Words("temperature", "温度"),
    "top_k": Words("top-k", " top-k "),
    "top_p": Words("top-p", " top-p "),
    "min_p": Words("min-p", " min-p "),
    "continue": Words("Continue from here", "从这里继续"),
    "continue_short": Words("Continue", "继续"),
    "continue_with": Words("Continue from here with “{text}”", "从这里用“{text}”继续"),
    "chosen": Words("chosen", "已选"),
    "penalised": Words(
        "Ranked after the repetition penalty ({n}), which lowers tokens that already stand in the text.",
        "按重复惩罚（{n}）之后的得分排序；文中已出现的词元会因此降低。",
    ),
    "wait": Words("The alternatives appear once the answer is finished.", "回答完成后会显示备选词元。"),
    "none_kept": Words("No alternatives were kept for this answer.", "此回答没有保存备选词元。"),
    "distribution": Words("Next-token distribution", "下一个词元的分布"),
    "as_it_ran": Words("as it ran", "运行时"),
    "as_now_set": Words("as now set", "当前设置"),
    "removed": Words("removed by a filter", "被过滤器去除"),
    "others": Words("{n} others", "其余 {n} 个"),
    "left": Words(
        "{n} of {all} tokens are left; the chosen one has {p}.", "{all} 个词元中剩下 {n} 个；所选词元的概率为 {p}。"
    ),
    "left_one": Words(
        "1 of {all} tokens is left; the chosen one has {p}.", "{all} 个词元中只剩 1 个；所选词元的概率为 {p}。"
    ),
    "left_removed": Words(
        "{n} of {all} tokens are left; the chosen one is removed by {filter}.",
        "{all} 个词元中剩下 {n} 个；所选词元被{filter}去除。",
    ),
    "left_one_removed": Words(
        "1 of {all} tokens is left; the chosen one is removed by {filter}.",
        "{all} 个词元中只剩 1 个；所选词元被{filter}去除。",
    ),
    "said": Words("“{text}”: probability {p}, rank {rank}.", "“{text}”：概率 {p}，排名 {rank}。"),
    "newline": Words("line break", "换行"),
    "space": Words("space", "空格"),
}
"""What token_view.js says; {braces} are filled in there."""


def token_view(**kwargs: Any) -> gr.HTML:
    """The component; its value is a payload of `view_of` or None.

    Event "branch": a person wants the answer to go on from another token; its data are
    {node, index, id}: the payload's node, the position in the answer, the token to put there.
    kwargs: gr.HTML's own, such as elem_id.
    """
    return gr.HTML(
        html_template="<div class='aigc-tv'></div>",
        head=f"<style>{(STATIC / 'token_view.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "token_view.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        words={language: {key: words.to(language) for key, words in WORDS.items()} for language in LANGUAGES},
        **kwargs,
    )


def view_of(tokens: Sequence[Token], request: TextParams, *, node: str = "", live: bool = False) -> dict[str, Any]:
    """The payload of `token_view`.

    node: the answer's id, handed back by the event. live: the answer is still being written; heads are left out.

    tokens: one JSON line [id, text, piece, probability, chance, rank] per token.
    heads: one JSON line [ids, scores, probabilities, counts, low, tail] per token (see `Head`), "" where there is none.
    pieces: JSON object, id -> piece, of all tokens in the heads.
    They are text and not lists because gradio sends only what was appended to a text, and because it watches
    every element of a list in the browser, of which an answer of 600 tokens has 70,000.
    """
    heads = [] if live else [token.head for token in tokens]
    return {
        "node": node,
        "live": live,
        "settings": {name: getattr(request, name) for name in SETTINGS},
        "tokens": "".join(
            _line(token.id, token.text, token.piece, token.probability, token.chance, token.rank) for token in tokens
        ),
        "heads": "".join((_compact(_head(head)) if head else "") + "\n" for head in heads) if any(heads) else "",
        "pieces": _compact(
            {i: piece for head in heads if head for i, piece in zip(head.ids, head.pieces, strict=True)}
        ),
    }


@lru_cache(maxsize=8192)
def _line(token: int, text: str, piece: str, probability: float, chance: float, rank: int) -> str:
    # cached, because a growing answer comes here 30 times a second
    return _compact([token, text, piece, _digits(probability), _digits(chance), rank]) + "\n"


def _head(head: Head) -> list[Any]:
    return [
        head.ids,
        # fewer decimals would make ties, and top-k keeps ties
        [round(score, 5) for score in head.scores],
        [_digits(probability) for probability in head.probabilities],
        list(head.counts.values()),
        round(head.low, 3),
        head.tail,
    ]


def _digits(probability: float) -> float:
    return float(f"{probability:.5g}")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
