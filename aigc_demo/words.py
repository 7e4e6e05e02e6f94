"""Words: one sentence in every language of the page.

Whatever a person reads is made here as a `Words`, so that a missing translation is a missing argument
and not an English sentence in the middle of a Chinese page.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Words:
    """A text in English and Chinese. `str(words)` is the English one."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en

    def to(self, language: str) -> str:
        """The text for a language tag such as "zh-CN"; English where the language is not ours."""
        return self.zh if language.lower().startswith("zh") else self.en

    def format(self, **values: Any) -> Words:
        """`str.format` in each language; a value that is itself a Words is put in that language."""
        return Words(
            *(
                getattr(self, field.name).format(
                    **{k: v.to(field.name) if isinstance(v, Words) else v for k, v in values.items()}
                )
                for field in fields(self)
            )
        )


LANGUAGES: dict[str, str] = {"en": "English", "zh": "中文"}
"""Language tag -> its own name, in the order of the page's switch."""
