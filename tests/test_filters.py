"""The fixed filters behind emoji-morph's decoder: what they may do to a picture, and what not."""

import pytest

torch = pytest.importorskip("torch")
filters = pytest.importorskip("aigc_demo.nets.filters")


def _edge(width: float):
    """A soft vertical edge from -1 to 1, as an autoencoder in doubt draws it."""
    places = torch.arange(32.0) - 15.5
    return (torch.tanh(places / width)).expand(1, 3, 32, 32).contiguous()


# The blur is what "finest detail" is measured against: it may neither brighten nor move anything.
@pytest.mark.parametrize("taps", [3, 5])
def test_a_blur_keeps_flat_colours_and_the_sum_of_light(taps: int) -> None:
    flat = torch.full((1, 3, 8, 8), 0.4)
    torch.testing.assert_close(filters.blur(flat, taps), flat)
    dot = torch.zeros(1, 1, 9, 9)
    dot[..., 4, 4] = 1
    spread = filters.blur(dot, taps)
    assert float(spread.sum()) == pytest.approx(1)
    torch.testing.assert_close(spread, spread.flip(-1))
    torch.testing.assert_close(spread, spread.transpose(-1, -2))


# A person sees a blurred outline at once: it has to come out steeper, and without the halo of plain sharpening.
def test_a_soft_edge_becomes_steep_without_a_halo() -> None:
    soft = _edge(2.5)
    steep = filters.crisp(soft, 2.0, 3)
    slope = [float(torch.diff(x[0, 0, 0]).max()) for x in (soft, steep)]
    assert slope[1] > 1.5 * slope[0]
    assert steep.min() >= soft.min()
    assert steep.max() <= soft.max()
    assert (torch.diff(steep[0, 0, 0]) >= 0).all(), "one edge stays one edge"


def test_flat_colours_and_straight_slopes_stay_as_they_are() -> None:
    flat = torch.full((1, 3, 16, 16), -0.3)
    torch.testing.assert_close(filters.crisp(flat, 2.0, 2), flat)
    slope = torch.linspace(-1, 1, 32).expand(1, 3, 32, 32)
    inner = filters.crisp(slope, 2.0, 2)[..., 8:-8]
    torch.testing.assert_close(inner, slope[..., 8:-8], atol=1e-5, rtol=0)


# The decoder is trained through it: where it limits nothing and where it does, the slope must stay finite.
def test_it_can_be_learnt_through() -> None:
    picture = _edge(2.5).requires_grad_()
    filters.crisp(picture, 2.0, 2).square().mean().backward()
    assert torch.isfinite(picture.grad).all()
    assert picture.grad.abs().max() > 0
