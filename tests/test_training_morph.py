"""emoji-morph beyond what every model is tested for: its vector, its unit normal, and the exam of its lines."""

from pathlib import Path

import pytest

from aigc_demo.results import finish
from aigc_demo.training import canvas, examples, metrics, registry, shipped, toy

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
morph = pytest.importorskip("aigc_demo.training.morph")
morph_marks = pytest.importorskip("aigc_demo.training.morph_marks")
SIDE, FRAMES = morph.SIDE, morph_marks.FRAMES


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    finish(registry.start("emoji-morph", morph.PRESETS["smoke"], "smoke", folder, folder))
    return folder


@pytest.fixture(scope="module")
def pictures():
    """What the smoke run learnt from."""
    toys = toy.pack()
    return canvas.white(canvas.shelf(toys.pixels, SIDE)[toy.split(toys).train(toys)])


# The page reads side and latent from the config and takes one vector per picture: no grid may come out.
def test_a_picture_is_one_vector_and_comes_back_in_its_size(weights: Path, pictures) -> None:
    vae = shipped.load_morph(weights / "emoji-morph")
    with torch.no_grad():
        mean, log_variance = vae.encode(pictures[:5])
        made = vae.decode(mean)
    assert mean.shape == log_variance.shape == (5, vae.latent)
    assert made.shape == (5, 3, vae.side, vae.side)
    assert {mean.dtype, made.dtype, next(vae.parameters()).dtype} == {torch.float32}


# "Draw from the prior" takes a unit normal: the posteriors, all together, have to be one, and not only each by itself.
def test_the_posteriors_of_an_exported_model_are_a_unit_normal_together(weights: Path, pictures) -> None:
    vae = shipped.load_morph(weights / "emoji-morph")
    with torch.no_grad():
        mean, log_variance = vae.encode(pictures)
    whole = torch.cov(mean.T, correction=0) + torch.diag(log_variance.exp().mean(0))
    assert mean.mean(0).abs().max() < 0.05
    assert (whole.diag() - 1).abs().max() < 0.05
    off = torch.cov(mean.T, correction=0) - torch.diag(torch.var(mean, 0, correction=0))
    assert off.abs().max() < 0.2, "the posteriors' own covariances are kept as diagonals, so a little is left"


# Whitening only renames the latent: what is decoded, and what lies halfway, must stay as it was trained.
def test_whitening_changes_no_picture(pictures) -> None:
    from aigc_demo.nets.vectorvae import VectorVae

    torch.manual_seed(0)
    vae = VectorVae(SIDE, 64, 8).eval()

    def halfway():
        a, b = vae.encode(pictures[:2])[0]
        return vae.decode((a + b)[None] / 2)

    with torch.no_grad():
        before, (mean, log_variance) = halfway(), vae.encode(pictures)
        vae.whiten(mean, log_variance, pictures)
        assert torch.allclose(halfway(), before, atol=1e-3)
        assert not torch.allclose(vae.encode(pictures)[0], mean, atol=0.1)
        # a run that begins with trained weights ends with whitening what was whitened
        for part in vae.from_latent.parameters():
            part.mul_(1.1)
        changed = halfway()
        vae.whiten(*vae.encode(pictures), pictures)
        assert torch.allclose(halfway(), changed, atol=1e-3)
        again = vae.encode(pictures)[0]
        assert torch.allclose(again.mean(0), torch.zeros(64), atol=1e-3)
        # and its first axes are still the ones along which pictures differ most
        changed_pixels = (again.T @ (pictures - pictures.mean(0)).flatten(1)).norm(dim=1)
        assert (changed_pixels.diff() <= 1e-3 * changed_pixels[0]).all()


# A person gets clear edges; a run that learnt through them would only draw softer beforehand.
def test_outlines_are_drawn_for_people_and_not_in_training() -> None:
    from aigc_demo.nets.vectorvae import Outline

    soft = torch.tanh(torch.linspace(-16, 16, SIDE)).expand(1, 3, SIDE, SIDE)
    drawn = Outline().eval()(soft)
    assert metrics.high_pass(drawn) > 2 * metrics.high_pass(soft)
    assert torch.equal(Outline().train()(soft), soft)


# The largest preset is what may be shipped: a Space's git refuses plain files over 10 MB, and ours end at 9 MiB.
@pytest.mark.parametrize("preset", ["cpu", "gpu"])
def test_a_preset_fits_the_file_limit(preset: str) -> None:
    from aigc_demo.nets.vectorvae import VectorVae

    params = morph.PRESETS[preset]
    vae = VectorVae(SIDE, params.latent, params.width)
    assert 2 * sum(part.numel() for part in vae.state_dict().values()) < 9 * 2**20


