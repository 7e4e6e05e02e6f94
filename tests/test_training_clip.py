"""emoji-clip beyond what every model is tested for: training its picture tower alone."""

import dataclasses
from pathlib import Path

import pytest

from aigc_demo.errors import UserError
from aigc_demo.results import Done, finish
from aigc_demo.training import registry, shipped

torch = pytest.importorskip("torch")
clip = pytest.importorskip("aigc_demo.training.clip")
SMOKE = clip.PRESETS["smoke"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    finish(registry.start("emoji-clip", SMOKE, "smoke", folder, folder))
    return folder / "emoji-clip"


# The denoiser was trained on the words of this tower: were they to move, every prompt would mean something else.
def test_the_text_tower_can_stay_while_the_other_learns(trained: Path, tmp_path: Path) -> None:
    params = dataclasses.replace(SMOKE, words="stay", patches=0.5, report_every=1)
    *steps, done = registry.start("emoji-clip", params, "smoke", tmp_path, tmp_path, begin=trained)
    assert isinstance(done, Done)
    losses = [step.value.losses for step in steps if step.stage == "train"]
    assert losses[-1]["anchors"] < losses[0]["anchors"], "it learns to find the captions"
    before, after = (shipped.load_clip(folder)[0] for folder in (trained, done.value))
    for name, weight in before.text_model.state_dict().items():
        assert torch.equal(weight, after.text_model.state_dict()[name]), name
    assert not torch.equal(before.visual_projection.weight, after.visual_projection.weight)


# Half of the patches in training, all of them ever after: a shipped model has to see whole pictures.
def test_a_glimpse_is_a_training_matter() -> None:
    layer = torch.nn.Identity()
    layer.register_forward_hook(clip._Glimpse(0.5))
    patches = torch.arange(2 * 9 * 3.0).view(2, 9, 3)
    seen = layer.train()(patches)
    assert seen.shape == (2, 5, 3)
    assert torch.equal(seen[:, 0], patches[:, 0]), "the class token stays"
    for row, whole in zip(seen, patches, strict=True):
        kept = {tuple(p) for p in row.tolist()}
        assert len(kept) == 5
        assert kept <= {tuple(p) for p in whole.tolist()}
    assert torch.equal(layer.eval()(patches), patches)


# A convnet sees in general what this tower learns by heart: what it says of pictures never drawn is what is learnt from it.
@pytest.mark.parametrize(
    ("words", "weights"),
    [("learn", {"tutor": 1.0, "places": 1.0}), ("stay", {"tutor": 1.0}), ("stay", {"places": 1.0})],
)
def test_it_can_learn_from_a_tutor(words: str, weights: dict[str, float], trained: Path, tmp_path: Path) -> None:
    params = dataclasses.replace(SMOKE, words=words, patches=0.5, report_every=1, **weights)
    with pytest.raises(UserError, match="tutor is needed first"):
        next(registry.start("emoji-clip", params, "smoke", tmp_path / "alone", tmp_path))
    finish(registry.start("tutor", registry.MODELS["tutor"].presets()["smoke"], "smoke", tmp_path, tmp_path))
    *steps, done = registry.start("emoji-clip", params, "smoke", tmp_path / "taught", tmp_path, begin=trained)
    assert isinstance(done, Done)
    losses = [step.value.losses for step in steps if step.stage == "train"]
    assert {"tutor", "places"} & set(losses[0]) == set(weights)
    for what in weights:
        told = [step[what] for step in losses]
        assert sum(told[-5:]) < sum(told[:5]), what
    stored = shipped.load_clip(done.value)[0].state_dict()
    assert stored.keys() == shipped.load_clip(trained)[0].state_dict().keys(), "what helped it learn stays behind"


# Neither all of one picture nor noise: each is its own and its neighbour's, laid over or set in.
def test_a_mixture_is_of_two_pictures() -> None:
    pictures = torch.tensor([-1.0, 0.0, 1.0] * 20)[:, None, None, None].expand(60, 3, 16, 16).contiguous()
    mixed = clip.mixtures(pictures, torch.Generator().manual_seed(1))
    other = pictures.roll(1, 0)
    assert mixed.shape == pictures.shape
    assert bool((mixed >= torch.minimum(pictures, other)).all() & (mixed <= torch.maximum(pictures, other)).all())
    even = (mixed == mixed[:, :1, :1, :1]).flatten(1).all(1)
    assert 15 < int(even.sum()) < 45, "about half are laid over each other evenly"
    window = mixed[~even] == other[~even]
    assert bool((window | (mixed[~even] == pictures[~even])).all()), "the others hold pieces of both, as they are"
    assert 0.1 < float(window.float().mean()) < 0.7
