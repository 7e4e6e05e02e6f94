"""What goes wrong through no fault of the program, said in both languages, with what to change.

A generator raises these; one place (`ui/run.py`) turns them into the page's message. Anything else
that escapes is a fault of ours: it is logged with its traceback and shown as a short apology.
"""

from __future__ import annotations

from aigc_demo.words import Words


class UserError(Exception):
    """Something the person can change. `words` says what happened and what to do about it."""

    def __init__(self, words: Words):
        super().__init__(words.en)
        self.words = words


class Invalid(UserError):
    """A request whose values are out of range or of the wrong kind."""


class TooLong(UserError):
    """A prompt that does not fit: too many tokens for the context, or too many characters to read."""


class ModelUnavailable(UserError):
    """Weights that could not be found, fetched or loaded."""


class ModelDamaged(ModelUnavailable):
    """A model folder that is incomplete, truncated, or asks for something we refuse (pickle, remote code)."""


class OutOfMemory(UserError):
    """The device has not enough memory for this model or this request."""


class Stopped(UserError):
    """A run that was stopped before it had anything to show."""
