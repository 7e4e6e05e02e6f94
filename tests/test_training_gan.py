"""What is the adversarial pair's own: its latent space, its losses against hand-made cases, and its marks."""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aigc_demo.results import Step
from aigc_demo.training import data, gan, loop, registry, toy
from aigc_demo.training.concepts import Concept
from aigc_demo.words import Words

torch = pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")

from aigc_demo.nets import gan as gan_nets  # noqa: E402  they import torch
from aigc_demo.training import coverage, gan_marks, metrics  # noqa: E402  they import torch


@pytest.fixture(scope="module")
def generator() -> gan_nets.Generator:
    torch.manual_seed(0)
    net = gan_nets.Generator(widths=(32, 16, 8, 4)).eval()
    net.mean_w.copy_(net.mapping(torch.randn(256, net.latent)).mean(0).detach())
    return net


def test_a_seed_gives_the_same_picture_alone_and_in_a_batch(generator) -> None:
    """The page promises it, and batch statistics anywhere would break it."""
    batch = gan.sample(generator, [7, 8, 9])
    assert batch.shape == (3, 3, gan.SIDE, gan.SIDE)
    assert batch.abs().max() <= 1
    for place, seed in enumerate([7, 8, 9]):
        assert (gan.sample(generator, [seed])[0] - batch[place]).abs().max() < 1 / 255


def test_truncation_ends_in_one_picture(generator) -> None:
    """psi 0 is the mean of w for everyone, psi 1 leaves every w alone."""
    none = gan.sample(generator, [1, 2], psi=0)
    assert torch.allclose(none[0], none[1], atol=1e-6)
    one, two = gan.sample(generator, [1, 2])
    assert (one - two).abs().max() > 0.01
    w = generator.mapping(torch.randn(2, generator.latent))
    assert torch.allclose(generator.truncate(w, 1.0), w, atol=1e-6)


def test_every_layer_has_a_w_of_its_own(generator) -> None:
    """Style mixing would do nothing where a layer took its neighbour's w, or none."""
    with torch.no_grad():
        a, b = generator.mapping(torch.randn(2, generator.latent, generator=torch.Generator().manual_seed(3)))
        plain = a.expand(1, generator.layers, -1).clone()
        before = generator.synthesize(plain)
        for layer in range(generator.layers):
            mixed = plain.clone()
            mixed[:, layer] = b
            assert (generator.synthesize(mixed) - before).abs().max() > 1e-4, layer


def test_a_score_is_the_same_alone_and_in_a_batch() -> None:
    """The page shows the discriminator's opinion of single pictures."""
    critic = gan_nets.Discriminator(widths=(4, 8, 16, 32))
    pictures = torch.rand(3, 3, gan.SIDE, gan.SIDE) * 2 - 1
    with torch.no_grad():
        assert critic(pictures).shape == (3,)
        assert torch.allclose(critic(pictures)[1:2], critic(pictures[1:2]), atol=1e-5)


def test_the_relativistic_loss_of_hand_made_scores() -> None:
    """Only differences of pairs count: a constant on all scores changes nothing."""
    real, made = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    wanted = (math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2
    assert float(gan.relativistic(real, made)) == pytest.approx(wanted)
    assert float(gan.relativistic(real + 5, made + 5)) == pytest.approx(wanted)


def test_the_slopes_of_a_critic_known_by_heart() -> None:
    """The score a x^2 / 2 has the slope a x, so its squared norm is a^2 |x|^2, and that one's derivative by a, 2 a |x|^2,
    is what the second backward pass has to find."""
    a = torch.tensor(3.0, requires_grad=True)
    pictures = torch.randn(2, 3, 4, 4, requires_grad=True)
    scores, slopes = gan.with_slopes(lambda x: a / 2 * x.square().sum((1, 2, 3)), pictures)
    power = pictures.detach().square().sum((1, 2, 3))
    assert torch.allclose(scores, 1.5 * power)
    assert torch.allclose(slopes, 9 * power)
    slopes.sum().backward()
    assert float(a.grad) == pytest.approx(float(6 * power.sum()), rel=1e-5)


def test_the_penalty_reaches_every_layer_of_the_discriminator() -> None:
    """A second derivative that torch cannot take would be silently absent from some of them. The last convolution of
    a block begins at zero, so what is behind it has no slope yet."""
    critic = gan_nets.Discriminator(widths=(4, 8, 16, 32))
    for stage in critic.stages:
        torch.nn.init.normal_(stage[0].second.weight)
    _, slopes = gan.with_slopes(critic, torch.randn(2, 3, gan.SIDE, gan.SIDE, requires_grad=True))
    slopes.mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters() if p.ndim > 1)


def test_a_penalty_now_and_then_weighs_as_much(tmp_path: Path) -> None:
    """Over n steps it is to hold the discriminator back as one in every step does; forgotten, the pair would collapse."""
    toys = toy.pack()
    params = registry.MODELS["emoji-gan"].presets()["smoke"]

    def told(step: int, every: int) -> dict[str, float]:
        task = gan.GanTask(dataclasses.replace(params, penalty_every=every), toys, toy.split(toys), tmp_path)
        _, losses = next(task.turns(step, loop.Chance(0, 0)))
        return {name: float(loss.detach()) for name, loss in losses.items()}

    always, sometimes = told(0, 1), told(0, 4)
    assert sometimes["r1"] == pytest.approx(4 * always["r1"])
    assert sometimes["r2"] == pytest.approx(4 * always["r2"])
    assert set(told(1, 4)) == {"critic"}
    assert set(told(4, 4)) == set(always) == {"critic", "r1", "r2"}


