"""Params -> components: a tab places them by name and never retypes a range, a label or a help text."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import gradio as gr
from gradio.components import Component

from aigc_demo.params import RANDOM, Choice, Params, Range, Seed, Switch, Text
from aigc_demo.ui.words import Catalogue

MOST_BUTTONS = 4
"""A choice among more of them is a list that opens."""


class Form:
    """The components of one Params. elem_id is "<prefix>-<field>", for scripts, styles and tests.

    at_first: values that suit the model that stands there at first better than the family's defaults.
    """

    def __init__(
        self, params: type[Params], prefix: str, say: Catalogue, at_first: Mapping[str, Any] = MappingProxyType({})
    ):
        self.params = params
        self.prefix = prefix
        self.components: dict[str, Component] = {}
        self._say = say
        self._values = {**params.defaults(), **at_first}

    def place(self, name: str, **options: Any) -> Any:
        """Make the component of one field where the layout stands now. options: the component's own, winning over ours."""
        _, marker = self.params.markers()[name]
        common = {
            "label": self._say(marker.label),
            "info": self._say(marker.help),
            "value": self._values.get(name),
            "elem_id": f"{self.prefix}-{name}",
        }
        component: Component
        if isinstance(marker, Range):
            extra = {"minimum": marker.low, "maximum": marker.high, "step": marker.step}
            component = gr.Slider(**common | extra | options)
        elif isinstance(marker, Seed):
            component = gr.Number(**common | {"precision": 0, "minimum": RANDOM} | options)
        elif isinstance(marker, Choice):
            choices = [(self._say(words), value) for value, words in marker.options.items()]
            kind = gr.Radio if len(choices) <= MOST_BUTTONS else gr.Dropdown
            component = kind(**common | {"choices": choices} | options)
        elif isinstance(marker, Switch):
            component = gr.Checkbox(**common | options)
        elif isinstance(marker, Text) and "choices" in options:
            component = gr.Dropdown(**common | options)
        elif isinstance(marker, Text):
            component = gr.Textbox(**common | {"lines": marker.lines} | options)
        else:
            raise TypeError(f"{name}: a {type(marker).__name__} has no component")
        self.components[name] = component
        return component

    def adopt(self, name: str, component: Component) -> Component:
        """Use a component that the tab made itself for a field."""
        self.components[name] = component
        return component

    @property
    def inputs(self) -> list[Component]:
        """The placed components, in the order in which they were placed; `names` goes with them."""
        return list(self.components.values())

    @property
    def names(self) -> list[str]:
        return list(self.components)
