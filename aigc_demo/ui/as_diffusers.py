"""A result as a program of its own: the same picture by diffusers alone, without this app."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from aigc_demo.engine import Engine
from aigc_demo.errors import UserError
from aigc_demo.generators.diffusion_model import loading
from aigc_demo.generators.diffusion_noise import PIPELINES
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES, ImageSpec
from aigc_demo.generators.prompt_embeds import APPLIED, GIVES, WEIGHABLE
from aigc_demo.generators.prompt_weights import parse, plain, weighted
from aigc_demo.generators.quiet import hush
from aigc_demo.generators.schedulers import SCHEDULERS
from aigc_demo.generators.styles import styled
from aigc_demo.ui.clicks import QUICK
from aigc_demo.ui.words import Catalogue
from aigc_demo.weights import Found, locate
from aigc_demo.words import Words

LABEL = Words("As code, with diffusers alone", "代码形式，只用 diffusers")
WEIGH = """

def weigh(embeddings, pieces):
    # as in AUTOMATIC1111's web UI: each token by its weight, then the mean restored
    text = "".join(words for words, _ in pieces)
    letters = [None if letter.isspace() else weight for words, weight in pieces for letter in words]
    made = []
    for part, tokenizer in zip(embeddings.split({widths}, dim=-1), {tokenizers}):
        read = tokenizer(
            text, padding="max_length", max_length=part.shape[1], truncation=True, return_offsets_mapping=True
        )
        spans = [[w for w in letters[a:b] if w is not None] or [1.0] for a, b in read.offset_mapping]
        weights = torch.tensor([sum(span) / len(span) for span in spans], device=part.device)
        scaled = part.float() * weights[:, None]
        quotient = torch.nan_to_num(part.float().mean() / scaled.mean(), nan=1.0)
        made.append((scaled * quotient.clamp(1 / weights.max(), 1 / weights.min().clamp_min(0.1))).to(part.dtype))
    return torch.cat(made, dim=-1)

"""
VARIED = """

