"""Autoregressive text: a prompt, then one token at a time from the model's own distribution.

    prompt -> token ids -> prefill -> [penalty -> temperature -> top-k -> top-p -> min-p -> draw -> step]*

`generate` is a plain generator over a transformers causal LM with a KV cache. It knows no page, no files
and no other request; what belongs to a thread lives inside one step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.device import MemoryMeter, uniforms
from aigc_demo.errors import Invalid, ModelDamaged, TooLong
from aigc_demo.generators.detokenize import parse_stops
from aigc_demo.generators.text_model import Passes, TextModel, encode_prompt
from aigc_demo.generators.tokens import Answer, TextResult, Token, Writing, describe_head
from aigc_demo.params import Choice, Data, Params, Range, Refused, Seed, Switch, Text, clean
from aigc_demo.results import Done, Step
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

LONGEST_PROMPT = 200_000


def check_history(value: Any) -> list[dict[str, str]]:
    """Earlier turns, oldest first: [{"role": "user" | "assistant", "content": text}, ...]."""
    if not isinstance(value, list | tuple) or len(value) > 1000:
        raise Refused(Words("must be a list of turns", "须为对话轮次的列表"))
    turns = []
    for turn in value:
        if (
            not isinstance(turn, dict)
            or turn.get("role") not in ("user", "assistant")
            or not isinstance(turn.get("content"), str)
        ):
            raise Refused(
                Words(
                    'must hold turns like {{"role": "user" or "assistant", "content": "text"}}',
                    "每一轮须写明角色（user 或 assistant）和内容",
                ).format()
            )
        turns.append({"role": turn["role"], "content": clean(turn["content"])})
    if sum(len(turn["content"]) for turn in turns) > LONGEST_PROMPT:
        raise Refused(Words("is longer than {n:,} characters", "超过了 {n:,} 个字符").format(n=LONGEST_PROMPT))
    return turns


def check_token_ids(value: Any) -> list[int]:
    """Token ids of an answer that has begun."""
    if (
        not isinstance(value, list | tuple)
        or len(value) > LONGEST_PROMPT
        or not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 2**31 for i in value)
    ):
        raise Refused(Words("must be a list of token ids", "须为词元编号的列表"))
    return list(value)


@dataclass(frozen=True)
class TextParams(Params):
    """A request for text."""

    prompt: Annotated[
        str,
        Text(
            label=Words("Prompt", "提示词"),
            help=Words(
                "What you say to the model, or the text it goes on writing.",
                "你对模型说的话，或要它续写的文字。",
            ),
            max_length=LONGEST_PROMPT,
            lines=2,
            required=True,
        ),
    ]
    system_prompt: Annotated[
        str,
        Text(
            label=Words("System prompt", "系统提示词"),
            help=Words(
                "Instructions that stand before the conversation: a role, a tone, a format. Small models follow only "
                "short and plain ones. Empty: the model's own default.",
                "放在对话之前的指令：角色、语气、格式。小模型只能听懂简短直白的指令。留空则用模型自带的默认值。",
            ),
            max_length=20_000,
            lines=2,
        ),
    ] = ""
    mode: Annotated[
        str,
        Choice(
            label=Words("Mode", "模式"),
            help=Words(
                "Chat wraps your words in the model's chat template. Complete gives them to the model as they are, and "
                "it goes on from the last one.",
                "“对话”把你的话套进模型的对话模板；“续写”原样交给模型，由它接着写下去。",
            ),
            options={"chat": Words("Chat", "对话"), "complete": Words("Complete", "续写")},
        ),
    ] = "chat"
    model: Annotated[
        str,
        Text(
            label=Words("Model", "模型"),
            help=Words(
                "A model of the list, a Hugging Face id such as owner/name, or ./name for a folder under models/.",
                "列表中的模型，或 Hugging Face 上的编号（如 owner/name），或 ./name 表示 models/ 下的文件夹。",
            ),
            max_length=200,
            required=True,
        ),
    ] = "smollm2-135m"
    temperature: Annotated[
        float,
        Range(
            label=Words("Temperature", "温度"),
            help=Words(
                "Divides the logits before the softmax. Typical 0.2 to 1. At 0 the likeliest token always wins, and small "
                "models begin to repeat themselves; above 1.3 the text falls apart.",
                "在 softmax 之前去除 logits。常用 0.2 到 1。为 0 时总取最可能的词元，小模型容易开始重复；超过 1.3 文字会散乱。",
            ),
            low=0,
            high=2,
            step=0.05,
        ),
    ] = 0.2
    top_k: Annotated[
        int,
        Range(
            label=Words("Top-k", "Top-k"),
            help=Words(
                "Only the k likeliest tokens stay. Typical 20 to 100; 0 is off. At 1 nothing is left to chance; a large k "
                "lets nonsense through where the model is sure.",
                "只保留最可能的 k 个词元。常用 20 到 100；0 为关闭。为 1 时毫无随机；k 太大，模型本来很确定时也会混进胡话。",
            ),
            low=0,
            high=200,
            step=1,
        ),
    ] = 50
    top_p: Annotated[
        float,
        Range(
            label=Words("Top-p", "Top-p"),
            help=Words(
                "The fewest tokens whose probabilities add up to p stay. Typical 0.8 to 0.95; 1 is off. Near 0 only the "
                "likeliest is left; at 1 the long tail stays in play.",
                "保留概率之和达到 p 的最少词元。常用 0.8 到 0.95；1 为关闭。接近 0 时只剩最可能的一个；为 1 时长尾也在其中。",
            ),
            low=0.01,
            high=1,
            step=0.01,
        ),
    ] = 0.9
    min_p: Annotated[
        float,
        Range(
            label=Words("Min-p", "Min-p"),
            help=Words(
                "Tokens less likely than this share of the likeliest one are removed. Typical 0.02 to 0.1; 0 is off. It "
                "adapts to how sure the model is; near 1 only the likeliest is left.",
                "去掉概率低于最可能词元这一比例的词元。常用 0.02 到 0.1；0 为关闭。它随模型的把握而变；接近 1 时只剩最可能的一个。",
            ),
            low=0,
            high=1,
            step=0.01,
        ),
    ] = 0.0
    repetition_penalty: Annotated[
        float,
        Range(
            label=Words("Repetition penalty", "重复惩罚"),
            help=Words(
                "Makes every token that already stands in the prompt or the answer less likely. Typical 1.05 to 1.2; 1 is "
                "off. Above 1.5 the model avoids even the words it needs.",
                "降低提示词和回答中已出现词元的概率。常用 1.05 到 1.2；1 为关闭。超过 1.5，连必要的词也会被回避。",
            ),
            low=1,
            high=2,
            step=0.01,
        ),
    ] = 1.0
    max_new_tokens: Annotated[
        int,
        Range(
            label=Words("Longest answer", "最长回答"),
            help=Words(
                "In tokens; an English word is about 1.3 of them. Typical 100 to 500. Too few cut the answer off; too many "
                "let a small model ramble.",
                "以词元计；一个汉字约 1 到 3 个词元。常用 100 到 500。太少会被截断；太多小模型会东拉西扯。",
            ),
            low=1,
            high=4096,
            step=1,
        ),
    ] = 256
    stop: Annotated[
        str,
        Text(
            label=Words("Stop strings", "停止字符串"),
            help=Words(
                r"The answer ends before the first of these. One per line; \n stands for a line end.",
                r"回答在遇到其中任何一个之前结束。每行一个；\n 表示换行。",
            ),
            max_length=1000,
            lines=2,
        ),
    ] = ""
    seed: Annotated[
        int,
        Seed(
            label=Words("Seed", "随机种子"),
            help=Words(
                "The same seed, settings and model give the same text on the same machine. -1 draws one at random.",
                "同样的种子、设置和模型，在同一台机器上得到同样的文字。-1 表示随机抽取。",
            ),
        ),
    ] = -1
    history: Annotated[
        list,
        Data(
            label=Words("History", "历史"),
            help=Words(
                "The turns before this prompt, oldest first. Chat mode only.",
                "此前的对话，从最早的开始。仅用于对话模式。",
            ),
            checker=check_history,
            shape='[{"role", "content"}]',
        ),
    ] = field(default_factory=list)
    answer_prefix: Annotated[
        list,
        Data(
            label=Words("Answer so far", "已有的回答"),
            help=Words(
                "Token ids with which the answer has to begin: how a branch in the token view is made.",
                "回答必须以这些词元编号开头：词元视图中的分支由此而来。",
            ),
            checker=check_token_ids,
            shape="[int]",
        ),
    ] = field(default_factory=list)
    token_details: Annotated[
        bool,
        Switch(
            label=Words("Look inside the tokens", "查看词元内部"),
            help=Words(
                "Keeps the likeliest alternatives at every position for the token view.",
                "在每个位置保留最可能的备选词元，供词元视图使用。",
            ),
        ),
    ] = False


def generate(
    request: TextParams, loaded: TextModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Writing] | Done[TextResult]]:
    """Write an answer: steps of stage "prefill" (index: prompt tokens read) and "decode" (one per token), then Done.

    request: with its seed drawn (`resolved()`); -1 counts as 0. stopped: asked after every chunk and token.
    Raises `TooLong` where the prompt leaves no room in the context, `Invalid` for ids the model does not have.
    """
    import torch

    started = time.perf_counter()
    meter = MemoryMeter(loaded.device)
    prompt = encode_prompt(request.mode, request.system_prompt, request.history, request.prompt, loaded)
    forced = request.answer_prefix
    room = loaded.context - len(prompt) - len(forced)
    if room < 1:
        raise TooLong(
            Words(
                "The prompt has {n:,} tokens, {over:,} more than fit beside an answer in this model's context of "
                "{context:,}. Shorten it, clear the conversation, or choose a model with a longer context.",
                "提示词有 {n:,} 个词元，而该模型的上下文为 {context:,} 个，还要给回答留位置，因此超出 {over:,} 个。"
                "请缩短提示词、清空对话，或选择上下文更长的模型。",
            ).format(n=len(prompt) + len(forced), over=1 - room, context=loaded.context)
        )
    if any(i >= loaded.model.config.vocab_size for i in forced):
        raise Invalid(
            Words("The answer so far holds tokens that this model lacks.", "已有的回答含有该模型没有的词元。")
        )
    limit = len(forced) + min(request.max_new_tokens, room)
    uniform = uniforms(max(request.seed, 0), limit)
    seen = torch.tensor(prompt + [0] * limit)
    answer = Answer(loaded, parse_stops(request.stop))
    passes = Passes(loaded)
    finish = None
    first_token = 0.0

    def choose(logits: torch.Tensor) -> Token:
        n = len(answer.tokens)
        token = pick(
            logits, seen[: len(prompt) + n], uniform[n], request, loaded, forced[n] if n < len(forced) else None
        )
        seen[len(prompt) + n] = token.id
        return answer.add(token)

    logits = torch.empty(0)
    for read, rows in passes.prefill(prompt + forced, keep_from=len(prompt) - 1):
        yield Step("prefill", read, len(prompt) + len(forced))
        if stopped():
            finish = "stopped"
            break
        for logits in rows:
            # an end or a stop string may stand inside it, where the stop strings have changed since
            if len(answer.tokens) < len(forced) and answer.finish is None:
                choose(logits)
    if forced:
        yield Step("decode", len(answer.tokens), limit, Writing(answer.shown, tuple(answer.tokens)))
    while not (finish := finish or answer.finish or ("stopped" if stopped() else None)):
        token = choose(logits)
        first_token = first_token or time.perf_counter()
        meter.sample()
        yield Step("decode", len(answer.tokens), limit, Writing(answer.shown, (token,)))
        if answer.finish is None:
            if len(answer.tokens) == limit:
                finish = "length" if request.max_new_tokens <= room else "context"
            elif not stopped():
                logits = passes.step(token.id)
    ended = time.perf_counter()
    new = len(answer.tokens) - len(forced)
    surprisal = [-math.log2(max(token.probability, 1e-45)) for token in answer.tokens]
    mean_surprisal = sum(surprisal) / len(surprisal) if surprisal else 0.0
    yield Done(
        TextResult(answer.whole(), tuple(answer.tokens), finish, loaded.tokenizer.decode(prompt)),
        timings={
            "total": ended - started,
            "first_token": (first_token or ended) - started,
            "decode": ended - (first_token or ended),
        },
        figures={
            "prompt_tokens": len(prompt),
            "generated_tokens": len(answer.tokens),
            "tokens_per_second": (new - 1) / (ended - first_token) if new > 1 else None,
            "context_share": (len(prompt) + len(answer.tokens)) / loaded.context,
            "context": loaded.context,
            "peak_memory_bytes": meter.peak,
            "surprisal_bits": mean_surprisal,
            "perplexity": 2**mean_surprisal,
            "finish": finish,
        },
    )


def pick(
    logits: torch.Tensor,
    seen: torch.Tensor,
    uniform: float,
    request: TextParams,
    loaded: TextModel,
    forced: int | None = None,
) -> Token:
    """One token from the logits of one position (float32, length V, on the CPU), or the record of a forced one."""
    from aigc_demo.generators.sampling import draw, penalise_repetition, rank

    log_total = logits.logsumexp(0)
    if log_total.isnan():
        raise ModelDamaged(
            Words(
                "The model computed no numbers any more (NaN). Its weights are damaged, or overflow in this number format: "
                "start the app with --dtype float32, or choose another model.",
                "模型算出的已不是数字（NaN）。它的权重已损坏，或者在此数值格式下溢出：请用 --dtype float32 启动应用，或选择其他模型。",
            )
        )
    scores = penalise_repetition(logits, seen, request.repetition_penalty)
    ranking = rank(scores, request.temperature, request.top_k, request.top_p, request.min_p, uniform)
    if forced is None:
        place = draw(ranking, uniform)
        token = int(ranking.ids[place])
        chance = float(ranking.probabilities[place])
    else:
        token = forced
        ranked = (ranking.ids == token).nonzero()
        place = int(ranked[0]) if len(ranked) else max(len(ranking.ids), int((scores > scores[token]).sum()))
        if place < ranking.probabilities.numel():
            chance = float(ranking.probabilities[place])
        elif place < ranking.kept:  # nothing is filtered, and the ranking was cut short above it
            scaled = scores / request.temperature
            chance = float((scaled[token] - scaled.logsumexp(0)).exp())
        else:
            chance = 0.0
    head = describe_head(logits, scores, log_total, ranking, loaded) if request.token_details else None
    probability = float((logits[token] - log_total).exp())
    return Token(token, "", loaded.piece(token), probability, chance, place, head)
