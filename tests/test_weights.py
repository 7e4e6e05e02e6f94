"""Where weights come from: the order of places, the hub (a stand-in on this machine), failures, two at once, cancel."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_standin import COMMIT, Hub
from tiny import make_tiny_llama

from aigc_demo.errors import ModelDamaged, ModelUnavailable
from aigc_demo.results import Done, Step, finish
from aigc_demo.weights import Found, Places, Source, dropped_in, hub, locate, obtain, valid_hub_id

ROOT = Path(__file__).parent.parent
SOURCE = Source(repo="owner/tiny")
SECONDS = 12
"""Seconds, not minutes: the hub has 5 to answer; the rest is a slow test machine."""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Empty places, and no way out: the hub library's cache is empty too, and its endpoint a closed port."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_ETAG_TIMEOUT", "AIGC_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return Places(tmp_path / "cache", tmp_path / "models")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository like real ones: a model, and beside it what must never be fetched."""
    folder = make_tiny_llama(tmp_path_factory.mktemp("repository"), vocab=1000)
    for name in ("pytorch_model.bin", "modeling_tiny.py", "README.md", "model.fp16.safetensors", "onnx/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not wanted")
    return folder


@pytest.fixture
def standin(places: Places, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub({"owner/tiny": repository}) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def refused(source: Source, places: Places) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        finish(obtain(source, places))
    return caught.value


def latin(zh: str) -> set[str]:
    """The Latin words of a Chinese message, without paths, hosts and what stands in brackets."""
    return set(re.findall(r"[A-Za-z]{3,}", re.sub(r"（.*?）|\S*[/.]\S*", " ", zh)))


# The page is up before any of these is needed; importing them here would make every start pay for them.
def test_import_is_light():
    heavy = "{'huggingface_hub', 'torch', 'transformers', 'gguf', 'safetensors', 'filelock', 'tqdm', 'gradio'}"
    code = f"import sys, aigc_demo.weights; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# A folder that a person put there is used instead of a download, under each of the three names people give it.
@pytest.mark.parametrize("name", ["tiny", "owner/tiny", "owner--tiny"])
def test_folder_under_models(places: Places, tiny_llama: Path, name: str):
    shutil.copytree(tiny_llama, places.models / name)
    assert locate(SOURCE, places) == Found(places.models / name, "folder")
    assert dropped_in(places.models) == [places.models / name]


# The list of dropped-in models shows models, not their parts, not other folders, and no hidden ones.
def test_dropped_in_shows_models_only(places: Places):
    assert dropped_in(places.models) == []
    for name in ("a/model_index.json", "a/unet/config.json", "b/c/config.json", "d/e/f/config.json", ".g/config.json"):
        (places.models / name).parent.mkdir(parents=True)
        (places.models / name).write_text("{}")
    assert dropped_in(places.models) == [places.models / "a", places.models / "b" / "c"]


# The order is a promise: shipped folder, dropped-in folder, an earlier download; each only where the former is absent.
def test_order_of_places(places: Places, tiny_llama: Path, standin: Hub, tmp_path: Path):
    finish(obtain(SOURCE, places))
    assert locate(SOURCE, places).origin == "hub"
    shutil.copytree(tiny_llama, places.models / "tiny")
    assert locate(SOURCE, places) == Found(places.models / "tiny", "folder")
    shipped = shutil.copytree(tiny_llama, tmp_path / "shipped")
    assert locate(Source(repo="owner/tiny", folder=shipped), places) == Found(shipped, "folder")


# A damaged folder is no reason to fail where the hub has the model, but it has to be told where nobody has it.
def test_damaged_folder_is_passed_over_and_told(places: Places, tiny_llama: Path, repository: Path, monkeypatch):
    folder = shutil.copytree(tiny_llama, places.models / "tiny")
    (folder / "model.safetensors").unlink()
    assert locate(SOURCE, places) is None
    assert "weights are missing" in refused(SOURCE, places).words.en
    with Hub({"owner/tiny": repository}) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        assert finish(obtain(SOURCE, places)).value.origin == "hub"


# For a folder that is the only source, its damage is the message, not a lecture on proxies.
def test_a_damaged_only_folder_says_what_is_wrong(places: Places, tmp_path: Path):
    assert isinstance(refused(Source(folder=tmp_path / "nowhere"), places), ModelDamaged)


# What arrives is the repository's files byte for byte, without pickles, programs and second copies; bytes add up.
def test_hub_download(places: Places, standin: Hub, repository: Path):
    *steps, done = obtain(SOURCE, places)
    assert isinstance(done, Done)
    found = done.value
    assert (found.origin, found.revision) == ("hub", COMMIT)
    names = {file.name for file in found.folder.rglob("*") if file.is_file()}
    assert names == {file.name for file in repository.iterdir() if file.suffix in (".json", ".jinja")} | {
        "model.safetensors"
    }
    assert all((found.folder / name).read_bytes() == (repository / name).read_bytes() for name in names)
    assert steps
    assert all(isinstance(step, Step) and step.stage == "fetch" for step in steps)
    assert [s.value.done for s in steps] == sorted(s.value.done for s in steps)


# A model that was fetched once works without network ever after.
def test_an_earlier_download_needs_no_network(places: Places, standin: Hub):
    finish(obtain(SOURCE, places))
    asked = len(standin.requests)
    items = list(obtain(SOURCE, places))
    assert len(items) == 1
    assert len(standin.requests) == asked


# A connection that breaks in the middle of the weights goes on where it broke, and the result is whole.
def test_torn_download_resumes(places: Places, standin: Hub, repository: Path, monkeypatch):
    monkeypatch.setattr("aigc_demo.weights.hub.MIB", 4096)  # pieces smaller than the tiny file, as real weights have
    standin.tears = {"model.safetensors": 2}
    found = finish(obtain(SOURCE, places)).value
    assert (found.folder / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()
    assert [wanted is not None for _, wanted in standin.downloads("model.safetensors")] == [False, True, True]


# A hub that changes bytes on the way is found out by the checksum, and what it sent is not kept.
def test_wrong_checksum_is_refused(places: Places, standin: Hub):
    standin.wrong = {"model.safetensors"}
    assert "checksum" in refused(SOURCE, places).words.en
    assert locate(SOURCE, places) is None
    assert not list((places.cache.parent / "hub").rglob("model.safetensors"))


# One flipped bit in one of three tries is weather, not an error.
def test_a_second_try_may_succeed(places: Places, standin: Hub, monkeypatch):
    standin.wrong = {"model.safetensors"}
    original = hub.sha256

    def then_right(*arguments):
        standin.wrong = set()
        return original(*arguments)

    monkeypatch.setattr(hub, "sha256", then_right)
    assert finish(obtain(SOURCE, places)).value.origin == "hub"


# A cached file that a crash cut short is fetched again instead of failing for ever.
def test_a_truncated_cached_file_is_repaired(places: Places, standin: Hub, repository: Path):
    folder = finish(obtain(SOURCE, places)).value.folder
    weights = (folder / "model.safetensors").resolve()
    weights.write_bytes(weights.read_bytes()[:1000])
    assert locate(SOURCE, places) is None
    found = finish(obtain(SOURCE, places)).value
    assert (found.folder / "model.safetensors").read_bytes() == (repository / "model.safetensors").read_bytes()


# A repository of pickles is refused by its list of files: nothing of it is fetched.
def test_pickles_are_never_fetched(places: Places, standin: Hub, tmp_path: Path):
    pickles = tmp_path / "pickles"
    pickles.mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (pickles / name).write_bytes(b"{}")
    standin.repos["owner/tiny"] = pickles
    assert "program code" in refused(SOURCE, places).words.en
    assert standin.downloads() == []


# A list of files that climbs out of its folder is an attack; nothing of it is fetched.
@pytest.mark.parametrize("name", ["../../evil.json", "/etc/evil.json", "a\\..\\evil.json", "C:/evil.json"])
def test_file_names_cannot_climb_out(places: Places, standin: Hub, name: str):
    standin.extra = [name]
    assert "outside" in refused(SOURCE, places).words.en
    assert standin.downloads() == []


# What the hub refuses has a reason that a person can act on.
@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (404, "RepoNotFound", "there is no model owner/tiny"),
        (404, "RevisionNotFound", "no such revision"),
        (403, "GatedRepo", "HF_TOKEN"),
        (401, "", "there is no model owner/tiny"),
        (500, "", "error 500"),
    ],
)
def test_refusals_in_words(places: Places, standin: Hub, status: int, code: str, says: str):
    standin.refusal = (status, code)
    assert says in refused(SOURCE, places).words.en


