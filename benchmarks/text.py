"""Text: what our loop, its token view and the HTTP API cost beside a bare loop over the same model.

    python -m benchmarks.text [--rounds 7] [--tokens 64] [--model smollm2-135m] [--only decode]

The bare loop is greedy over the same model, dtype and cache class, and like everything here runs on a
worker thread of its own. Decode rates leave the prefill out; the API's is compared as a whole, from the
request to the last update, with the bare loop including its prefill.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

from aigc_demo.engine import Engine
from aigc_demo.generators.text import TextParams, generate
from aigc_demo.generators.text_model import TextModel, encode_prompt, load
from aigc_demo.generators.text_rows import TEXT
from aigc_demo.results import Done, finish
from aigc_demo.settings import Settings
from aigc_demo.weights import obtain
from aigc_demo.worker import iterate_on_worker
from benchmarks.compare import Wanted, compare
from benchmarks.startup import app, free_port, serving

PROMPT = "Write a long story about a lighthouse keeper and the sea. Begin with the weather and do not stop early."


def bare_loop(loaded: TextModel, ids: list[int], count: int) -> tuple[float, float]:
    """Seconds to the first token and for the others: prefill, argmax, step."""
    import torch
    from transformers import DynamicCache

    with torch.inference_mode():
        started = time.perf_counter()
        cache = DynamicCache(config=loaded.model.config)
        device = loaded.device.kind
        out = loaded.model(input_ids=torch.tensor([ids], device=device), cache=cache, use_cache=True, logits_to_keep=1)
        token = int(out.logits[0, -1].argmax())
        first = time.perf_counter()
        for _ in range(count - 1):
            out = loaded.model(
                input_ids=torch.tensor([[token]], device=device),
                cache=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            token = int(out.logits[0, -1].argmax())
        return first - started, time.perf_counter() - first


def on_thread(work: Any) -> Any:
    """Run on a fresh thread, as the app does, so that every way has the same kind of OpenMP team."""
    return next(iter(iterate_on_worker(lambda: iter([work()]))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument(
        "--only", choices=("decode", "streamer", "first", "api"), help="one table, for more rounds of it"
    )
    options = parser.parse_args()

    from transformers import TextIteratorStreamer

    engine = Engine(Settings())
    spec = engine.spec(TEXT, options.model)
    folder = finish(obtain(spec.source, engine.places)).value.folder
    loaded = load(folder, engine.device, dict(spec.template_options))
    loaded = TextModel(  # an answer of exactly so many tokens, whatever the model would like
        loaded.model, loaded.tokenizer, loaded.device, loaded.context, frozenset(), loaded.template_options
    )
    count = options.tokens
    ids = encode_prompt("chat", "", [], PROMPT, loaded)
    print(f"{spec.name} · {engine.device.name} · {engine.device.dtype} · prompt {len(ids)} tokens, answer {count}")

    def request(**more: Any) -> TextParams:
        return TextParams(prompt=PROMPT, temperature=0, repetition_penalty=1, max_new_tokens=count, seed=0, **more)

    def bare_rate() -> float:
        return on_thread(lambda: (count - 1) / bare_loop(loaded, ids, count)[1])

    def our_rate(**more: Any) -> float:
        for item in iterate_on_worker(lambda: generate(request(**more), loaded)):
            if isinstance(item, Done):
                assert item.figures["generated_tokens"] == count
                return item.figures["tokens_per_second"]
        raise RuntimeError("no end")

    def streamer_rate() -> float:
        import torch

        streamer = TextIteratorStreamer(loaded.tokenizer, skip_prompt=True, timeout=120)
        arguments = {
            "input_ids": torch.tensor([ids], device=loaded.device.kind),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long, device=loaded.device.kind),
            "max_new_tokens": count,
            "min_new_tokens": count,
            "do_sample": False,
            "streamer": streamer,
        }
        thread = threading.Thread(target=loaded.model.generate, kwargs=arguments)
        thread.start()
        texts = iter(streamer)
        next(texts)
        first = time.perf_counter()
        for _ in texts:
            pass
        thread.join()
        return (count - 1) / (time.perf_counter() - first)

    sampling = {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1}

    def sampled_rate() -> float:
        done = finish(
            iterate_on_worker(
                lambda: generate(TextParams(prompt=PROMPT, max_new_tokens=count, seed=0, **sampling), loaded)
            )
        )
        return done.figures["tokens_per_second"]

    def wanted(table: str) -> bool:
        return options.only in (None, table)

    fine = not wanted("decode") or compare(
        "bare greedy loop",
        {
            "bare greedy loop": bare_rate,
            "generate()": our_rate,
            "generate() with the token view": lambda: our_rate(token_details=True),
            "generate() with every filter": sampled_rate,
            "model.generate + TextIteratorStreamer": streamer_rate,
        },
        [Wanted("generate()", 0.95), Wanted("generate() with the token view", 0.90)],
        rounds=options.rounds,
        unit="tokens/s of decoding",
    )
    fine &= not wanted("streamer") or compare(
        "model.generate + TextIteratorStreamer",
        {"model.generate + TextIteratorStreamer": streamer_rate, "generate()": our_rate},
        [Wanted("generate()", 0.98)],
        rounds=options.rounds,
        unit="tokens/s of decoding",
    )

    def first_token() -> float:
        for item in iterate_on_worker(lambda: generate(TextParams(prompt=PROMPT * 8, max_new_tokens=1), loaded)):
            if isinstance(item, Done):
                return item.timings["first_token"]
        raise RuntimeError("no end")

    long_ids = encode_prompt("chat", "", [], PROMPT * 8, loaded)
    fine &= not wanted("first") or compare(
        "bare prefill",
        {"bare prefill": lambda: on_thread(lambda: bare_loop(loaded, long_ids, 1)[0]), "generate()": first_token},
        [Wanted("generate()", 1.2, at_least=False)],
        rounds=options.rounds * 2 + 1,
        unit=f"seconds to the first token, prompt of {len(long_ids)} tokens",
        faster_is_more=False,
    )
    fine &= not wanted("api") or through_the_api(options.model, loaded, ids, count, options.rounds)
    return 0 if fine else 1


def through_the_api(model: str, loaded: TextModel, ids: list[int], count: int, rounds: int) -> bool:
    """The page's server in a process of its own, as it is in life; the client and the bare loop in this one."""
    from gradio_client import Client

    port = free_port()
    with serving(app(port), port):
        client = Client(f"http://127.0.0.1:{port}", verbose=False)
        updates: list[float] = []

        def api_rate() -> float:
            started = time.perf_counter()
            job = client.submit(
                prompt=PROMPT,
                model=model,
                temperature=0,
                repetition_penalty=1,
                max_new_tokens=count,
                api_name="/generate_text",
            )
            seen = sum(1 for _ in job)
            seconds = time.perf_counter() - started
            updates.append(seen / seconds)
            assert job.outputs()[-1][1]["figures"]["generated_tokens"] == count
            return count / seconds

        fine = compare(
            "bare loop with prefill",
            {
                "bare loop with prefill": lambda: on_thread(lambda: count / sum(bare_loop(loaded, ids, count))),
                "HTTP API, streamed": api_rate,
            },
            [Wanted("HTTP API, streamed", 0.90)],
            rounds=rounds,
            unit="tokens/s of the whole request",
        )
        print(f"updates a second through the API: at most {max(updates):.1f}")
    return fine


if __name__ == "__main__":
    sys.exit(main())
