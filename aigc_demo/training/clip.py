"""emoji-clip: a small CLIP (Radford et al., arXiv 2103.00020) that knows emoji in English and Chinese.

Its text tower conditions the diffusion model; as a whole it answers "does this picture show these words?".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.params import Choice, Range
from aigc_demo.training import canvas, captions, export, sheets, tokens
from aigc_demo.training.data import Pack
from aigc_demo.training.exams import Exam
from aigc_demo.training.loop import Chance, autocast, device, placed
from aigc_demo.training.settings import TrainingParams, weight
from aigc_demo.training.splits import Split
from aigc_demo.words import LANGUAGES, Words

if TYPE_CHECKING:
    import torch
    from PIL import Image

NAME = "emoji-clip"
SIDE = 64
JITTER = canvas.Jitter(rotate=15, scale=(0.7, 1.15), shift=0.1, mirror=0.5, light=0.2, warp=0.04)


@dataclass(frozen=True)
class ClipParams(TrainingParams):
    width: Annotated[int, Range(Words("Width", "宽度"), Words("Of both towers.", "两个塔的宽度。"), 32, 1024, 32)] = 192
    image_layers: Annotated[
        int, Range(Words("Image layers", "图像层数"), Words("Transformer blocks.", "Transformer 层数。"), 1, 24, 1)
    ] = 5
    text_layers: Annotated[
        int, Range(Words("Text layers", "文本层数"), Words("Transformer blocks.", "Transformer 层数。"), 1, 24, 1)
    ] = 4
    anchors: Annotated[
        float,
        Range(
            Words("Anchors", "锚点"),
            Words("Weight of finding the concept among all of them.", "在全部概念中找到正确概念的权重。"),
            0,
            10,
            0.1,
        ),
    ] = 1.0
    words: Annotated[
        str,
        Choice(
            Words("Text tower", "文本塔"),
            Words(
                "It may stay as it began, so that what was trained on its words stays valid.",
                "可保持起始状态，使基于其文字训练的模型继续有效。",
            ),
            {"learn": Words("Learns", "学习"), "stay": Words("Stays", "不变")},
        ),
    ] = "learn"
    patches: Annotated[
        float,
        Range(
            Words("Patches", "图块"),
            Words("Share of a picture's patches that it is shown.", "每幅图展示给它的图块比例。"),
            0.1,
            1,
            0.05,
        ),
    ] = 1.0
    tutor: Annotated[
        float,
        weight(
            "Tutor",
            "导师",
            "Weight of saying about mixed pictures what the tutor, a convnet, says; 0 does without.",
            "对混合图片说出与导师（卷积网络）相同判断的权重；0 表示不用。",
        ),
    ] = 0.0
    places: Annotated[
        float,
        weight(
            "Places",
            "逐处",
            "Weight of seeing at each place of them what the tutor sees there; 0 does without.",
            "在混合图片的每一处看出导师所见的权重；0 表示不用。",
        ),
    ] = 0.0


PRESETS: dict[str, ClipParams] = {
    "smoke": ClipParams(
        steps=20, batch_size=16, warmup=4, width=64, image_layers=1, text_layers=1, report_every=5, held_out_every=20,
        sheet_every=20, save_every=10, ema_decay=0.9,
    ),
    "cpu": ClipParams(
        steps=3000, batch_size=128, warmup=150, learning_rate=1e-3, weight_decay=0.1, held_out_every=300, sheet_every=600
    ),
    "gpu": ClipParams(
        steps=12000, batch_size=512, warmup=500, learning_rate=1e-3, weight_decay=0.1, held_out_every=2000,
        sheet_every=4000, save_every=2000, report_every=100, ema_decay=0.9995,
    ),
}  # fmt: skip


class ClipTask:
    """Contrast pictures with captions, both ways round. Two captions of one concept are no contrast unless
    both name a style, and different ones."""

    name = NAME
    averaged = ("clip",)

    def __init__(self, params: ClipParams, pack: Pack, split: Split, weights: Path):
        import torch
        from transformers import CLIPConfig, CLIPModel

        torch.manual_seed(params.seed)
        self.params, self.pack, self.weights = params, pack, weights
        self.tokenizer = tokens.train(captions.corpus(pack))
        tower = {
            "hidden_size": params.width,
            "intermediate_size": 4 * params.width,
            "num_attention_heads": max(1, params.width // 64),
            "hidden_act": "gelu",
            "projection_dim": params.width,
        }
        ids = {"bos_token_id": self.tokenizer.bos_token_id, "eos_token_id": self.tokenizer.eos_token_id}
        text = {
            **tower,
            **ids,
            "pad_token_id": self.tokenizer.eos_token_id,
            "vocab_size": len(self.tokenizer),
            "max_position_embeddings": tokens.LENGTH,
            "num_hidden_layers": params.text_layers,
        }
        vision = {**tower, "image_size": SIDE, "patch_size": 8, "num_hidden_layers": params.image_layers}
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=params.width)
        self.exam = Exam(pack, split)
        model: Any = CLIPModel(config)
        if params.words == "stay":
            model.text_model.requires_grad_(False)
        else:
            # one point per concept, for both towers to find; left behind when the model is exported
            model.anchors = torch.nn.Embedding(len(self.exam.known), params.width)
        self.glimpse = _Glimpse(params.patches)
        model.vision_model.embeddings.register_forward_hook(self.glimpse)
        self.groups: dict[str, torch.nn.Module] = {"clip": placed(model)}
        self._read: dict[str, torch.Tensor] = {}
        self.shelf = canvas.shelf(pack.pixels, SIDE, device())
        self.composer = captions.Composer(pack, split.train(pack, naming=True) + split.further(pack), params.seed)

    def prepare(self) -> Iterator[tuple[int, int]]:
        import torch

        from aigc_demo.training.registry import require
        from aigc_demo.training.shipped import load_convnet

        if self.params.tutor or self.params.places:
            self.tutor = load_convnet(require(self.weights, "tutor"))
        if self.params.places:
            model: Any = self.groups["clip"]
            # left behind when the model is exported, like the anchors; until it has learnt again, some hundred steps, it misleads
            model.guide = placed(torch.nn.Linear(self.params.width, self.tutor.head.in_features))
        yield from ()

    def turns(self, step: int, chance: Chance) -> Iterator[tuple[str, dict[str, Any]]]:
        import torch

        count = self.params.batch_size
        plans = [self.composer.draw(step * count + i) for i in range(count)]
        pictures, _ = canvas.compose(self.shelf, plans, chance.generator(), JITTER)
        ids = tokens.encode(self.tokenizer, [plan.caption for plan in plans]).to(device())
        with autocast():
            out = self.groups["clip"](input_ids=ids, pixel_values=pictures)
        logits = out.logits_per_image.float().masked_fill(self._same(plans), float("-inf"))
        target = torch.arange(count, device=logits.device)
        cross = torch.nn.functional.cross_entropy
        losses = {"image": cross(logits, target) / 2, "text": cross(logits.T, target) / 2}
        language = list(LANGUAGES)[step % len(LANGUAGES)]
        if self.params.tutor or self.params.places:
            losses |= self._to_tutor(mixtures(pictures, chance.generator(1)), language)
        if self.params.anchors:
            found = self._to_anchors(plans, out.image_embeds, out.text_embeds, language)
            losses["anchors"] = self.params.anchors * found
        yield "clip", losses

    def _to_anchors(
        self, plans: Sequence[captions.Plan], images: torch.Tensor, texts: torch.Tensor, language: str
    ) -> torch.Tensor:
        """Cross entropy of what learns over the anchors of all concepts, for the pictures that show one thing.

        In a batch, style alone tells most pairs apart; among all concepts only the concept does. It learns
        from far fewer pictures than contrast alone. Where the words stay, the captions in no style are right for the
        further ones.
        """
        import torch

        learning = self.params.words == "learn"
        single = [n for n, plan in enumerate(plans) if len(plan.pieces) == 1]
        shown = [self.pack.pictures[plans[n].pieces[0][0]] for n in single]
        styles, count = list(captions.STYLES), len(self.exam.known)
        block = [0 if learning else styles.index(p.style) if p.style in styles else len(styles) for p in shown]
        places = [b * count + self.exam.place[p.concept] for b, p in zip(block, shown, strict=True)]
        target = torch.tensor(places, device=images.device)
        told = [self._over_anchors(tower[single], language) for tower in ((images, texts) if learning else (images,))]
        cross = torch.nn.functional.cross_entropy
        return torch.stack([cross(logits, target, label_smoothing=0.1) for logits in told]).mean()

    def _to_tutor(self, pictures: torch.Tensor, language: str) -> dict[str, torch.Tensor]:
        """How far it is from the tutor: cross entropy with what that says that the pictures show, whatever their style
        (Hinton et al., arXiv 1503.02531; long and with mixtures, as Beyer et al., arXiv 2106.05237), and squared error
        from what it sees at each place, before the class token reads the patches a last time (Li et al.,
        arXiv 2207.10026: a convnet's local features are what a transformer can't find on few pictures)."""
        import torch

        p = self.params
        model: Any = self.groups["clip"]
        functional = torch.nn.functional
        with torch.no_grad(), autocast():
            places = self.tutor.places(pictures)
            told = self.tutor.named(self.tutor.pooled(places)).softmax(1)
        with autocast():
            out = model.vision_model(pixel_values=pictures, output_hidden_states=True)
        losses: dict[str, torch.Tensor] = {}
        if p.tutor:
            with autocast():
                seen = model.visual_projection(out.pooler_output)
            logits = self._over_anchors(functional.normalize(seen, dim=-1), language)
            said = logits.log_softmax(1).unflatten(1, (-1, len(self.exam.known))).logsumexp(1)
            losses["tutor"] = -p.tutor * (told * said).sum(1).mean()
        if p.places:
            with autocast():
                guessed = model.guide(out.hidden_states[-2][:, 1:])
            wanted = self.glimpse.of(places.float().flatten(2).mT)
            wanted = (wanted - wanted.mean((0, 1))) / (wanted.std((0, 1)) + 1e-3)
            losses["places"] = p.places * functional.mse_loss(guessed.float(), wanted)
        return losses

    def _over_anchors(self, images: torch.Tensor, language: str) -> torch.Tensor:
        """Logits [n, blocks * known] of image embeddings over the anchors of all concepts.

        A text tower that stays says what they are, once and for all, up to its projection: the captions of all concepts in
        each style and in none.
        """
        import torch

        model: Any = self.groups["clip"]
        normalize = torch.nn.functional.normalize
        if self.params.words == "learn":
            return model.logit_scale.exp() * images.float() @ normalize(model.anchors.weight, dim=-1).T
        if language not in self._read:
            told = [text for style in (*captions.STYLES, None) for text in self.exam.captions(style, language)]
            self._read[language] = pool_texts(model, self.tokenizer, told)
        points = normalize(model.text_projection(self._read[language]), dim=-1)
        return model.logit_scale.exp() * images.float() @ points.T

    def _same(self, plans: Sequence[captions.Plan]) -> torch.Tensor:
        """bool [n, n]: pairs off the diagonal whose captions may both be right for one picture."""
        import torch

        first = [self.pack.pictures[plan.pieces[0][0]] for plan in plans]
        concept = torch.tensor([p.concept for p in first])
        styles = sorted({p.style for p in first})
        style = torch.tensor([styles.index(p.style) for p in first])
        styled = torch.tensor([plan.styled for plan in plans])
        told_apart = styled[:, None] & styled[None] & (style[:, None] != style[None])
        same = (concept[:, None] == concept[None]) & ~told_apart
        return same.fill_diagonal_(False).to(device())

    def held_out(self) -> dict[str, float]:
        return figures(self.groups["clip"], self.tokenizer, self.shelf, self.exam)

    def sheet(self) -> Image.Image:
        """Each held-out picture (first column) beside the five pictures that its caption finds."""
        import torch

        rows = self.exam.pictures[:: max(1, len(self.exam.pictures) // 12)][:12]
        names = [self.exam.caption(i, "en") for i in rows]
        texts = embed_texts(self.groups["clip"], self.tokenizer, names)
        everything = embed_images(self.groups["clip"], canvas.white(self.shelf))
        best = (texts @ everything.T).topk(5).indices.tolist()
        shown = torch.tensor([j for i, found in zip(rows, best, strict=True) for j in [i, *found]])
        return sheets.grid(canvas.white(self.shelf[shown.to(self.shelf.device)]), columns=6)

    def export(self, folder: Path) -> None:
        export.clip(self.groups["clip"], self.tokenizer, folder)


class _Glimpse:
    """Leaves a training picture's class token and a random share of its patches (Li et al., FLIP, arXiv 2212.00794):
    a step costs less, and no single patch can be learnt by heart."""

    def __init__(self, share: float):
        self.share = share
        self.chosen: torch.Tensor | None = None

    def __call__(self, embeddings: torch.nn.Module, _: Any, patches: torch.Tensor) -> torch.Tensor:
        import torch

        self.chosen = None
        if not embeddings.training or self.share == 1:
            return patches
        n, count = len(patches), patches.shape[1] - 1
        order = torch.rand(n, count, device=patches.device).argsort(1)
        self.chosen = order[:, : max(1, round(self.share * count))]
        return torch.cat([patches[:, :1], self.of(patches[:, 1:])], 1)

    def of(self, rows: torch.Tensor) -> torch.Tensor:
        """Of rows [n, patches, width] those that the last pictures were left with."""
        if self.chosen is None:
            return rows
        return rows.gather(1, self.chosen[:, :, None].expand(-1, -1, rows.shape[-1]))


def mixtures(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each picture mixed with its neighbour in the batch: half of them laid over each other (Zhang et al.,
    arXiv 1710.09412), half with a rectangle of the other set in (Yun et al., arXiv 1905.04899)."""
    import torch

    n, _, side, _ = pictures.shape
    draw = torch.rand(n, 4, generator=generator).to(pictures.device)
    other = pictures.roll(1, 0)
    rows = (torch.arange(side, device=pictures.device) + 0.5) / side
    reach = draw[:, :1].sqrt() / 2  # half of an edge whose square is anything from 0 to 1
    inside = [(rows[None] - draw[:, k : k + 1]).abs() < reach for k in (1, 2)]
    window = (inside[0][:, :, None] & inside[1][:, None])[:, None].float()
    share = torch.where((draw[:, 3] < 0.5)[:, None, None, None], window, draw[:, 0, None, None, None])
    return torch.lerp(pictures, other, share)