@contextlib.contextmanager
def unreachable(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An endpoint that cannot be reached: nobody listens, nobody answers, no such name, or no answer about names."""
    if kind == "closed port":
        yield "http://127.0.0.1:9"
    elif kind == "silent":
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    elif kind == "no such name":
        yield "http://hub.invalid"
    else:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(60))
        yield "http://hub.invalid"


# Without the hub a person waits seconds, not minutes, and then reads what was tried and what to do, in both languages.
@pytest.mark.parametrize("kind", ["closed port", "silent", "no such name", "silent name server"])
def test_unreachable_hub(places: Places, monkeypatch: pytest.MonkeyPatch, kind: str):
    with unreachable(kind, monkeypatch) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        started = time.monotonic()
        words = refused(SOURCE, places).words
        assert time.monotonic() - started < SECONDS
    for part in (str(places.cache), str(places.models / "tiny"), "Hugging Face", "HTTPS_PROXY", "HF_ENDPOINT"):
        assert part in words.en
        assert part in words.zh
    assert latin(words.zh) <= {"Hugging", "Face", "HTTPS", "PROXY", "ENDPOINT", "tiny"}


# Offline means that nobody is asked, by our own switch and by the hub library's.
@pytest.mark.parametrize("way", ["ours", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(places: Places, standin: Hub, monkeypatch: pytest.MonkeyPatch, way: str):
    if way == "ours":
        places = Places(places.cache, places.models, offline=True)
    else:
        monkeypatch.setenv(way, "1")
    assert "not asked" in refused(SOURCE, places).words.en
    assert standin.requests == []


# Cancel in the middle takes hold at once, keeps nothing, and the next try starts clean.
def test_cancel(places: Places, standin: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aigc_demo.weights.hub.MIB", 4096)
    standin.pause = 0.3
    run = obtain(SOURCE, places)
    while not standin.downloads("model.safetensors"):
        next(run)
    started = time.monotonic()
    run.close()
    assert time.monotonic() - started < 5
    assert locate(SOURCE, places) is None
    standin.pause = 0
    finish(obtain(SOURCE, places))
    deadline = time.monotonic() + 20  # the thread left behind ends at its next piece
    while list((places.cache.parent / "hub").rglob("*.incomplete")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list((places.cache.parent / "hub").rglob("*.incomplete"))
    assert not list((places.cache / "staging").glob("*"))


# Cancel also takes hold while the other side says nothing at all.
def test_cancel_while_nobody_answers(places: Places, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        run = obtain(SOURCE, places)
        next(run)
        started = time.monotonic()
        run.close()
        assert time.monotonic() - started < 2


FETCH = """
import sys
from pathlib import Path
from aigc_demo.results import finish
from aigc_demo.weights import Places, Source, obtain
print(finish(obtain(Source(repo="owner/tiny"), Places(Path(sys.argv[1]), Path("models")))).value.folder)
"""


# Two processes that want the same model at the same time fetch it once, and both have it.
def test_two_processes(places: Places, standin: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(places.cache.parent / "hub"))
    standin.pause = 0.1
    command = [sys.executable, "-c", FETCH, str(places.cache)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(folders) == 1
    assert len(standin.downloads("model.safetensors")) == 1


# Of two threads the second says that it waits, and then finds what the first one fetched.
def test_two_threads(places: Places, standin: Hub):
    standin.pause = 0.3
    first: list[Found] = []
    thread = threading.Thread(target=lambda: first.append(finish(obtain(SOURCE, places)).value))
    thread.start()
    while not standin.downloads():
        time.sleep(0.01)
    *steps, done = obtain(SOURCE, places)
    thread.join()
    assert any("Waiting" in step.value.words.en for step in steps)
    assert done.value == first[0]
    assert len(standin.downloads("model.safetensors")) == 1


# A disk without room is told before the download begins, with how much is needed.
def test_too_little_room(places: Places, standin: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aigc_demo.weights.hub.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert "GiB" in refused(SOURCE, places).words.en
    assert standin.downloads() == []


# A disk that fills up in the middle is told as such, not as a broken connection.
def test_full_disk(places: Places, standin: Hub, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    assert "is full" in refused(SOURCE, places).words.en


# Ids come from people and recipes; only the hub's own form may reach a path or a URL.
@pytest.mark.parametrize(
    "text", ["", "gpt2", "a/b/c", "../x", "a/..", "/etc/passwd", "a/b?x=1", "a--b/c", "o/" + "n" * 97]
)
def test_invalid_hub_ids(text: str):
    with pytest.raises(ModelUnavailable):
        valid_hub_id(text)


# What is valid stays as it is, less the space that comes with pasting.
def test_valid_hub_id():
    assert valid_hub_id(" Qwen/Qwen3-0.6B\n") == "Qwen/Qwen3-0.6B"


# The cache goes where the person says, else where AIGC_CACHE_DIR says, else where this system keeps caches.
def test_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("AIGC_CACHE_DIR", str(tmp_path))
    assert Places.at(cache=tmp_path / "mine").cache == tmp_path / "mine"
    assert Places.at().cache == tmp_path
    monkeypatch.delenv("AIGC_CACHE_DIR")
    assert "aigc-demo" in str(Places.at().cache)
