"""`python -m aigc_demo.training map`: the map of emoji-morph's latent space that the page lets people walk on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aigc_demo.errors import UserError
from aigc_demo.generators import latent_map
from aigc_demo.generators.latent_map import COMPONENTS, WORDS, Known, LatentMap, Word
from aigc_demo.training import canvas, hue, morph, shipped
from aigc_demo.training.concepts import Concept
from aigc_demo.training.data import Pack
from aigc_demo.training.loop import device
from aigc_demo.training.splits import Split
from aigc_demo.words import Words

STYLE = "noto"
KEPT = 800
INSIDE = 3.5
"""Deviations from the middle beyond which a picture is left out: a few far ones would shrink the map for all."""
END, END_SIDE = 2.5, 32


def build(vae: Any, weights: str, pack: Pack, split: Split, style: str = STYLE, kept: int = KEPT) -> LatentMap:
    """The map of the training pictures of one style that come back best; its words from all styles.

    weights: digest of the model's file. Raises UserError where a word has no pictures.
    """
    train = split.train(pack)
    latents, scores, stretch = _seen(vae, pack, train)
    concepts = [pack.concepts[pack.pictures[i].concept] for i in train]
    of_style = np.array([n for n, i in enumerate(train) if pack.pictures[i].style == style])
    chosen = np.sort(of_style[np.argsort(-scores[of_style])[:kept]])
    chosen = chosen[np.abs(_components(latents[chosen], stretch)[2]).max(1) <= INSIDE]
    known = latents[chosen].astype(np.float16).astype(np.float64)
    write, read, places, share = _components(known, stretch)
    directions = {name: direction(word, latents, concepts) for name, word in WORDS.items()}
    centre = known.mean(0)
    return LatentMap(
        weights=weights,
        style=style,
        known=tuple(Known(concepts[n].slug, concepts[n].name, _colour(pack.pixels[train[n]])) for n in chosen),
        counts={name: counts for name, (_, counts) in directions.items()},
        share=tuple(float(value) for value in share),
        typical=_typical(known * stretch),
        latents=known,
        places=places,
        likeness=_likeness(known * stretch),
        centre=centre,
        write=write,
        read=read,
        words=np.stack([found for found, _ in directions.values()]),
        stretch=stretch,
        ends=_ends(vae, centre, write),
    )


def direction(word: Word, latents: np.ndarray, concepts: Sequence[Concept]) -> tuple[np.ndarray, tuple[int, int]]:
    """The word's direction [d], and how many pictures with it and without it that was made of."""
    having = np.array([word.keyword in concept.keywords_en for concept in concepts])
    among = np.array([not word.among or word.among in concept.keywords_en for concept in concepts])
    yes, no = latents[having & among], latents[~having & among]
    if not len(yes) or not len(no):
        raise UserError(
            Words(
                f"No picture has, or every picture has, the keyword {word.keyword}.",
                f"没有图片或所有图片都带有关键词 {word.keyword}。",
            )
        )
    return yes.mean(0) - no.mean(0), (len(yes), len(no))


def main(weights: Path, pack: Pack, split: Split, folder: Path) -> Path:
    home = weights / morph.NAME
    latent_map.save(build(shipped.load_morph(home), latent_map.digest(home), pack, split), folder)
    return folder


def _seen(vae: Any, pack: Pack, members: Sequence[int], batch: int = 256) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents [n, d] of pictures, the share of each one's differences from the mean picture that comes back, and how much
    the pixels change along each axis [d]: whitening made all axes alike, and for likeness that counts again."""
    import torch

    def white(part: Sequence[int]) -> torch.Tensor:
        return canvas.white(canvas.shelf(pack.pixels[list(part)], morph.SIDE, device()))

    parts = [members[at : at + batch] for at in range(0, len(members), batch)]
    mean = sum(white(part).sum(0) for part in parts) / len(members)
    latents, scores = [], []
    changed: Any = 0
    for part in parts:
        real = white(part)
        z = morph.encode(vae, real)
        changed = changed + z.T @ (real - mean).flatten(1)
        lost = (morph.decode(vae, z) - real).square().flatten(1).sum(1)
        scores.append((1 - lost / (real - mean).square().flatten(1).sum(1)).cpu().numpy())
        latents.append(z.cpu().numpy())
    stretch = changed.norm(dim=1).double().cpu().numpy() / len(members)
    return np.concatenate(latents).astype(np.float64), np.concatenate(scores), stretch


def _components(latents: np.ndarray, stretch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(write, read, places, share): principal components of the latents, each number as strong as pictures differ by it."""
    centred = (latents - latents.mean(0)) * stretch
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:COMPONENTS] * np.sign(axes[:COMPONENTS][:, :1])  # an axis has no sign of its own
    deviations = values[:COMPONENTS] / np.sqrt(len(latents))
    read = axes * stretch / deviations[:, None]
    write = axes / stretch * deviations[:, None]
    return write, read, (latents - latents.mean(0)) @ read[:2].T, (values**2 / (values**2).sum())[:COMPONENTS]


def _likeness(points: np.ndarray) -> np.ndarray:
    """[n, 2]: t-SNE (van der Maaten and Hinton 2008), from the principal components on so that it is the same each time,
    as wide as a map of components is."""
    from sklearn.manifold import TSNE

    places = TSNE(init="pca", perplexity=min(30, (len(points) - 1) / 3), random_state=0).fit_transform(points)
    return (places - places.mean(0)) / places.std(0)  # its axes mean nothing: as wide as high


def _typical(points: np.ndarray) -> float:
    """The median distance of two of them."""
    squares = (points**2).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    return float(np.median(distances[np.triu_indices(len(points), 1)]))


def _ends(vae: Any, centre: np.ndarray, write: np.ndarray) -> np.ndarray:
    import torch

    z = np.stack([centre + sign * END * step for step in write for sign in (-1, 1)])
    made = torch.nn.functional.interpolate(
        morph.decode(vae, torch.from_numpy(z).float().to(device())), size=END_SIDE, mode="area"
    )
    whole = ((made.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return whole.reshape(len(write), 2, END_SIDE, END_SIDE, 3)


def _colour(pixels: np.ndarray) -> str:
    """Of the covered pixels, the more colourful ones counting more, as a person would name it."""
    rgb = pixels[..., :3].reshape(-1, 3) / 255
    weights = pixels[..., 3].reshape(-1) / 255 * (0.1 + hue.chroma_plane(rgb)[1])
    red, green, blue = (rgb * weights[:, None]).sum(0) / max(weights.sum(), 1e-9) * 255
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"
