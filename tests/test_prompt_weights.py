"""Weights in prompts: the syntax of the web UIs, and what they do to embeddings, pixels and recipes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tiny_images import MAKERS

from aigc_demo.device import choose
from aigc_demo.generators import diffusion_model, prompt_embeds
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import ImageModel
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.prompt_weights import closed, of_tokens, parse, plain, restored, scaled, weighted
from aigc_demo.generators.styles import styled
from aigc_demo.pictures import fit
from aigc_demo.results import Done, finish
from aigc_demo.ui.facts import image_facts

torch = pytest.importorskip("torch")
WEIGHABLE = ("sd", "sdxl")
LESS = 1 / 1.1


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a cat", [("a cat", 1)]),
        ("a (red:1.3) cat", [("a ", 1), ("red", 1.3), (" cat", 1)]),
        ("a (red) [cat]", [("a ", 1), ("red", 1.1), (" ", 1), ("cat", LESS)]),
        ("((a)) [[b]]", [("a", 1.1**2), (" ", 1), ("b", LESS**2)]),
        ("((a [b]) c", [("a ", 1.1**2), ("b c", 1.1)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
        ("a) b :1.3) c]", [("a) b :1.3) c]", 1)]),
        (r"\(x\) \[y\] \\ \q", [(r"(x) [y] \ \q", 1)]),
        ("(a:b: 1.4 ) c:d", [("a:b", 1.4), (" c:d", 1)]),
        ("(一只猫:.5)，红色", [("一只猫", 0.5), ("，红色", 1)]),
        ("()[](:2)", []),
        ("(a:99)", [("a", 10)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
    ],
)
def test_the_marks_are_read_as_the_web_uis_read_them(text: str, pieces: list[tuple[str, float]]) -> None:
    """A prompt copied from there means the same here."""
    found = parse(text)
    assert [words for words, _ in found] == [words for words, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])
    assert plain(text) == "".join(words for words, _ in pieces)
    assert weighted(text) == any(weight != 1 for _, weight in pieces)


@pytest.mark.parametrize("text", ["(" * 20_000, "(a" * 5_000 + ":9)" * 5_000, "[" * 9_000 + ":" * 9_000, ": " * 10_000])
def test_a_hostile_prompt_neither_hangs_nor_overflows(text: str) -> None:
    """20,000 characters are allowed, and what they say is a stranger's."""
    assert all(0 <= weight <= 10 for _, weight in parse(text))


def test_what_stays_open_does_not_reach_the_style() -> None:
    """A style's words are the app's, and nobody weighed them."""
    assert closed("([(a") == "([(a)])"
    assert closed("(a) b") == "(a) b"
    assert closed("(a\\") == "(a\\\\)"
    for prompt in ("(a fox:1.4)", "a (fox", "[a ((fox"):
        pieces = parse(styled(prompt, "ink"))
        around = plain(styled("@", "ink")).split("@")
        assert pieces[0][0].startswith(around[0])
        assert pieces[0][1] == 1
        assert pieces[-1] == (around[1], 1)
        inner = [weight for words, weight in pieces if "fox" in words]
        assert inner == [weight for words, weight in parse(prompt) if "fox" in words]
    assert parse(styled("(狐狸:1.4)", "ink"))[0] == ("狐狸", 1.4)


def test_a_token_over_two_weights_has_their_mean() -> None:
    """Weights may begin within a word, and tokens may hold the space before it."""
    pieces = parse("ab(cd:2) (ef:0.5)")
    assert of_tokens(pieces, [(0, 0), (0, 2), (0, 4), (2, 4), (4, 7), (5, 7), (0, 0)]) == [1, 1, 1.5, 2, 0.5, 0.5, 1]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImageModel]:
    place = tmp_path_factory.mktemp("weights")
    return {name: diffusion_model.load(make(place / name), choose("cpu", "float32")) for name, make in MAKERS.items()}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in a fixed order: pixels are compared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def embeddings(model: ImageModel, prompt: str) -> Any:
    told = prompt_embeds.tell(model.encoded, model.run("text", "default"), prompt, "", 1.0)
    assert told.embeddings is not None
    return told.embeddings["prompt_embeds"]


@pytest.mark.parametrize("kind", WEIGHABLE)
def test_only_the_weighted_words_tokens_change(kind: str, models: dict[str, ImageModel]) -> None:
    """Before the mean is restored; afterwards all change by one factor, and the mean is what it was."""
    model = models[kind]
    pipeline = model.run("text", "default")
    bare = embeddings(model, "a red cat")
    read = pipeline.tokenizer("a red cat", padding="max_length", max_length=24, return_offsets_mapping=True)
    weights = of_tokens(parse("a (red:1.5) cat"), read.offset_mapping)
    heavy = [n for n, weight in enumerate(weights) if weight != 1]
    assert pipeline.tokenizer.decode([read.input_ids[n] for n in heavy]).strip() == "red"
    changed = scaled(bare, weights)
    different = (changed != bare).any(dim=-1)[0].nonzero().flatten().tolist()
    assert different == heavy
    assert torch.allclose(changed[0, heavy], bare[0, heavy] * 1.5)

    made = embeddings(model, "a (red:1.5) cat")
    parts = [part.shape[-1] for part in made.split(16, dim=-1)]
    assert parts == ([16] if kind == "sd" else [16, 16])
    for before, scaled_, after in zip(bare.split(16, -1), changed.split(16, -1), made.split(16, -1), strict=True):
        factor = (after / scaled_).median()
        assert torch.allclose(after, scaled_ * factor, atol=1e-6), "each tower by one factor"
        assert 1 / 1.5 - 1e-6 <= factor <= 1 + 1e-6
        if 1 / 1.5 + 1e-4 < factor < 1 - 1e-4:
            assert after.mean() == pytest.approx(before.mean().item(), rel=1e-3)


