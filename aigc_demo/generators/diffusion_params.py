"""What a picture is asked for with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from aigc_demo.generators import schedulers
from aigc_demo.generators.diffusion_model import IMAGE, MASK, TEXT
from aigc_demo.generators.picture_fields import KINDS, check_mask, check_picture, digest
from aigc_demo.generators.styles import NONE, STYLES
from aigc_demo.params import Choice, Data, Params, Range, Seed, Text
from aigc_demo.words import Words

LARGEST = 2048
SHIPPED = Path(__file__).parents[2] / "assets" / "weights" / "emoji-diffusion"
DEFAULT_MODEL = "emoji-diffusion"


def _side(en: str, zh: str) -> Range:
    return Range(
        Words(en, zh),
        Words(
            "In pixels; 0 is the size that the model learnt. Far from it, pictures repeat themselves or fall apart.",
            "单位为像素；0 表示模型训练时的尺寸。偏离太多时，画面会重复或散乱。",
        ),
        0,
        LARGEST,
        8,
    )


@dataclass(frozen=True)
class ImageParams(Params):
    """A request for pictures: from words alone, or from words and a picture, which a mask may limit."""

    prompt: Annotated[
        str,
        Text(
            Words("Prompt", "提示词"),
            Words(
                "What the picture shows. Left empty, the model paints what it likes. (word:1.3) makes a word count more, "
                "(word) a little more, [word] a little less; \\( is a bracket.",
                "图片的内容。留空时由模型自由发挥。(词:1.3) 加重一个词，(词) 略微加重，[词] 略微减轻；\\( 表示括号本身。",
            ),
            max_length=20_000,
            lines=2,
        ),
    ] = ""
    negative_prompt: Annotated[
        str,
        Text(
            Words("Negative prompt", "负面提示词"),
            Words(
                "What the guidance leads away from. Works only with guidance above 1.",
                "引导所要远离的内容。仅在引导强度大于 1 时起作用。",
            ),
            max_length=20_000,
        ),
    ] = ""
    style: Annotated[
        str,
        Choice(
            Words("Style", "风格"),
            Words(
                "Words that are laid around the prompt. A model knows only the styles that it learnt.",
                "附加在提示词前后的词语。模型只懂得它学过的风格。",
            ),
            {name: row.name for name, row in STYLES.items()},
        ),
    ] = NONE
    model: Annotated[
        str,
        Text(
            Words("Model", "模型"),
            Words(
                "A model of the list, a Hugging Face id such as owner/name, or ./name for a folder under models/.",
                "列表中的模型，或 Hugging Face 上的编号（如 owner/name），或 ./name 表示 models/ 下的文件夹。",
            ),
            max_length=200,
            required=True,
        ),
    ] = DEFAULT_MODEL
    num_inference_steps: Annotated[
        int,
        Range(
            Words("Steps", "步数"),
            Words(
                "Denoising steps. Typical 20 to 30; distilled models need 1 to 8. Too few leave blobs and noise, more than "
                "50 only cost time.",
                "去噪步数。常用 20 到 30；蒸馏模型只需 1 到 8。太少会留下色块和噪点，超过 50 只是浪费时间。",
            ),
            1,
            150,
            1,
        ),
    ] = 20
    guidance_scale: Annotated[
        float,
        Range(
            Words("Guidance", "引导强度"),
            Words(
                "How far each step is pushed from the unconditional prediction past the conditional one. Typical 2 to 8; 1 "
                "is off. Low wanders from the words, high burns the colours.",
                "每一步从无条件预测向有条件预测推多远。常用 2 到 8；1 表示关闭。过低会偏离文字，过高颜色会过饱和。",
            ),
            1,
            20,
            0.5,
        ),
    ] = 2.0
    scheduler: Annotated[
        str,
        Choice(
            Words("Sampler", "采样器"),
            Words(
                "How a step is made from the prediction. Euler a adds fresh noise at every step; the others of 20 steps "
                "come out much alike.",
                "如何由预测走出一步。Euler a 每步会加入新噪声；其余的在 20 步时结果相近。",
            ),
            {name: row.name for name, row in schedulers.SCHEDULERS.items()},
        ),
    ] = schedulers.OWN
    width: Annotated[int, _side("Width", "宽度")] = 0
    height: Annotated[int, _side("Height", "高度")] = 0
    num_images: Annotated[
        int,
        Range(
            Words("Pictures", "图片数量"),
            Words(
                "Picture n uses the seed plus n, and is the same alone as among others.",
                "第 n 张使用种子加 n；单独生成与一起生成结果相同。",
            ),
            1,
            16,
            1,
        ),
    ] = 1
    seed: Annotated[
        int,
        Seed(
            Words("Seed", "随机种子"),
            Words(
                "The same seed, settings and model give the same picture on the same machine. -1 draws one at random.",
                "在同一台机器上，相同的种子、设置和模型会生成相同的图片。-1 表示随机抽取。",
            ),
        ),
    ] = -1
    variation_strength: Annotated[
        float,
        Range(
            Words("Variation", "变化幅度"),
            Words(
                "How far the noise lies on the way from the seed's to the variation seed's. 0 is off; 0.1 to 0.2 changes "
                "details, above 0.5 hardly anything stays.",
                "噪声处于从种子到变化种子的路上多远处。0 表示关闭；0.1 到 0.2 只改变细节，超过 0.5 几乎什么都不保留。",
            ),
            0,
            1,
            0.05,
        ),
    ] = 0.0
    variation_seed: Annotated[
        int,
        Seed(
            Words("Variation seed", "变化种子"),
            Words("Which way the variation goes. -1 draws one at random.", "变化的方向。-1 表示随机抽取。"),
        ),
    ] = -1
    image: Annotated[
        Any,
        Data(
            Words("Picture", "图片"),
            Words("A picture to start from instead of pure noise.", "以此图片代替纯噪声作为起点。"),
            checker=check_picture,
            shape=KINDS,
        ),
    ] = None
    mask: Annotated[
        Any,
        Data(
            Words("Mask", "蒙版"),
            Words("White where the picture is to be painted anew.", "白色部分会被重新绘制。"),
            checker=check_mask,
            shape=KINDS,
        ),
    ] = None
    strength: Annotated[
        float,
        Range(
            Words("Strength", "重绘幅度"),
            Words(
                "How much noise the given picture gets before the steps begin. Typical 0.4 to 0.8; low keeps it nearly "
                "as it is, 1 forgets it.",
                "在开始去噪前给图片加入多少噪声。常用 0.4 到 0.8；过低几乎不变，为 1 时会忘掉原图。",
            ),
            0.05,
            1,
            0.05,
        ),
    ] = 0.6

    @property
    def varies(self) -> bool:
        """Whether the variation's seed counts for anything."""
        return self.variation_strength > 0

    def resolved(self) -> Any:
        found = super().resolved()
        return found if self.varies else replace(found, variation_seed=self.variation_seed)

    @property
    def task(self) -> str:
        return TEXT if self.image is None else IMAGE if self.mask is None else MASK

    def values(self) -> dict[str, Any]:
        """As JSON can hold them: a picture stands there by its digest."""
        return {**super().values(), "image": digest(self.image), "mask": digest(self.mask)}
