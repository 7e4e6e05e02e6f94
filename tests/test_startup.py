"""The page is up before anything heavy is imported, finds a free port, and has a title and an icon."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SERVED = """
import json, sys
from pathlib import Path
import httpx
from aigc_demo.engine import Engine
from aigc_demo.settings import Settings
from aigc_demo.shell import build, serve

settings = Settings(port=int(sys.argv[1]), models_dir=Path(sys.argv[2]), cache_dir=Path(sys.argv[2]), offline=True)
page, say = build(Engine(settings))
_, url, _ = serve(page, say, settings, prevent_thread_lock=True, quiet=True)
client = httpx.Client(base_url=url, trust_env=False, timeout=60)
html = client.get("/")
heavy = sorted({"torch", "transformers", "diffusers"} & set(sys.modules))
icon = client.get("/favicon.ico")
asked = client.head("/")
print(json.dumps({
    "url": url, "status": html.status_code, "heavy": heavy, "html": html.text, "icon": icon.content.hex(),
    "asked": [asked.status_code, "content-length" in asked.headers],
}))
page.close(verbose=False)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process serves while somebody else listens on the port that it was told; `taken` is that port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        folder = tmp_path_factory.mktemp("startup")
        ran = subprocess.run(
            [sys.executable, "-c", SERVED, str(taken), str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
        )
    assert ran.returncode == 0, ran.stderr
    *said, found = ran.stdout.splitlines()
    return json.loads(found) | {"taken": taken, "said": "\n".join(said)}


# A person sees the page seconds earlier because torch is imported with the first need for it and not before.
def test_nothing_heavy_is_imported_for_the_page(served: dict[str, Any]):
    assert served["status"] == 200
    assert served["heavy"] == []


# gradio asks so whether the page is up, and refuses to start after three seconds: on a busy machine it takes longer to write.
def test_whether_it_is_up_is_answered_without_writing_the_page(served: dict[str, Any]):
    assert served["asked"] == [200, False]


# Two apps on one machine is ordinary: the second goes to the next port, and says which, or nobody would find it.
def test_a_taken_port_leads_to_the_next(served: dict[str, Any]):
    port = int(served["url"].rstrip("/").rpartition(":")[2])
    assert port > served["taken"]
    assert f"Port {served['taken']} is taken; using {port}." in served["said"]


# The name in the browser's tab, and what a link to the page is shown as elsewhere.
def test_the_page_has_a_title(served: dict[str, Any]):
    assert '<meta property="og:title" content="aigc-demo · Generative AI, hands on" />' in served["html"]
    config = json.loads(served["html"].partition("window.gradio_config = ")[2].partition(";</script>")[0])
    assert config["title"] == "aigc-demo · Generative AI, hands on"


# Without one of its own the tab would show gradio's.
def test_the_page_has_our_icon(served: dict[str, Any]):
    assert bytes.fromhex(served["icon"]) == (ROOT / "assets" / "favicon.png").read_bytes()


# The header stands in the page itself, in both languages, so that it is there before any script has run.
def test_the_page_speaks_both_languages_at_once(served: dict[str, Any]):
    config = json.loads(served["html"].partition("window.gradio_config = ")[2].partition(";</script>")[0])
    header = next(c for c in config["components"] if c["props"].get("elem_id") == "aigc-header")["props"]["value"]
    for words in ("Generative AI, hands on", "亲手体验生成式人工智能", "lang='zh'", "lang='en'"):
        assert words in header


# gradio's page renews the progress of all that an event names at every message, shown or not: on two cores a third of its time.
def test_progress_that_is_not_shown_is_kept_in_one_place(served: dict[str, Any]):
    config = json.loads(served["html"].partition("window.gradio_config = ")[2].partition(";</script>")[0])
    hidden = [event for event in config["dependencies"] if event["show_progress"] == "hidden"]
    assert len(hidden) > 100
    assert len({tuple(event["show_progress_on"]) for event in hidden}) == 1


# Fonts and scripts from elsewhere would leak who reads the page, and be missing offline.
def test_the_page_asks_for_nothing_of_other_hosts_that_we_chose(served: dict[str, Any]):
    assert "fonts.googleapis.com" not in served["html"]
