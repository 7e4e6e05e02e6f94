"""The house keeps its floors: imports only go down, and the heavy libraries stay out until they are needed.

DESIGN.md draws the picture; `FLOORS` below is the same picture for the machine.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    0: ("words", "errors", "params", "results", "worker"),
    1: ("device", "weights", "models", "recipe", "pictures", "png", "settings", "engine", "nets", "animation"),
    2: ("generators", "training"),
    3: ("ui",),
    4: ("tabs",),
    5: ("shell", "docs"),
    6: ("app",),
}
PAGE = 3
"""The lowest floor that knows gradio."""
FAMILIES = {"text", "diffusion", "latent", "gan"}
HEAVY = ("torch", "transformers", "diffusers", "gradio")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in [ROOT / "app.py", *sorted((ROOT / "aigc_demo").rglob("*.py"))]}


def floor(module: str) -> int | None:
    """The floor of "aigc_demo.ui.form" or "app"; None for a module that the map does not know."""
    if module == "aigc_demo":
        return 0  # the version, and nothing else
    name = module.removeprefix("aigc_demo.").partition(".")[0]
    return next((number for number, names in FLOORS.items() if name in names), None)


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that this one names in an import, at its top, inside a function or for type checking only."""
    return frozenset(_imports(module))


def _imports(module: str) -> Iterator[str]:
    path = PATHS[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            for alias in node.names:  # "from aigc_demo import recipe" means the module and not the package
                whole = f"{base}.{alias.name}"
                yield whole if whole in PATHS else base


def ours(module: str) -> set[str]:
    """Its imports within this house, itself left out."""
    return {name for name in imports(module) if name in PATHS and name != module}


def reached(module: str, within: str = "") -> set[str]:
    """Everything of ours that it imports, and what that imports, as far as the names begin with `within`."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in ours(waiting.pop()) - found:
            if name.startswith(within):
                found.add(name)
                waiting.append(name)
    return found


each_module = pytest.mark.parametrize("module", PATHS)


# The checks below would pass in an empty house.
def test_the_modules_are_found() -> None:
    assert {"app", "aigc_demo.params", "aigc_demo.generators.text", "aigc_demo.tabs.text"} <= set(PATHS)
    assert "aigc_demo.params" in imports("aigc_demo.generators.text")
    assert "torch" in imports("aigc_demo.device")  # inside a function
    assert "aigc_demo.words" in reached("app")


# A module without a floor would escape the rules: a new one is put on the map, here and in DESIGN.md.
@each_module
def test_every_module_has_a_floor(module: str) -> None:
    assert floor(module) is not None


# What is below can be read, tested and replaced without knowing what is above.
@each_module
def test_imports_only_go_down(module: str) -> None:
    own = floor(module)
    assert own is not None
    assert {name: floor(name) for name in ours(module) if (floor(name) or 0) > own} == {}


# Two modules that need each other are one module in two files.
@each_module
def test_no_import_goes_in_a_circle(module: str) -> None:
    assert module not in reached(module)


# A generator runs in a script, a test or a benchmark: only the page knows the page's library.
@each_module
def test_gradio_stays_on_the_upper_floors(module: str) -> None:
    own = floor(module)
    assert own is not None
    if own < PAGE:
        assert not {name for name in imports(module) if name.partition(".")[0] in ("gradio", "gradio_client")}


# Adding or removing a tab touches its own file and one line; what tabs share lies in ui/.
@each_module
def test_no_tab_imports_a_tab(module: str) -> None:
    if module.startswith("aigc_demo.tabs."):
        assert not {name for name in ours(module) if name.startswith("aigc_demo.tabs.")}


# A family can be understood, and left out, by itself; its helper modules bear its name, or none.
@each_module
def test_no_family_imports_another(module: str) -> None:
    def family(name: str) -> str | None:
        first = name.removeprefix("aigc_demo.generators.").partition("_")[0]
        return first if name.startswith("aigc_demo.generators.") and first in FAMILIES else None

    own = family(module)
    if own:
        assert {family(name) for name in reached(module, "aigc_demo.generators.")} <= {own, None}


# The page is up before torch is needed: importing a family's declarations must not cost its libraries' ten seconds.
@pytest.mark.parametrize(
    "module",
    [
        "aigc_demo.generators.text",
        "aigc_demo.generators.text_rows",
        "aigc_demo.generators.diffusion",
        "aigc_demo.generators.diffusion_rows",
        "aigc_demo.generators.gan_rows",
        "aigc_demo.engine",
    ],
)
def test_heavy_libraries_are_not_imported_early(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