def embed_images(model: Any, pictures: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """float32 [n, projection], unit length, of pictures [n, 3, s, s] in -1..1 (resized to what the model takes)."""
    import torch

    side = model.config.vision_config.image_size
    rows = []
    for part in pictures.split(batch):
        if part.shape[-1] != side:
            part = torch.nn.functional.interpolate(part, size=(side, side), mode="area")
        with torch.no_grad(), autocast():
            pooled = model.visual_projection(model.vision_model(pixel_values=part).pooler_output)
        rows.append(torch.nn.functional.normalize(pooled.float(), dim=-1))
    return torch.cat(rows)


def embed_texts(model: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """float32 [n, projection], unit length."""
    import torch

    with torch.no_grad(), autocast():
        pooled = model.text_projection(pool_texts(model, tokenizer, texts))
    return torch.nn.functional.normalize(pooled.float(), dim=-1)


def pool_texts(model: Any, tokenizer: Any, texts: Sequence[str], batch: int = 512) -> torch.Tensor:
    """float32 [n, width]: what the text tower makes of the texts, before its projection."""
    import torch

    rows = []
    for start in range(0, len(texts), batch):
        ids = tokens.encode(tokenizer, texts[start : start + batch]).to(device())
        with torch.no_grad(), autocast():
            rows.append(model.text_model(input_ids=ids).pooler_output.float())
    return torch.cat(rows)


def figures(model: Any, tokenizer: Any, shelf: torch.Tensor, exam: Exam) -> dict[str, float]:
    """The exam of the pictures in a style kept back, in each language: share right among 100, and among all."""
    import torch

    seen = embed_images(model, canvas.white(shelf[torch.tensor(exam.pictures, device=shelf.device)]))
    found: dict[str, float] = {}
    for language in LANGUAGES:
        for name, value in exam.marks(scores(model, tokenizer, seen, exam, language)).items():
            found[f"{name}_{language}"] = value
    return found


def scores(model: Any, tokenizer: Any, seen: torch.Tensor, exam: Exam, language: str) -> torch.Tensor:
    """Cosines [pictures, known] of the exam's pictures with each concept's caption in the picture's style."""
    import torch

    told = torch.zeros(len(exam.pictures), len(exam.known))
    for style in exam.styles:
        rows = [n for n, i in enumerate(exam.pictures) if exam.style(i) == style]
        texts = embed_texts(model, tokenizer, exam.captions(style, language))
        told[rows] = (seen[rows] @ texts.T).cpu()
    return told
