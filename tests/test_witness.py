"""What emoji-clip says of a picture: the place of the prompt among the names that a model learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_images import make_stable_diffusion

from aigc_demo.device import choose
from aigc_demo.generators import witness
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import load
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.results import finish
from aigc_demo.ui import facts, images_page

NAMES = {"en": ["cat", "dog", "fox"], "zh": ["猫", "狗", "狐狸"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline whose text encoder is a whole CLIP, as emoji-diffusion's is."""
    from transformers import CLIPConfig, CLIPModel

    made = make_stable_diffusion(tmp_path_factory.mktemp("witness") / "sd")
    text = json.loads((made / "text_encoder" / "config.json").read_text())
    config = CLIPConfig(
        text_config=text,
        vision_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 16, "patch_size": 8, "projection_dim": 16,
        },
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(1)
    CLIPModel(config).save_pretrained(made / "text_encoder")
    witness.write_names(NAMES, made)
    return made


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load(folder, choose("cpu"))


def test_the_verdict_is_clips_own_answer(model: Any) -> None:
    """Shares and places are those of transformers' bare forward, names in the language of the prompt."""
    noise = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(noise.numpy())
    [verdict] = model.witness.judge([picture], "狗，立体风格")
    texts = model.witness.tokenizer([*NAMES["zh"], "狗，立体风格"], padding=True, return_tensors="pt")
    pixels = (noise.float() / 127.5 - 1).movedim(-1, 0)[None]
    with torch.no_grad():
        bare = model.witness.clip(input_ids=texts.input_ids, pixel_values=pixels).logits_per_image[0]
    shares = bare[:3].softmax(0)
    assert [name for name, _ in verdict.best] == [NAMES["zh"][i] for i in shares.argsort(descending=True)]
    assert [share for _, share in verdict.best] == pytest.approx(shares.sort(descending=True).values.tolist(), abs=1e-3)
    assert verdict.of == 3, "the dog is in the prompt and no rival of it"
    assert verdict.place == 1 + int((bare[[0, 2]] > bare[3]).sum())


def test_every_picture_carries_its_verdict(model: Any) -> None:
    """In the recipe of the run for all, in each picture's own for itself; and the page says it."""
    request = ImageParams(prompt="a dog", num_images=2, num_inference_steps=2, seed=4, width=16, height=16)
    done = finish(generate(request, model))
    seen = done.figures["seen"]
    assert [len(one["best"]) for one in seen] == [3, 3]
    done.recipe.update(settings={"seed": 4}, figures=done.figures)
    kept = images_page.kept_pictures(done)
    assert [own["figures"]["seen"] for _, own in kept] == [[seen[0]], [seen[1]]]
    assert facts.caption(kept[1][1]) == f"5 · {seen[1]['best'][0][0]} {seen[1]['best'][0][1]:.0%}"
    assert f"no. {seen[0]['place']} of 3" in facts.image_facts(kept[0][1], "en")
    assert "2 张中有" in facts.image_facts(done.recipe, "zh")


def test_nothing_asked_nothing_judged(model: Any) -> None:
    """An empty prompt has no answer to be right or wrong about."""
    request = ImageParams(prompt=" ", num_inference_steps=1, seed=4, width=16, height=16)
    assert "seen" not in finish(generate(request, model)).figures


@pytest.mark.parametrize(
    "told",
    ["", "[]", '{"en": ["cat"]}', '{"en": [], "zh": []}', '{"en": [1], "zh": ["猫"]}', '{"en": "cat", "zh": "猫"}'],
)
def test_a_strangers_names_do_no_harm(folder: Path, tmp_path: Path, told: str) -> None:
    """A folder that was dropped in may hold anything under that name."""
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "names.json").write_text(told)
    (tmp_path / "text_encoder" / "config.json").write_text((folder / "text_encoder" / "config.json").read_text())
    assert witness.load(tmp_path, "cpu") is None


def test_a_pipeline_without_one_has_none(tmp_path: Path) -> None:
    """Half a CLIP, as Stable Diffusion has it, cannot look."""
    made = make_stable_diffusion(tmp_path / "sd")
    witness.write_names(NAMES, made)
    assert load(made, choose("cpu")).witness is None
