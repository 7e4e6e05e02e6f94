"""What can be set when the app starts: each as an argument, and as an AIGC_* environment variable."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from aigc_demo.device import DEVICES, DTYPES

PREFIX = "AIGC_"
YES = ("1", "true", "yes", "on")
NO = ("", "0", "false", "no", "off")


def setting(default: Any, help: str, **options: Any) -> Any:
    """A field of Settings. options: what argparse's add_argument takes beside the help."""
    return field(default=default, metadata={"help": help, **options})


@dataclass(frozen=True)
class Settings:
    """How this process serves. Frozen: nothing changes it after the start."""

    host: str | None = setting(None, "address to listen on (127.0.0.1; on a Space what the Space says)")
    port: int = setting(7860, "port to listen on; the next free one if it is taken", type=int)
    share: bool = setting(False, "also open a public link for a week; needs --auth or --open")
    auth: str = setting("", "user:password pairs, comma-separated, that the page asks for")
    open: bool = setting(False, "with --share: let anyone who has the link in, without a password")
    root_path: str | None = setting(None, "path prefix behind a reverse proxy, such as /demo")
    device: str = setting("auto", "where models run", choices=DEVICES)
    dtype: str = setting("auto", "number format of the models", choices=DTYPES)
    compile: bool = setting(
        False, "compile diffusion models, for a GPU: a slow first picture, quicker ones after (not on ZeroGPU)"
    )
    models_dir: Path = setting(Path("models"), "folder with models of your own, one folder each", type=Path)
    cache_dir: Path | None = setting(None, "where converted weights are kept (the user's cache folder)", type=Path)
    offline: bool = setting(False, "never ask the network for weights")
    concurrency: int = setting(2, "how many requests run at the same time", type=int)
    queue_size: int = setting(40, "how many more may wait; others are asked to come back", type=int)
    mcp: bool = setting(False, "also serve the API as MCP tools")
    log_level: str = setting("warning", "how much to print", choices=("debug", "info", "warning", "error"))

    @property
    def credentials(self) -> list[tuple[str, str]]:
        """The (user, password) pairs of `auth`."""
        pairs = [pair.partition(":") for pair in self.auth.split(",") if pair]
        return [(user.strip(), password) for user, _, password in pairs]


def read(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the command line; what it does not say from the environment; else the defaults.

    Exits with a message where a value makes no sense.
    """
    parser = argparse.ArgumentParser(
        prog="app.py",
        description="A hands-on page for generative models.",
        epilog=f"Each option can also be set as an environment variable: --models-dir as {PREFIX}MODELS_DIR.",
    )
    for entry in fields(Settings):
        options = dict(entry.metadata)
        text = options.pop("help").replace("%", "%%")
        fallback = environment.get(PREFIX + entry.name.upper(), "")
        if entry.default not in (None, "", False):
            text += f" (default: {entry.default})"
        if entry.default is False:
            if fallback.lower() not in (*YES, *NO):
                parser.error(f"{PREFIX}{entry.name.upper()}={fallback!r}: choose from {', '.join((*YES, *NO[1:]))}")
            options.update(action=argparse.BooleanOptionalAction, default=fallback.lower() in YES)
        else:
            # a string default goes through `type`, and argparse does not check it against `choices`
            options.update(default=fallback or entry.default)
            if fallback and fallback not in options.get("choices", (fallback,)):
                parser.error(f"{PREFIX}{entry.name.upper()}={fallback!r}: choose from {', '.join(options['choices'])}")
        parser.add_argument("--" + entry.name.replace("_", "-"), help=text, **options)
    settings = Settings(**vars(parser.parse_args(arguments)))
    if settings.share and not (settings.auth or settings.open):
        parser.error(
            "--share makes the page public: add --auth user:password, or --open if anyone with the link may come in"
        )
    if settings.auth and not all(user and password for user, password in settings.credentials):
        parser.error("--auth takes user:password, or several of them separated by commas")
    if not 1 <= settings.port <= 65535:
        parser.error("--port goes from 1 to 65535")
    if not (1 <= settings.concurrency <= 64 and 1 <= settings.queue_size <= 10_000):
        parser.error("--concurrency goes from 1 to 64, --queue-size from 1 to 10000")
    return settings