# Both generators' sharpness is told by this one figure: it has to see fine detail, and nothing but it.
def test_high_pass_sees_the_finest_detail_alone() -> None:
    across = torch.linspace(-1, 1, SIDE).expand(1, 3, SIDE, SIDE)
    stripes = torch.tensor([-1.0, 1.0]).repeat(SIDE // 2).expand(1, 3, SIDE, SIDE)
    flat, ramp, fine = (float(metrics.high_pass(p)) for p in (torch.full_like(across, 0.3), across, stripes))
    assert flat == pytest.approx(0, abs=1e-10)
    assert ramp < 1e-4
    assert fine == pytest.approx(1, abs=0.05), "the blur takes all of the finest stripes away"
    blurred = torch.nn.functional.avg_pool2d(stripes, 3, 1, 1, count_include_pad=False)
    assert metrics.high_pass(torch.cat([stripes, blurred])).argmin() == 1


# The loss that brings detail back must ask for the right amount in the right place, and not for exact pixels.
def test_detail_wants_as_much_of_it_about_where_it_is() -> None:
    stripes = torch.tensor([-1.0, 1.0]).repeat(SIDE // 2).expand(1, 3, SIDE, SIDE)
    left, right = stripes.clone(), stripes.clone()
    left[..., SIDE // 2 :], right[..., : SIDE // 2] = 0, 0
    assert float(metrics.detail(-left, left)) == pytest.approx(0, abs=1e-6), "shifted by a pixel it is the same"
    assert float(metrics.detail(left / 2, left)) > 0.1
    assert float(metrics.detail(right, left)) > 0.5


# Nobody may choose the pairs: they are of one style and two families, always the same, all styles alike.
def test_the_pairs_are_always_the_same_and_of_one_style() -> None:
    toys = toy.pack()
    split = toy.split(toys)
    drawn = morph_marks.pairs(toys, split)
    assert drawn == morph_marks.pairs(toys, split)
    assert drawn[:12] == morph_marks.pairs(toys, split, 12), "the examples show the first of the exam's"
    assert len(drawn) == morph_marks.PAIRS
    for i, j in drawn:
        a, b = toys.pictures[i], toys.pictures[j]
        assert a.style == b.style
        assert split.family[toys.concepts[a.concept].slug] != split.family[toys.concepts[b.concept].slug]


class Pixels:
    """A judge that sees pixels and knows nothing else."""

    def features(self, pictures):
        return pictures.flatten(1)


def _square(left: int, side: int = 16):
    picture = torch.ones(3, SIDE, SIDE)
    picture[:, 24 : 24 + side, left : left + side] = -1
    return picture


LEFT, MIDDLE, RIGHT = _square(8), _square(23), _square(38)
MOVED = torch.stack([_square(8 + 2 * n) for n in range(FRAMES)])
FADED = torch.stack([torch.lerp(LEFT, RIGHT, n / (FRAMES - 1)) for n in range(FRAMES)])
JUMPED = torch.stack([LEFT] * (FRAMES // 2) + [RIGHT] * (FRAMES // 2))


def _passed(line, middle, families=("left", "right", "other")) -> dict[str, bool]:
    """The conditions of one line from LEFT to RIGHT, where the data are the ends and a square halfway."""
    data = torch.stack([LEFT, RIGHT, MIDDLE])
    judged = morph_marks.Judged(Pixels(), data, list(families), [("left", "right")])
    passed = morph_marks.conditions(judged, line[None], middle[None])
    return {name: bool(row[0]) for name, row in passed.items()}


# Each condition has to let a morph through and to catch what it is there for; else the share that passes says nothing.
def test_a_square_that_moves_is_a_morph() -> None:
    assert all(_passed(MOVED, MIDDLE).values())


def test_a_cross_fade_shows_two_things_and_is_no_nearer_than_itself() -> None:
    passed = _passed(FADED, (LEFT + RIGHT) / 2)
    assert [name for name, well in passed.items() if not well] == ["midpoint_nearer", "midpoint_area"]


def test_a_midpoint_that_is_one_of_the_ends_is_lopsided() -> None:
    assert not _passed(MOVED, LEFT)["midpoint_balanced"]


def test_a_midpoint_too_small_or_too_large_is_caught() -> None:
    for side, well in ((16, True), (10, False), (22, False)):
        assert _passed(MOVED, _square(23, side))["midpoint_area"] is well


def test_a_line_that_jumps_is_caught() -> None:
    assert not _passed(JUMPED, MIDDLE)["steps_even"]


# A midpoint that is a picture of the ends' own family would be near to the data for the wrong reason.
def test_the_ends_families_do_not_count_as_data() -> None:
    toys = torch.stack([LEFT, RIGHT, MIDDLE])
    judged = morph_marks.Judged(Pixels(), toys, ["left", "right", "other"], [("left", "right"), ("left", "other")])
    assert judged.to_data(toys[[2, 2]].flatten(1)).tolist() == pytest.approx([0, float((MIDDLE - RIGHT).norm())])


# What a person looks at before believing the figures.
def test_the_examples_are_drawn(weights: Path, tmp_path: Path) -> None:
    toys = toy.pack()
    path = examples.morphs(weights, toys, toy.split(toys), tmp_path)
    assert path.name == "emoji-morph.webp"
    assert path.stat().st_size


# The command that draws the map, from pictures to the file that the page reads; and what a direction is made from.
def test_a_map_is_drawn_and_comes_back(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    from aigc_demo.generators import latent_map
    from aigc_demo.training import morph_map
    from aigc_demo.words import Words

    toys = {
        "red": latent_map.Word(Words("red", "红"), "red"),
        "disc": latent_map.Word(Words("disc", "盘"), "disc", "gold"),
    }
    for module in (latent_map, morph_map):
        monkeypatch.setattr(module, "WORDS", toys)
    pack = toy.pack()
    vae = shipped.load_morph(weights / "emoji-morph")
    made = morph_map.build(vae, "digest", pack, toy.split(pack), kept=12)
    assert made.counts == {"red": (20, 60), "disc": (4, 16)}, "held-out families are in no direction"
    latent_map.save(made, tmp_path)
    found = latent_map.load(tmp_path)
    assert [one.slug for one in found.known] == [one.slug for one in made.known]
    for name in ("latents", "places", "words", "ends", "read", "write"):
        np.testing.assert_allclose(getattr(found, name), getattr(made, name), atol=1e-4)
    np.testing.assert_allclose(made.read @ made.write.T, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(made.places.std(0), 1, atol=1e-6)
    pictures = canvas.white(canvas.shelf(pack.pixels, SIDE))
    slug = found.known[0].slug
    at = pack.places()[slug, "noto"]
    np.testing.assert_allclose(morph.encode(vae, pictures[at : at + 1])[0].numpy(), found.latents[0], atol=5e-3)
