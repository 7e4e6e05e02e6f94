"""The door to transformers and diffusers: imported once, by one thread, and their talk kept out of the app's terminal."""

from __future__ import annotations

import threading
from importlib import import_module

_IMPORTING = threading.Lock()


def hush(*libraries: str) -> None:
    """No progress bars, for the page has its own, and no warnings: they are for whoever writes the program, and some
    quote a visitor's prompt. libraries: "transformers", "diffusers"; imports them.

    To be called before any `from diffusers import ...`: both libraries put another module in their place when they
    are imported, and a thread that comes upon them half way keeps the old one, which is nearly empty.
    """
    with _IMPORTING:
        for library in libraries:
            import_module(library)
            logging = import_module(f"{library}.utils.logging")
            logging.set_verbosity_error()
            logging.disable_progress_bar()