def test_the_mean_is_restored() -> None:
    """The formula of the source, and its limits where a mean is next to nothing."""
    z = torch.rand(1, 4, 8, generator=torch.Generator().manual_seed(0)) + 0.1
    weights = [1.0, 1.3, 1.0, 0.5]
    after = restored(z, scaled(z, weights), weights)
    assert after.mean().item() == pytest.approx(z.mean().item())
    assert (after[0, 1] / after[0, 0] / (z[0, 1] / z[0, 0])).tolist() == pytest.approx([1.3] * 8, rel=1e-5)
    centred = z - z.mean()
    assert restored(centred, scaled(centred, weights), weights).abs().max() <= 2.6 * centred.abs().max()
    nothing = torch.zeros(1, 4, 8)
    assert torch.equal(restored(nothing, scaled(nothing, weights), weights), nothing)


@pytest.mark.parametrize("kind", WEIGHABLE)
def test_weaker_and_stronger_come_in_that_order_and_one_is_nothing(kind: str, models: dict[str, ImageModel]) -> None:
    """[word] < word < (word) < (word:1.5), measured as the word's share of the whole."""
    bare = embeddings(models[kind], "a red cat")

    def share(prompt: str) -> float:
        made = embeddings(models[kind], prompt)
        return float(made[0, 2:5, :16].norm() / made[0, :, :16].norm())

    shares = [share(prompt) for prompt in ("a [red] cat", "a red cat", "a (red) cat", "a (red:1.5) cat")]
    assert shares == sorted(shares)
    assert len(set(shares)) == 4
    for same in ("a (red:1) cat", "a ([red]) cat", "(a red cat:1.0)"):
        assert torch.equal(embeddings(models[kind], same), bare), same


def pixels(done: Done[Any]) -> list[np.ndarray]:
    return [np.asarray(made.image) for made in done.value.pictures]


def ask(**values: Any) -> ImageParams:
    return ImageParams(**{"prompt": "a cat", "num_inference_steps": 3, "seed": 3, "guidance_scale": 4} | values)


def given(task: str) -> dict[str, Any]:
    from PIL import Image

    picture = Image.fromarray(np.linspace(0, 255, 3 * 16 * 16).reshape(16, 16, 3).astype(np.uint8))
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    return {"text": {}, "image": {"image": picture}, "mask": {"image": picture, "mask": mask}}[task]


@pytest.mark.parametrize("task", ["text", "image", "mask"])
@pytest.mark.parametrize("kind", WEIGHABLE)
def test_the_pixels_are_those_of_the_bare_call_with_weighted_embeddings(
    kind: str, task: str, models: dict[str, ImageModel]
) -> None:
    """Weights reach the picture in every task, for both prompts and for each of several pictures."""
    from PIL import Image

    model = models[kind]
    request = ask(prompt="a (red:1.6) cat", negative_prompt="[dog] (fog:2)", strength=0.9, num_images=2, **given(task))
    made = finish(generate(request, model))
    assert made.figures["weights"] == "applied"
    bare = model.run(task, "default")
    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    encoded = bare.encode_prompt(
        prompt="a red cat",
        negative_prompt="dog fog",
        device="cpu",
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
    )
    arguments = dict(zip(names, encoded, strict=False))
    for name, text in (("prompt_embeds", request.prompt), ("negative_prompt_embeds", request.negative_prompt)):
        arguments[name] = prompt_embeds.weigh(bare, arguments[name], parse(text))
    if request.image is not None:
        arguments |= {"image": fit(request.image, 16, 16), "strength": 0.9}
    if request.mask is not None:
        arguments["mask_image"] = request.mask.resize((16, 16), Image.Resampling.NEAREST)
    for n, shown in enumerate(pixels(made)):
        wanted = bare(
            **arguments, num_inference_steps=3, guidance_scale=4.0, generator=torch.Generator().manual_seed(3 + n)
        )
        assert abs(shown.astype(int) - np.asarray(wanted.images[0])).max() <= 1
    without = pixels(
        finish(generate(ask(**{**vars(request), "prompt": "a red cat", "negative_prompt": "dog fog"}), model))
    )
    assert any(not np.array_equal(one, other) for one, other in zip(pixels(made), without, strict=True))


def test_a_model_that_cannot_weigh_reads_the_words_and_says_so(models: dict[str, ImageModel]) -> None:
    """A bracket in T5's text is a bracket; better the plain words, and a line about it."""
    made = finish(generate(ask(prompt="a (red:1.6) cat", negative_prompt="[dog]"), models["sd3"]))
    same = finish(generate(ask(prompt="a red cat", negative_prompt="dog"), models["sd3"]))
    assert np.array_equal(pixels(made)[0], pixels(same)[0])
    assert made.figures["weights"] == "left out"
    assert "weights" not in same.figures
    recipe = {"figures": made.figures, "timings": made.timings, "settings": {}, "model": {}, "device": {}}
    assert "weights" in image_facts(recipe, "en")
    assert "权重" in image_facts(recipe, "zh")
    assert "权重" not in image_facts({**recipe, "figures": same.figures}, "zh")


def test_what_was_not_read_counts_the_words_without_marks(models: dict[str, ImageModel]) -> None:
    """24 tokens less two hold 22 letters, however many brackets stand around them."""
    fits = "(a:1.2)(b:1.3)" * 11
    assert finish(generate(ask(prompt=fits), models["sd"])).figures["unread"] == ""
    assert finish(generate(ask(prompt=fits + "(xyz:1.4)"), models["sd"])).figures["unread"].endswith("xyz")