@pytest.mark.parametrize("candidates", [1, 2])
def test_each_picture_gets_a_sample_of_its_own_near_to_it(candidates: int) -> None:
    """Drawn towards two pictures at once, a sample would end as a blur of both; towards a far one, it would forget its own.
    With as many samples as pictures none is left over, so that no kind of picture can be made too often."""

    def maker(z: torch.Tensor) -> torch.Tensor:
        """Even pictures, as light as the first number of z."""
        return z[:, :1, None, None].tanh().expand(-1, 3, gan.SIDE, gan.SIDE)

    levels = torch.linspace(-0.8, 0.8, 40)
    covering = coverage.Coverage(levels[:, None, None, None].expand(-1, 3, gan.SIDE, gan.SIDE), 4, candidates)
    covering.choose(maker, torch.Generator().manual_seed(0))
    assert len(covering.latents.unique(dim=0)) == 40
    apart = (covering.latents[:, 0].tanh() - levels).abs()
    if candidates == 1:
        fresh = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))[:, 0].sort().values
        assert torch.equal(covering.latents[:, 0].sort().values, fresh), "every sample has a picture"
        assert float(apart.mean()) == pytest.approx(float((fresh.tanh() - levels).abs().mean()), abs=1e-6), (
            "nearest in all"
        )
    else:
        assert apart.median() < 0.05, "most find one near them"
    assert float(covering(maker, 40, torch.Generator())) == pytest.approx(float(apart.mean()), abs=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_what_the_generator_left_out_is_drawn_nearer(tmp_path: Path) -> None:
    """The point of it, and of its place in a checkpoint: a run that goes on draws the same latents to the same pictures."""
    params = dataclasses.replace(
        registry.MODELS["emoji-gan"].presets()["smoke"], coverage=10.0, learning_rate=3e-3, steps=30, report_every=1
    )

    def losses(folder: str, **changes: Any) -> Iterator[dict[str, float]]:
        run = registry.start("emoji-gan", dataclasses.replace(params, **changes), "smoke", tmp_path / folder, tmp_path)
        try:
            for item in run:
                if isinstance(item, Step) and item.stage == "train":
                    yield item.value.losses
        finally:
            run.close()

    whole = list(losses("whole"))
    told = [step["coverage"] for step in whole]
    assert sum(told[-10:]) < 0.8 * sum(told[:10])
    run = losses("parts", save_every=1000)
    first = [next(run) for _ in range(5)]
    run.close()
    assert first + list(losses("parts")) == whole
    run = losses("alone", alone=3)
    alone = [set(next(run)) for _ in range(4)]
    run.close()
    assert alone == [{"coverage"}] * 3 + [{"coverage", "critic", "r1", "r2", "maker"}]


def test_disturbing_is_differentiable_seeded_and_leaves_paper_white() -> None:
    """The generator learns through it; and a moved picture must not show an edge of another colour."""
    white = torch.ones(4, 3, gan.SIDE, gan.SIDE, requires_grad=True)
    once, again = (gan.disturb(white, torch.Generator().manual_seed(1)) for _ in range(2))
    assert once.equal(again)
    assert all(len(picture.unique()) <= 2 for picture in once), "its light, and the hole"
    once.sum().backward()
    assert white.grad.abs().sum() > 0


def test_the_mean_of_w_moves_with_training_only(tmp_path: Path) -> None:
    """It ships in the weights, and truncation without it would pull towards an arbitrary place."""
    toys = toy.pack()
    params = registry.MODELS["emoji-gan"].presets()["smoke"]
    task = gan.GanTask(params, toys, toy.split(toys), tmp_path)
    net = task.groups["generator"]
    assert not net.mean_w.any()
    list(task.turns(0, loop.Chance(0, 0)))
    moved = net.mean_w.clone()
    assert moved.any()
    gan.sample(net, [1])
    assert net.mean_w.equal(moved)


def test_faces_are_told_by_their_keywords_and_lists() -> None:
    """By CLDR's keyword in the categories that have faces, not among people, whose keyword means a face to wash."""

    def concept(slug: str, category: str, *keywords: str) -> Concept:
        return Concept(slug, slug, category, Words(slug, slug), keywords, ())

    rows = [
        concept("fox", "Animals & Nature", "face"),
        concept("fish", "Animals & Nature", "swim"),
        concept("pig-nose", "Animals & Nature", "face"),
        concept("baby", "People & Body", "young"),
        concept("person-getting-massage", "People & Body", "face"),
    ]
    pack = data.Pack(rows, [data.Picture(i, "flat") for i in range(len(rows))], toy.pack().pixels[: len(rows)])
    assert gan.faces(pack, range(5)) == [0, 3]
    assert gan.faces(pack, [1, 2]) == [1, 2], "a pack without faces is taken whole"


def test_frechet_of_known_normal_distributions() -> None:
    """Of two diagonal normal distributions it is |m - n|^2 + sum (s - t)^2."""
    rows = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = (rows - rows.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(rows.T.cov())).T
    a, b = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([2.0, 2.0, 0.0])
    shift = torch.tensor([0.0, 3.0, 0.0])
    assert gan_marks.frechet(rows * a, rows * b + shift) == pytest.approx(9 + 1 + 0.25, abs=1e-5)
    assert gan_marks.frechet(rows * a, rows * a) == pytest.approx(0, abs=1e-6)


def test_high_pass_sees_edges_and_not_planes() -> None:
    """An even picture has no fine detail, at its border neither; a chequerboard is nothing else."""
    even = torch.full((1, 3, 16, 16), 0.7)
    chequers = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    found = metrics.high_pass(torch.cat([even, chequers.expand(1, 3, 16, 16)]))
    assert found[0] < 1e-10
    assert found[1] > 0.9
