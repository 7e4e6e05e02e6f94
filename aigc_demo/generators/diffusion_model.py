"""A diffusion model in memory: one set of weights, a pipeline of its own for every run, and cheap previews.

diffusers' pipelines keep the state of the run they make (scheduler, guidance, interruption), so two people may
share the weights but never a pipeline.
"""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_demo.device import Device, is_out_of_memory
from aigc_demo.errors import Invalid, ModelDamaged
from aigc_demo.generators import schedulers, witness
from aigc_demo.generators.diffusion_memory import spared, taking_turns
from aigc_demo.generators.diffusion_speed import TORCHS, attend, compile_blocks, lay_out
from aigc_demo.generators.prompt_embeds import Encoded
from aigc_demo.generators.prompt_tokens import TOKENIZERS, read, rooms_of
from aigc_demo.generators.quiet import hush
from aigc_demo.generators.witness import Witness
from aigc_demo.words import Words

if TYPE_CHECKING:
    import numpy as np
    import torch

TEXT, IMAGE, MASK = "text", "image", "mask"
"""What a picture is made from: words alone, words and a picture, words and a picture with a mask."""
TASK_NAMES = {
    TEXT: Words("text to image", "文生图"),
    IMAGE: Words("image to image", "图生图"),
    MASK: Words("inpainting", "局部重绘"),
}


@dataclass
class ImageModel:
    """pipeline: as loaded, never run itself. classes: task -> pipeline class. side, multiple: of its pictures, in pixels;
    sides must be divisible by the latter. guided: whether guidance does anything; distilled models have it built in.
    witness: who says what a picture shows, where the folder holds one. turns: held by the run that has the device, where
    the parts wait in the machine's memory for their turn on it. attention: who computes it, by diffusers' name. compiled:
    whether its denoiser's blocks are."""

    pipeline: Any
    device: Device
    classes: dict[str, Any]
    multiple: int
    side: int
    guided: bool = True
    projection: Projection | None = None
    witness: Witness | None = None
    turns: threading.Lock | None = None
    attention: str = TORCHS
    compiled: bool = False
    taken: dict[str, frozenset[str]] = field(default_factory=dict)
    encoded: Encoded = field(default_factory=Encoded)

    @property
    def scheduler_config(self) -> dict[str, Any]:
        return dict(self.pipeline.scheduler.config)

    def means(self, decoded: str) -> dict[str, Any]:
        """What a recipe tells of how a run got by, and got on; nothing where all was as usual."""
        quicker = {} if self.attention == TORCHS else {"attention": self.attention}
        return spared(decoded, self.turns is not None) | quicker | ({"compiled": True} if self.compiled else {})

    @contextmanager
    def running(self, task: str, scheduler: str, waiting: Callable[[], None]) -> Iterator[Any]:
        """A pipeline for one run, on the device while it runs. waiting: called while another run has the device."""
        pipeline = self.run(task, scheduler)
        if self.turns is None:
            yield pipeline
            return
        with taking_turns(pipeline, self.turns, self.device.kind, waiting):
            yield pipeline

    def run(self, task: str, scheduler: str) -> Any:
        """A pipeline for one run: the shared weights, a scheduler of its own."""
        if task not in self.classes:
            raise Invalid(Words("This model cannot do {task}.", "该模型不支持{task}。").format(task=TASK_NAMES[task]))
        suiting = schedulers.suiting(self.scheduler_config)
        if scheduler not in suiting:
            raise Invalid(
                Words(
                    "The sampler {name} does not go with this model. Choose one of: {suiting}.",
                    "采样器 {name} 不适用于该模型。请选择：{suiting}。",
                ).format(
                    name=schedulers.SCHEDULERS[scheduler].name,
                    suiting=Words(
                        ", ".join(schedulers.SCHEDULERS[s].name.en for s in suiting),
                        "、".join(schedulers.SCHEDULERS[s].name.zh for s in suiting),
                    ),
                )
            )
        cls = self.classes[task]
        own = self.pipeline
        parts = {**own.components, "scheduler": schedulers.make(scheduler, own.scheduler)}
        wanted = inspect.signature(cls.__init__).parameters
        flags = {name: value for name, value in own.config.items() if name in wanted and name not in parts}
        flags.pop("safety_checker", None)
        made = cls(**{name: part for name, part in parts.items() if name in wanted}, **flags)
        made.set_progress_bar_config(disable=True)
        return made

    def takes(self, task: str) -> frozenset[str]:
        """The names of what the task's pipeline can be called with."""
        if task not in self.taken:
            self.taken[task] = frozenset(inspect.signature(self.classes[task].__call__).parameters)
        return self.taken[task]


