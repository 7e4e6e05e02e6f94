"""The libraries' talk, kept out of the app's terminal."""

from __future__ import annotations

from importlib import import_module


def hush(*libraries: str) -> None:
    """No progress bars, for the page has its own, and no warnings: they are for whoever writes the program, and some
    quote a visitor's prompt. libraries: "transformers", "diffusers"; imports them."""
    for library in libraries:
        logging = import_module(f"{library}.utils.logging")
        logging.set_verbosity_error()
        logging.disable_progress_bar()
