"""The page's static words: each `Words` becomes a key that the browser shows in its own language."""

from __future__ import annotations

from hashlib import blake2s

import gradio as gr
from gradio.i18n import I18nData

from aigc_demo.words import LANGUAGES, Words


class Catalogue:
    """Collects the words of a page while it is built, and hands them to gradio at launch."""

    def __init__(self) -> None:
        self.i18n = gr.I18n(**{language: {} for language in LANGUAGES})

    def __call__(self, words: Words) -> I18nData:
        """What to give a component as label, info, placeholder or value."""
        key = "w" + blake2s(f"{words.en}\0{words.zh}".encode(), digest_size=6).hexdigest()
        for language in LANGUAGES:
            self.i18n.translations[language][key] = words.to(language)
        return self.i18n(key)
