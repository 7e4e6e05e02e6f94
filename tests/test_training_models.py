"""Every model's smoke run end to end: losses, resume, stopping, export."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aigc_demo.errors import UserError
from aigc_demo.generators import witness
from aigc_demo.results import Done, Step
from aigc_demo.training import __main__ as command
from aigc_demo.training import (
    canvas,
    cards,
    checkpoints,
    convnet,
    evaluate,
    gan_marks,
    loop,
    marks,
    optimiser,
    prompts,
    registry,
    shipped,
    splits,
    tokens,
    toy,
    vae,
)

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
NAMES = list(registry.MODELS)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model, smoke-trained once, in the order in which they need each other."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("emoji-clip", "tutor", "emoji-vae", "emoji-diffusion", "emoji-gan", "judge", "style", "emoji-morph"):
        list(_run(name, folder, weights=folder))
        (folder / checkpoints.FILE).unlink()
    return folder


def _run(name: str, folder: Path, weights: Path | None = None, **changes: Any):
    """All Steps of training and the Done; preparation is skipped over."""
    params = dataclasses.replace(registry.MODELS[name].presets()["smoke"], report_every=1, **changes)
    run = registry.start(name, params, "smoke", folder, weights or folder)
    try:
        for item in run:
            if isinstance(item, Done) or item.stage == "train":
                yield item
    finally:
        run.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_learns_exports_and_is_deterministic(name: str, weights: Path, tmp_path: Path) -> None:
    items = list(_run(name, tmp_path / "a", weights))
    assert isinstance(items[-1], Done)
    steps = [item.value for item in items if isinstance(item, Step)]
    assert steps[-1].held_out
    assert steps[-1].sheet is not None
    assert all(norm >= 0 for norm in steps[0].grad_norms.values())
    assert steps[0].grad_norms
    assert steps[0].samples_per_second > 0
    if name != "emoji-gan":  # there a loss says only who is ahead
        losses = [sum(v for k, v in step.losses.items() if k != "critic") for step in steps]
        part = len(losses) // 4  # of a few pictures each: a single step's loss is mostly luck
        assert sum(losses[-part:]) < sum(losses[:part])
    again = [item.value.losses for item in _run(name, tmp_path / "b", weights) if isinstance(item, Step)]
    assert again == [step.losses for step in steps]
    weights = [shipped.digests(tmp_path / part / name) for part in ("a", "b")]
    assert weights[0] == weights[1]
    assert weights[0]
    for file in (tmp_path / "a" / name).rglob("*.safetensors"):
        assert file.stat().st_size <= 9 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_stopped_goes_on_with_the_same_losses(name: str, weights: Path, tmp_path: Path) -> None:
    whole = [item.value.losses for item in _run(name, tmp_path / "whole", weights) if isinstance(item, Step)]
    run = _run(name, tmp_path / "parts", weights, save_every=1000)
    first = [next(run).value.losses for _ in range(5)]
    run.close()
    assert (tmp_path / "parts" / checkpoints.FILE).exists(), "closing keeps the checkpoint"
    rest = [item.value.losses for item in _run(name, tmp_path / "parts", weights) if isinstance(item, Step)]
    assert first + rest == whole


# Two optimisers share a module: nothing may be left out, nothing learnt twice, and a checkpoint has to hold both.
def test_a_run_by_muon_goes_on_with_the_same_losses(weights: Path, tmp_path: Path) -> None:
    task, params = _task("emoji-clip", weights)
    muon = dataclasses.replace(params, optimiser="muon")
    matrices, rest = optimiser.make(task.groups["clip"], muon, loop.BETAS).parts
    assert type(matrices).__name__ == "Muon"
    held = [id(p) for part in (matrices, rest) for group in part.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in task.groups["clip"].parameters())
    (adam,) = optimiser.make(task.groups["clip"], params, loop.BETAS).parts
    assert type(adam).__name__ == "AdamW"

    def losses(folder: str, **changes: Any) -> Iterator[dict[str, float]]:
        for item in _run("emoji-clip", tmp_path / folder, weights, optimiser="muon", **changes):
            if isinstance(item, Step):
                yield item.value.losses

    whole = list(losses("whole"))
    run = losses("parts", save_every=1000)
    first = [next(run) for _ in range(5)]
    run.close()
    assert first + list(losses("parts")) == whole
    assert sum(whole[-1].values()) < sum(whole[0].values())


@pytest.mark.parametrize("name", NAMES)
def test_a_run_can_begin_with_a_trained_model(name: str, weights: Path, tmp_path: Path) -> None:
    """How a model is trained further where its checkpoint is gone; the critic, which does not ship, begins anew."""
    given = weights / name
    task, params = _task(name, weights)
    fresh = {group: module.state_dict() for group, module in task.groups.items()}
    before = {key: value.clone() for state in fresh.values() for key, value in state.items()}
    shipped.begin(task.groups, given)
    after = {key: value for module in task.groups.values() for key, value in module.state_dict().items()}
    assert any(not torch.equal(before[key], after[key]) for key in before)
    params = dataclasses.replace(params, steps=1, learning_rate=1e-6)
    *_, done = registry.start(name, params, "smoke", tmp_path, weights, begin=given)
    told = json.loads((done.value / "training.json").read_text())
    assert told["begun_from"] == shipped.digests(given)
    assert told["begun_from"]
    (earlier,) = told["earlier_runs"]
    assert earlier["settings"] == shipped.settings(given), "a chain of runs is a recipe only as a whole"
    (done.value / "figures.json").write_text(
        '{"figures": {}, "baselines": {}, "misses": [], "weights": {}, "command": ""}'
    )
    cards.write(name, done.value)
    card = (done.value / "README.md").read_text(encoding="utf-8")
    assert f"1. {earlier['settings']['steps']} steps" in card
    assert "2. 1 steps" in card


def test_weights_of_another_model_are_no_beginning(weights: Path) -> None:
    task, _ = _task("judge", weights)
    with pytest.raises(UserError, match="does not hold weights of this model"):
        shipped.begin(task.groups, weights / "emoji-vae")


def test_the_style_classifier_sees_what_the_autoencoder_makes_of_pictures(weights: Path) -> None:
    """Made pictures come through it: who learnt only from clean ones takes its blur for a style."""
    task, _ = _task("style", weights)
    count = len(task.shelf)
    list(task.prepare())
    assert len(task.copy) == len(task.composer.members) // 2 == len(task.shelf) - count
    member, copied = next(iter(task.copy.items()))
    assert task.target(copied) == task.target(member)
    seen, real = (canvas.white(task.shelf[[i]]) for i in (copied, member))
    again = vae.reconstruct(shipped.load_vae(weights / "emoji-vae"), real)
    assert (seen - again.clamp(-1, 1)).abs().max() < 0.01
    shown = {i for plan in task.plans(range(300)) for i, _ in plan.pieces}
    assert shown & set(task.copy.values())
    assert shown & set(task.composer.members)


def test_a_palette_tells_colours_and_not_places() -> None:
    """Another colour is another; where it stands does not matter, and how much there is of it does."""
    red = torch.tensor([0.9, -0.8, -0.7])[None, :, None, None].repeat(1, 1, 64, 64)
    half = torch.cat([red[..., :32], -red[..., :32]], 3)
    given, other, both, turned = (convnet.palette(p, 24)[0] for p in (red, -red, half, half.flip(3)))
    assert (given.max(), given.count_nonzero()) == (1, 1)
    assert given @ other == 0
    assert torch.allclose(both, (given + other) * 0.5**0.5)
    assert torch.equal(turned, both)


def test_half_of_the_side_first(weights: Path) -> None:
    """Learning begins on small pictures, which cost a quarter, and ends on those that are asked about."""
    task, params = _task("judge", weights)
    task.params = dataclasses.replace(params, small=0.5, steps=2)
    net = task.groups["net"]
    seen: list[int] = []
    net.stages.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-1]))
    for step in range(2):
        list(task.turns(step, loop.Chance(0, step)))
    assert seen == [task.side // 2, task.side]


def _task(name: str, weights: Path = Path()):
    pack = toy.pack()
    params = registry.MODELS[name].presets()["smoke"]
    return registry.MODELS[name].make(params, pack, toy.split(pack), weights), params


def test_a_processor_without_bfloat16_trains_in_float32(monkeypatch) -> None:
    """Emulated, it took fifteen times as long: a run of an hour would take most of a day."""
    for native, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(
            loop, "fitting_dtype", lambda kind, native=native: ("bfloat16" if native else "float32", "")
        )
        with loop.autocast():
            assert torch.nn.Linear(8, 8)(torch.zeros(1, 8)).dtype == wanted


def test_not_a_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    task, params = _task("judge")
    params = dataclasses.replace(params, save_every=2, report_every=2)
    honest = task.turns

    def spoilt(step, chance):
        for group, losses in honest(step, chance):
            yield group, {k: v * (float("nan") if step == 5 else 1) for k, v in losses.items()}

    task.turns = spoilt
    with pytest.raises(UserError, match="diverged at step 5"):
        list(loop.train(task, params, tmp_path))
    assert torch.load(tmp_path / checkpoints.FILE, weights_only=True)["step"] == 4


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    next(run := _run("judge", tmp_path))
    run.close()
    with pytest.raises(UserError, match="batch_size"):
        next(_run("judge", tmp_path, batch_size=5))
    with pytest.raises(UserError, match="another configuration"):
        next(_run("emoji-clip", tmp_path))


def test_a_damaged_checkpoint_and_a_full_disk_say_so(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / checkpoints.FILE).write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged"):
        next(_run("judge", tmp_path))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="disk space"):
        list(_run("judge", tmp_path / "full"))
    assert not list((tmp_path / "full").glob("checkpoint*"))


def test_the_command_trains_and_goes_on(tmp_path: Path, capsys) -> None:
    arguments = ["judge", "--preset", "smoke", "--out", str(tmp_path), "--weights", str(tmp_path)]
    assert command.main(arguments) == 0
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 15, 20]
    assert list(tmp_path.glob("sheet-*.png"))
    assert command.main(arguments) == 0, "a finished run is only exported again"
    recipe = json.loads((tmp_path / "judge" / "training.json").read_text())
    assert recipe["preset"] == "smoke"
    assert recipe["data"]
    assert command.main([*arguments, "--batch-size", "4"]) == 2
    assert "another configuration" in capsys.readouterr().err


def test_smoke_models_load_offline_and_are_evaluated(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys = toy.pack()
    rows = [{"slug": "box-1", "style": "flat", "seed": 3, "colour": "red", "en": "a red box 1", "zh": "红色的方盒1"}]
    monkeypatch.setattr(gan_marks, "SAMPLES", 100)
    monkeypatch.setattr(prompts, "load", lambda _subjects: {"exam": rows, "colours": rows, "sheet": rows})
    done = list(evaluate.run(list(evaluate.EXAMINERS), weights, toys, toy.split(toys)))[-1]
    assert isinstance(done, Done)
    for name, report in done.value.items():
        assert report.figures
        told = json.loads((weights / name / "figures.json").read_text(encoding="utf-8"))
        assert told["weights"] == shipped.digests(weights / name)
        card = (weights / name / "README.md").read_text(encoding="utf-8")
        assert "CC-BY-4.0" in card
        assert "Twemoji" in card


def test_a_smoke_run_makes_the_models_it_needs(tmp_path: Path) -> None:
    assert registry._smoked("emoji-diffusion", tmp_path / "out", tmp_path) == tmp_path / "out" / "needs"
    for need in registry.MODELS["emoji-diffusion"].needs:
        assert registry.require(tmp_path / "out" / "needs", need)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="emoji-clip is needed first"):
        registry.require(tmp_path, "emoji-clip")


def test_the_latents_of_an_exported_vae_are_white(weights: Path) -> None:
    toys = toy.pack()
    vae = shipped.load_vae(weights / "emoji-vae")
    known = torch.tensor(toy.split(toys).train(toys))
    with torch.no_grad():
        latents = vae.encode(canvas.white(canvas.shelf(toys.pixels, 128)[known])).latent_dist.mean
    assert latents.mean((0, 2, 3)).abs().max() < 0.1
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.1
    assert vae.config.scaling_factor == 1


def test_the_pipeline_reads_words_as_clip_does_and_stores_them_once(weights: Path) -> None:
    """Its text_encoder folder is all of emoji-clip, so clip can be had from the pipeline's folder alone."""
    pipeline = marks.load_pipeline(weights / "emoji-diffusion")
    model, tokenizer = shipped.load_clip(weights / registry.WITHIN["emoji-clip"])
    ids = tokens.encode(tokenizer, ["方盒1，扁平风格"], tokens.LENGTH)
    with torch.no_grad():
        assert torch.allclose(
            pipeline.text_encoder(ids)[0], model.text_model(input_ids=ids).last_hidden_state, atol=1e-5
        )
    assert pipeline.vae_scale_factor == 8
    seer = witness.load(weights / "emoji-diffusion", "cpu")
    assert seer is not None, "and it can look at what it asked for"
    toys = toy.pack()
    learnt = {toys.concepts[toys.pictures[i].concept].name.en for i in toy.split(toys).train(toys)}
    assert sorted(seer.names["en"]) == sorted(learnt)
    for name, within in registry.WITHIN.items():
        told = json.loads((weights / within / "training.json").read_text(encoding="utf-8"))
        assert told == json.loads((weights / name / "training.json").read_text(encoding="utf-8")), (
            "the cards come along"
        )
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.float32}