@dataclass(frozen=True)
class Projection:
    """The map from a latent pixel and its neighbours to a colour that comes nearest to the decoder.

    weight: [features, 3], for what `features` makes of latents with so many channels.
    """

    weight: torch.Tensor
    channels: int

    def pictures(self, latents: torch.Tensor) -> np.ndarray:
        """uint8 [n, h, w, 3] from latents [n, c, h, w] as the denoiser sees them."""
        import torch
        from torch.nn.functional import conv2d

        # features(latents) @ weight, as convolutions: a run with previews takes 1.05 of one without then, and 1.08 so
        padded, products = _parts(latents.detach().to("cpu", torch.float32))
        linear = self.weight[: 9 * self.channels].T.reshape(3, self.channels, 3, 3)
        square = self.weight[9 * self.channels : -1].T[:, :, None, None]
        colours = conv2d(padded, linear, self.weight[-1]) + conv2d(products, square)
        return ((colours.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(1, -1).numpy()


def _parts(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(latents with a rim of one, products of every two channels' means over nine places [n, pairs, h, w])."""
    import torch
    from torch.nn import functional

    padded = functional.pad(latents, (1, 1, 1, 1), mode="replicate")
    means = functional.avg_pool2d(padded, 3, 1)
    one, other = torch.triu_indices(latents.shape[1], latents.shape[1])
    return padded, means[:, one] * means[:, other]


def features(latents: torch.Tensor) -> torch.Tensor:
    """[n * h * w, ...]: every latent pixel with its eight neighbours, products of the nine's means, and a one.

    Without the products yellow faces came out salmon: a decoder's strong colours are no linear matter.
    """
    import torch
    from torch.nn import functional

    padded, products = _parts(latents)
    rows = functional.unfold(padded, 3).transpose(1, 2).reshape(-1, 9 * latents.shape[1])
    return torch.cat([rows, products.movedim(1, -1).flatten(0, 2), torch.ones(len(rows), 1)], 1)


def load(folder: Path, device: Device, side: int | None = None, guided: bool = True, turns: bool = False) -> ImageModel:
    """A diffusers pipeline folder, on the device. Raises `ModelDamaged` where it is not one that makes pictures.

    side: where the model learnt another one than its configuration says. turns: its parts stay in the machine's memory,
    and each is on the device only while it works.
    """
    hush("transformers", "diffusers")
    from diffusers import DiffusionPipeline

    try:
        pipeline: Any = DiffusionPipeline.from_pretrained(
            folder,
            dtype=device.torch_dtype,
            local_files_only=True,
            trust_remote_code=False,
            **loading(folder),
        )
        seer = witness.load(folder, device.kind)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelDamaged(
            Words("The model “{name}” could not be loaded: {error}", "无法加载模型“{name}”：{error}").format(
                name=folder.name, error=str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            )
        ) from error
    classes = _classes(pipeline)
    if TEXT not in classes:
        raise ModelDamaged(
            Words(
                "“{name}” is a {kind}, which does not make pictures from words.",
                "“{name}”是 {kind}，不能根据文字生成图片。",
            ).format(name=folder.name, kind=type(pipeline).__name__)
        )
    lay_out(pipeline, device)
    attention = attend(pipeline, device)
    if not turns:
        pipeline = pipeline.to(device.kind)
    elif getattr(pipeline, "vae", None) is not None:
        pipeline.vae.to(device.kind)  # the previews are fitted by it
    scale = int(getattr(pipeline, "vae_scale_factor", 8))
    projection = fit_projection(pipeline, scale)
    if turns:
        pipeline.to("cpu", silence_dtype_warnings=True)
    return ImageModel(
        pipeline,
        device,
        classes,
        _multiple(pipeline, scale),
        side or _sample_size(pipeline) * scale,
        guided,
        projection,
        seer,
        threading.Lock() if turns else None,
        attention,
        compile_blocks(pipeline, device),
    )


def loading(folder: Path) -> dict[str, Any]:
    """How `from_pretrained` is to take a folder: which files, and which parts not."""
    return {"variant": _variant(folder), "use_safetensors": True, **_without_checker(folder)}


def _variant(folder: Path) -> str | None:
    """ "fp16" where the parts' weights are only there under that name, as rows fetch them to halve the download."""
    weights = [file.name for file in folder.glob("*/*.safetensors")]
    return "fp16" if weights and all(".fp16" in name for name in weights) else None


def _without_checker(folder: Path) -> dict[str, Any]:
    """Stable Diffusion 1's optional filter is not loaded; the row's note says that nothing filters its pictures."""
    index = (
        json.loads((folder / "model_index.json").read_text("utf-8")) if (folder / "model_index.json").exists() else {}
    )
    return {"safety_checker": None} if "safety_checker" in index else {}


def _classes(pipeline: Any) -> dict[str, Any]:
    """Task -> pipeline class, as diffusers' own automatic doors map them."""
    from diffusers.pipelines import auto_pipeline as auto

    found = {}
    for task, mapping in (
        (TEXT, auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING),
        (IMAGE, auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING),
        (MASK, auto.AUTO_INPAINT_PIPELINES_MAPPING),
    ):
        try:
            found[task] = auto._get_task_class(mapping, type(pipeline).__name__)
        except ValueError:
            continue
    if "prompt" in inspect.signature(type(pipeline).__call__).parameters:
        found.setdefault(TEXT, type(pipeline))
    return found


def _sample_size(pipeline: Any) -> int:
    """The side that the denoiser learnt, in latent pixels."""
    denoiser: Any = getattr(pipeline, "unet", None) or pipeline.transformer
    size = getattr(pipeline, "default_sample_size", None) or getattr(denoiser.config, "sample_size", None) or 64
    return int(size[0] if isinstance(size, list | tuple) else size)


def _multiple(pipeline: Any, scale: int) -> int:
    """Sides are whole latent pixels, halved as often as the denoiser halves them, so that its ways up and down meet."""
    unet = getattr(pipeline, "unet", None)
    if unet is not None:
        return scale * 2 ** max(0, len(unet.config.block_out_channels) - 1)
    if hasattr(pipeline, "_unpack_latents"):  # patches of 2x2 that the pipeline makes itself
        return scale * 2
    patch = getattr(pipeline.transformer.config, "patch_size", None)
    return scale * (patch if isinstance(patch, int) else 2)


def fit_projection(pipeline: Any, scale: int) -> Projection | None:
    """Fit it on a few pictures of coloured squares that go once through the encoder.

    Squares of 2.7 latent pixels hold plain colours and edges in every place of the grid: on emoji-vae such a fit
    explains 84% of the colours of emoji where they are not white.
    """
    import torch
    from torch.nn import functional

    vae = getattr(pipeline, "vae", None)
    if vae is None or not hasattr(vae, "encode"):
        return None
    cells = 16
    squares = torch.rand(16, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2.6 - 1.3
    pictures = functional.interpolate(squares, size=(cells * scale, cells * scale), mode="nearest").clamp(-1, 1)
    with torch.no_grad():
        encoded = [vae.encode(part.to(vae.device, vae.dtype)) for part in pictures.split(1)]
    latents = torch.cat([_latents_of(out).float().cpu() for out in encoded])
    if latents.ndim != 4 or latents.shape[-1] != cells:
        return None
    wanted = functional.interpolate(pictures, size=(cells, cells), mode="area").movedim(1, -1).reshape(-1, 3)
    solution = torch.linalg.lstsq(features(as_denoised(vae, latents)), wanted).solution
    return Projection(solution, latents.shape[1])


def _latents_of(encoded: Any) -> torch.Tensor:
    """Variational autoencoders give a distribution, others the latents."""
    posterior = getattr(encoded, "latent_dist", None)
    return encoded.latent if posterior is None else posterior.mode()


def as_denoised(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents as they come from the encoder -> as the denoiser sees them."""
    import torch

    config = vae.config
    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and deviation is not None and len(mean) == latents.shape[1]:
        shape = (1, -1, 1, 1)
        latents = (latents - torch.tensor(mean).view(shape)) / torch.tensor(deviation).view(shape)
    return (latents - (getattr(config, "shift_factor", None) or 0.0)) * (getattr(config, "scaling_factor", None) or 1.0)


def unpacked(pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Latents [n, c, h, w]; some transformers keep them as a row of 2x2 patches."""
    if latents.ndim == 3 and hasattr(pipeline, "_unpack_latents"):
        unpack: Callable[..., torch.Tensor] = pipeline._unpack_latents
        return unpack(latents, height, width, pipeline.vae_scale_factor)
    return latents[:, :, 0] if latents.ndim == 5 else latents


def unread(pipeline: Any, prompt: str) -> str:
    """The end of a prompt that no text encoder of the pipeline has room for; "" where all of it is read."""
    rooms = rooms_of([getattr(pipeline, name, None) for name in TOKENIZERS], type(pipeline).__call__)
    reading = read(rooms, prompt)
    return reading.rest if reading else ""
