"""The READMEs against the code and the files: tables, commands, links, and the front matter that a Space reads."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from aigc_demo.docs import TABLES
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.latent_rows import REBUILD
from aigc_demo.generators.text_rows import TEXT

ROOT = Path(__file__).parent.parent
READMES = {"en": "README.md", "zh": "README.zh.md"}
COMMANDS = (
    "python -m pip install -r requirements.txt && python app.py",
    "python -m pip install -r requirements-dev.txt && python -m pytest -n 2 --dist loadfile",
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def text_of(language: str) -> str:
    return (ROOT / READMES[language]).read_text(encoding="utf-8")


def front_matter() -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", text_of("en"), re.DOTALL)
    assert found
    return yaml.safe_load(found[1])


# A table that says another default than the code sends people looking for a fault that is not there.
@pytest.mark.parametrize("language", READMES)
@pytest.mark.parametrize("name", TABLES)
def test_tables_are_the_codes(name: str, language: str):
    found = re.search(rf"<!-- table: {name} -->\n(.*?)\n<!-- end -->", text_of(language), re.DOTALL)
    assert found, f"no table of {name}"
    assert found[1] == TABLES[name](language), f"python -m aigc_demo.docs prints the {name} as they are"


# A pipe or a line end inside a help text would break a table's columns in silence.
@pytest.mark.parametrize("language", READMES)
@pytest.mark.parametrize("name", TABLES)
def test_tables_have_straight_columns(name: str, language: str):
    table = TABLES[name](language)
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
    assert len(columns) > 2
    assert set(columns) == {columns[0]}


# Readers of Chinese get the whole README, section by section, and the same numbers of pictures, links and code.
def test_the_translation_is_whole():
    def shape(language: str) -> dict[str, Any]:
        text = text_of(language)
        prose = FENCE.sub("", text)
        return {
            "headings": [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)],
            "tables": re.findall(r"<!-- table: (\w+) -->", text),
            "code": len(FENCE.findall(text)),
            "pictures": len(re.findall(r"!\[", prose)),
            "outside": sorted(link for link in LINK.findall(prose) if "://" in link),
        }

    assert shape("zh") == shape("en")


# Each README leads to the other.
def test_the_readmes_lead_to_each_other():
    assert "README.zh.md" in LINK.findall(text_of("en"))
    assert "README.md" in LINK.findall(text_of("zh"))


# These two lines are the whole installation; people copy them as they stand.
@pytest.mark.parametrize("language", READMES)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_stand_there(command: str, language: str):
    assert f"\n    {command}\n" in text_of(language)
    for file in re.findall(r"requirements\S*\.txt", command):
        assert (ROOT / file).is_file()


# A dead link or a missing picture is the first thing that a visitor of the repository sees.
@pytest.mark.parametrize("language", READMES)
def test_links_and_pictures_are_there(language: str):
    near = [link for link in LINK.findall(FENCE.sub("", text_of(language))) if "://" not in link]
    assert f"assets/screenshots/text-{language}.png" in near
    for link in near:
        path, _, anchor = link.partition("#")
        assert not path or (ROOT / path).is_file(), f"{READMES[language]} leads to {link}"
        assert not anchor or anchor in headings(ROOT / (path or READMES[language])), f"{link}: no such heading"


def headings(file: Path) -> set[str]:
    """The anchors that a host makes of a file's headings."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", file.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


# A Space refuses to build on front matter that it cannot read or that names what is not there.
def test_the_front_matter_is_a_spaces():
    found = front_matter()
    assert found["sdk"] == "gradio"
    assert found["title"]
    assert found["license"] == "apache-2.0"
    assert len(found["short_description"]) <= 60
    assert (ROOT / found["app_file"]).is_file()
    assert isinstance(found["python_version"], str), "3.10 without quotes is the number 3.1"
    assert Version("3.10") <= Version(found["python_version"]) < Version("3.13")


# A Space installs sdk_version beside requirements.txt: the two must agree, and be what the tests ran on.
def test_the_sdk_version_is_one_that_we_admit():
    sdk = front_matter()["sdk_version"]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = next(r for line in lines if line and line[0].isalpha() and (r := Requirement(line)).name == "gradio")
    assert wanted.specifier.contains(sdk)
    assert wanted.specifier.contains(version("gradio"))
    assert Version(sdk).major == Version(version("gradio")).major


# The hub shows these models beside the Space; they are the list's.
def test_the_models_of_the_front_matter_are_the_lists():
    rows = [*TEXT.rows.values(), *IMAGES.rows.values(), *REBUILD.rows.values()]
    assert front_matter()["models"] == [row.source.repo for row in rows if row.source.repo]
