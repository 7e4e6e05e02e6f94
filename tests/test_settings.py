"""What can be set at the start: by argument, by environment, and refused with a message where it makes no sense."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from aigc_demo.settings import Settings, read

ROOT = Path(__file__).parent.parent

# name -> (as written, as read, another as written, as read)
SAMPLES: dict[str, tuple[str, Any, str, Any]] = {
    "host": ("0.0.0.0", "0.0.0.0", "::1", "::1"),
    "port": ("8000", 8000, "9000", 9000),
    "auth": ("ann:secret", "ann:secret", "bob:se:cret", "bob:se:cret"),
    "root_path": ("/demo", "/demo", "/other", "/other"),
    "device": ("cpu", "cpu", "cuda", "cuda"),
    "dtype": ("float32", "float32", "bfloat16", "bfloat16"),
    "models_dir": ("here", Path("here"), "there", Path("there")),
    "cache_dir": ("here", Path("here"), "there", Path("there")),
    "concurrency": ("3", 3, "4", 4),
    "queue_size": ("5", 5, "6", 6),
    "log_level": ("info", "info", "debug", "debug"),
}
SWITCHES = [entry.name for entry in fields(Settings) if entry.default is False]
ENOUGH = {"share": ["--open"]}


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return "AIGC_" + name.upper()


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str], environment: dict[str, str]) -> str:
    with pytest.raises(SystemExit) as caught:
        read(arguments, environment)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]  # above it stands the usage, which names every option


# Started without anything said, the app is private: this machine only, no link, nothing public.
def test_defaults():
    assert read([], {}) == Settings()
    assert Settings().host is None
    assert not Settings().share


# A setting without a sample here would go untested.
def test_every_setting_is_tested():
    assert {*SAMPLES, *SWITCHES} == {entry.name for entry in fields(Settings)}


# A container sets the environment, a person the command line; who types it last means it.
@pytest.mark.parametrize("name", SAMPLES)
def test_arguments_win_over_the_environment(name: str):
    one, as_one, other, as_other = SAMPLES[name]
    assert getattr(read([], {variable(name): one}), name) == as_one
    assert getattr(read([option(name), other], {}), name) == as_other
    assert getattr(read([option(name), other], {variable(name): one}), name) == as_other
    assert getattr(read([], {variable(name): ""}), name) == getattr(Settings(), name)


# A switch that the environment turns on can be turned off again on the command line.
@pytest.mark.parametrize("name", SWITCHES)
def test_switches(name: str):
    extra = ENOUGH.get(name, [])
    for yes in ("1", "true", "TRUE", "yes", "on"):
        assert getattr(read(extra, {variable(name): yes}), name) is True
    for no in ("", "0", "false", "No", "off"):
        assert getattr(read(extra, {variable(name): no}), name) is False
    assert getattr(read([option(name), *extra], {variable(name): "0"}), name) is True
    assert getattr(read(["--no-" + option(name)[2:]], {variable(name): "1"}), name) is False


# AIGC_OFFLINE=y that is silently "no" would fetch gigabytes on somebody's telephone.
@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_that_is_neither_yes_nor_no_is_refused(name: str, capsys: pytest.CaptureFixture[str]):
    said = refusal(capsys, ENOUGH.get(name, []), {variable(name): "maybe"})
    assert f"{variable(name)}='maybe'" in said


# --share puts the page on the internet; that takes a password, or a person who says that it needs none.
@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--share"], {}), ([], {"AIGC_SHARE": "1"}), (["--share", "--auth", ""], {})]
)
def test_share_asks_for_auth_or_open(
    arguments: list[str], environment: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    said = refusal(capsys, arguments, environment)
    assert "--auth user:password" in said
    assert "--open" in said


# Either of the two is enough, wherever it was said.
def test_share_with_auth_or_open():
    assert read(["--share", "--open"], {}).share
    assert read(["--share"], {"AIGC_AUTH": "ann:secret"}).share
    assert not read(["--open"], {}).share


# A password may hold a colon; several people can have one each.
def test_credentials():
    assert read(["--auth", "ann:secret,bob:a:b"], {}).credentials == [("ann", "secret"), ("bob", "a:b")]
    assert read([], {}).credentials == []


# Found out at the start, in words, and not as a traceback at the first request.
@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--device", "tpu"], {}, "--device"),
        ([], {"AIGC_DEVICE": "tpu"}, "AIGC_DEVICE='tpu'"),
        (["--dtype", "int8"], {}, "--dtype"),
        ([], {"AIGC_DTYPE": "int8"}, "bfloat16"),
        (["--log-level", "loud"], {}, "--log-level"),
        (["--port", "http"], {}, "--port"),
        ([], {"AIGC_PORT": "http"}, "--port"),
        (["--port", "0"], {}, "--port"),
        (["--port", "65536"], {}, "--port"),
        (["--port", "-1"], {}, "--port"),
        (["--concurrency", "0"], {}, "--concurrency"),
        (["--concurrency", "65"], {}, "--concurrency"),
        (["--queue-size", "0"], {}, "--queue-size"),
        ([], {"AIGC_QUEUE_SIZE": "-1"}, "--queue-size"),
        (["--auth", "ann"], {}, "user:password"),
        (["--auth", ":secret"], {}, "user:password"),
        (["--auth", "ann:"], {}, "user:password"),
        (["--auth", "ann:secret,bob"], {}, "user:password"),
        (["--colour", "red"], {}, "--colour"),
        (["prompt"], {}, "prompt"),
    ],
)
def test_what_makes_no_sense(
    arguments: list[str], environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert said in refusal(capsys, arguments, environment)


# A person looking for help gets it at once: importing gradio or torch first would take seconds.
def test_help_is_complete_and_quick():
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "app.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    for entry in fields(Settings):
        assert option(entry.name) in ran.stdout
    assert "AIGC_MODELS_DIR" in ran.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.stderr.splitlines()}
    assert "aigc_demo" in imported
    assert not imported & {"gradio", "torch", "transformers", "diffusers"}