def test_the_end_token_has_the_highest_id_and_captions_fit(weights: Path) -> None:
    _, tokenizer = shipped.load_clip(weights / "emoji-clip")
    assert tokenizer.eos_token_id == len(tokenizer) - 1
    ids = tokens.encode(tokenizer, ["Box 1", "ＢＯＸ 1", "🙂" * 50], tokens.LENGTH)
    assert ids.shape == (3, tokens.LENGTH)
    assert ids[0].equal(ids[1]), "NFKC and lower case"
    assert (ids == tokenizer.eos_token_id).any(1).all()


SHIPPED = sorted(p.parent for p in (splits.ASSETS / "weights").rglob("figures.json"))
NAMED = {within: name for name, within in registry.WITHIN.items()}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_models_load_offline_and_their_figures_are_of_these_weights(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert told["weights"] == shipped.digests(folder)
    assert all(file.stat().st_size <= 9 * 2**20 for file in folder.rglob("*"))
    load = {
        "emoji-clip": shipped.load_clip,
        "emoji-vae": shipped.load_vae,
        "emoji-morph": shipped.load_morph,
        "emoji-gan": shipped.load_gan,
        "emoji-diffusion": marks.load_pipeline,
    }[NAMED.get(folder.relative_to(splits.ASSETS / "weights").as_posix(), folder.name)]
    assert load(folder)