def noise(seed):
    shape = (1, pipe.{denoiser}.config.in_channels, {height} // pipe.vae_scale_factor, {width} // pipe.vae_scale_factor)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=pipe.{denoiser}.dtype)


a, b = noise({seed}).double(), noise({other}).double()  # on the great circle between two noises
angle = torch.acos((a * b).sum() / (a.norm() * b.norm()))
latents = (torch.sin((1 - {share}) * angle) * a + torch.sin({share} * angle) * b) / torch.sin(angle)
latents = latents.to(pipe.device, pipe.{denoiser}.dtype)
"""
PICTURE = 'ImageOps.fit(Image.open("picture.png").convert("RGB"), ({width}, {height}), Image.Resampling.LANCZOS)'
MASK = (
    'ImageOps.fit(Image.open("mask.png").convert("L").point([0] * 128 + [255] * 128), ({width}, {height}), '
    "Image.Resampling.NEAREST)"
)


def place(say: Catalogue, elem_id: str) -> gr.Code:
    """Where it is shown, where the layout stands now."""
    return gr.Code(label=say(LABEL), language="python", elem_id=elem_id, interactive=False, min_width=300, max_lines=32)


def bind(shown: gr.Code, recipes: gr.JSON, engine: Engine) -> None:
    """Show the first of the recipes, whenever they change."""
    recipes.change(lambda found: of_recipes(engine, found), [recipes], [shown], **QUICK)


def of_recipes(engine: Engine, recipes: Any) -> str:
    """The first of what the page holds, which a visitor may have written; "" where there is nothing to say."""
    recipe = recipes[0] if isinstance(recipes, list) and recipes else None
    try:
        return as_diffusers(engine, recipe) if isinstance(recipe, Mapping) else ""
    except UserError:
        return ""


def as_diffusers(engine: Engine, recipe: Mapping[str, Any]) -> str:
    """A program that makes the recipe's picture; "" where the recipe does not say with which pipeline, or where the
    model is no longer here. It reads picture.png and mask.png, where the picture was made from them.

    Raises `UserError` for settings that are none.
    """
    figures, device = (_part(recipe, name) for name in ("figures", "device"))
    given = dict(_part(recipe, "settings"))
    files = [name for name in ("image", "mask") if given.pop(name, None)]
    settings = ImageParams.of(given)
    pipeline, width, height = (figures.get(name) for name in ("pipeline", "width", "height"))
    spec = engine.spec(IMAGES, settings.model)
    found = locate(spec.source, engine.places)
    if found is None or not isinstance(spec, ImageSpec) or not (isinstance(width, int) and isinstance(height, int)):
        return ""
    takes = _takes(pipeline)
    if not isinstance(pipeline, str) or not takes:
        return ""
    words, away = styled(settings.prompt, settings.style), settings.negative_prompt
    guidance = settings.guidance_scale if spec.guided else 0.0
    weighs = figures.get("weights") == APPLIED and pipeline in WEIGHABLE
    weighing = _weighed(pipeline, words, away, guidance > 1) if weighs else []
    told = {"prompt": repr(plain(words)), **({"negative_prompt": repr(plain(away))} if plain(away) else {})}
    offered: dict[str, str] = {
        **({} if weighing else told),
        **({"image": PICTURE.format(width=width, height=height)} if "image" in files else {}),
        **({"mask_image": MASK.format(width=width, height=height)} if "mask" in files else {}),
        **({"strength": repr(settings.strength)} if "image" in files else {}),
        "num_inference_steps": repr(settings.num_inference_steps),
        "guidance_scale": repr(guidance),
        **({} if settings.num_inference_steps == 2 else {"intermediate_timesteps": "None"}),
        "width": repr(width),
        "height": repr(height),
        "generator": f'torch.Generator("cpu").manual_seed({max(settings.seed, 0)})',
    }
    vary = _varied(settings, pipeline, width, height) if settings.variation_strength and not files else []
    offered |= {"latents": "latents"} if vary else {}
    row = SCHEDULERS[settings.scheduler]
    imported = ", ".join(sorted({pipeline, *([row.cls] if row.cls else [])}))
    lines = ["import torch", f"from diffusers import {imported}"]
    lines += ["from PIL import Image, ImageOps"] if files else []
    lines += ["", f"pipe = {pipeline}.from_pretrained("]
    lines += [f"    {line}," for line in _loaded(engine, spec, found, device)]
    lines.append(f").to({str(device.get('kind', 'cpu'))!r})")
    if row.cls:
        more = "".join(f", {name}={value!r}" for name, value in row.more.items())
        lines.append(f"pipe.scheduler = {row.cls}.from_config(pipe.scheduler.config{more})")
    lines += [*weighing, *vary, "picture = pipe("]
    lines += ["    **words,"] if weighing else []
    lines += [f"    {name}={value}," for name, value in offered.items() if name in takes]
    return "\n".join([*lines, ").images[0]", 'picture.save("made.png")'])


def _weighed(pipeline: str, prompt: str, negative: str, guided: bool) -> list[str]:
    """Lines that make `words`, the embeddings of weighted prompts."""
    pooled = len(GIVES[pipeline]) > 2
    towers = ("", "_2") if pooled else ("",)
    widths = ", ".join(f"pipe.text_encoder{tower}.config.hidden_size" for tower in towers)
    tokenizers = ", ".join(f"pipe.tokenizer{tower}" for tower in towers)
    helper = WEIGH.replace("{widths}", f"[{widths}]").replace("{tokenizers}", f"[{tokenizers}]")
    lines = [
        *helper.splitlines(),
        "",
        f"names = {list(GIVES[pipeline])!r}",
        "with torch.no_grad():",
        "    made = pipe.encode_prompt(",
        f"        prompt={plain(prompt)!r},",
        *([f"        negative_prompt={plain(negative)!r},"] if plain(negative) else []),
        "        device=pipe.device,",
        "        num_images_per_prompt=1,",
        f"        do_classifier_free_guidance={guided},",
        "    )",
        "words = dict(zip(names, made))",
    ]
    for name, text in (("prompt_embeds", prompt), ("negative_prompt_embeds", negative if guided else "")):
        if weighted(text):
            lines.append(f'words["{name}"] = weigh(words["{name}"], {parse(text)!r})')
    return lines


def _varied(settings: ImageParams, pipeline: str, width: int, height: int) -> list[str]:
    """Lines that make `latents`, the noise of a variation, or none where the seeds are one."""
    seed, other = max(settings.seed, 0), max(settings.variation_seed, 0)
    if pipeline not in PIPELINES or seed == other:
        return []
    names = {
        "denoiser": "transformer" if "Diffusion3" in pipeline else "unet",
        "width": width,
        "height": height,
        "seed": seed,
        "other": other,
        "share": repr(settings.variation_strength),
    }
    return VARIED.format(**names).splitlines()


def _loaded(engine: Engine, spec: ImageSpec, found: Found, device: Mapping[str, Any]) -> list[str]:
    """The arguments of `from_pretrained`: the hub's id and commit, or the folder as one says it from beside it."""
    first = [repr(spec.source.repo)] if spec.source.repo else [repr(_from_beside(engine, found.folder))]
    if spec.source.repo and found.origin == "hub" and found.revision:
        first.append(f"revision={found.revision!r}")
    options = {name: value for name, value in loading(found.folder).items() if name != "variant" or value}
    dtype = str(device.get("dtype", "float32"))
    return [
        *first,
        f"dtype=torch.{dtype if dtype.isidentifier() else 'float32'}",
        *(f"{k}={v!r}" for k, v in options.items()),
    ]


def _from_beside(engine: Engine, folder: Path) -> str:
    """Where a server keeps its folders is nobody's business: models/name, or a shipped one's place in this repository."""
    for root in (engine.places.models, Path(__file__).parents[2] / "assets" / "weights"):
        if folder.is_relative_to(root):
            return (Path(root.name) / folder.relative_to(root)).as_posix()
    return folder.name


def _takes(pipeline: Any) -> frozenset[str]:
    """What a pipeline of diffusers is called with; nothing for what is none."""
    hush("diffusers")
    import diffusers

    cls = getattr(diffusers, pipeline, None) if isinstance(pipeline, str) and pipeline.endswith("Pipeline") else None
    return frozenset(inspect.signature(cls.__call__).parameters) if isinstance(cls, type) else frozenset()


def _part(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = recipe.get(name)
    return part if isinstance(part, Mapping) else {}
