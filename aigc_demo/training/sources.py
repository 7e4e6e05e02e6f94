"""Where the pictures and their names come from: npm packages, by pinned version and digest.

Licences matter here: what a model is trained on must be named beside it. Share-alike sets (openmoji,
emojione-v1) are left out on purpose.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_demo.errors import UserError
from aigc_demo.words import Words


@dataclass(frozen=True)
class Package:
    """One npm package. `integrity` is its registry digest (Subresource Integrity form)."""

    name: str
    version: str
    integrity: str
    licence: str
    credit: str

    @property
    def file(self) -> str:
        """The name that `npm pack` gives its archive."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


STYLE_PACKAGES = {
    "fluent": Package(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "sha512-D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
        "MIT",
        "Fluent Emoji by Microsoft Corporation",
    ),
    "flat": Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
        "MIT",
        "Fluent Emoji Flat by Microsoft Corporation",
    ),
    "noto": Package(
        "@iconify-json/noto",
        "1.2.9",
        "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
        "Apache-2.0",
        "Noto Emoji by Google Inc",
    ),
    "twemoji": Package(
        "@iconify-json/twemoji",
        "1.2.5",
        "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
        "CC-BY-4.0",
        "Twemoji, copyright Twitter, Inc and other contributors",
    ),
}
"""Style -> the package that draws it."""

FURTHER_PACKAGES = {
    "noto-v1": Package(
        "@iconify-json/noto-v1",
        "1.2.5",
        "sha512-/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
        "Apache-2.0",
        "Noto Emoji (v1) by Google Inc",
    ),
    "fxemoji": Package(
        "@iconify-json/fxemoji",
        "1.2.2",
        "sha512-UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
        "Apache-2.0",
        "Firefox OS Emoji by Mozilla",
    ),
    "emojione": Package(
        "@iconify-json/emojione",
        "1.2.3",
        "sha512-T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
        "CC-BY-4.0",
        "Emoji One (v2), artwork provided by Emoji One",
    ),
    "streamline-emojis": Package(
        "@iconify-json/streamline-emojis",
        "1.2.4",
        "sha512-iNr9T9XuZVTyQPJO8ZlLxBzPkpi7qMl+z1l0C31vpEMqhPMelth3n7CeWQYtixdetDPdI81yeG4ROqjWpYJE6A==",
        "CC-BY-4.0",
        "Streamline Emojis by Streamline",
    ),
}
"""More drawings of the same things, for the models that name pictures; no caption names these styles."""

NAME_PACKAGES = {
    "annotations": Package(
        "cldr-annotations-full",
        "48.2.0",
        "sha512-DV7A+rEcgUSNTRsVGNGqBZRmAkGfwhGHO5Q1dRwzBoBnVrHWp804JP7/QJdEc66iHmx3+zLWVIMCFLm0lW7PUQ==",
        "Unicode-3.0",
        "Unicode CLDR, copyright Unicode, Inc",
    ),
    "annotationsDerived": Package(
        "cldr-annotations-derived-full",
        "48.2.0",
        "sha512-log62km+AOzI7n/NEuNNFV0mg9DWnt67EYCh1RwxZq9dyRuyteB586LT83Ke8TchEfnwI9cIk2P31zO4nTvZmw==",
        "Unicode-3.0",
        "Unicode CLDR, copyright Unicode, Inc",
    ),
}
"""Folder inside the package -> the package; together they name every emoji in both languages."""

PACKAGES = [*STYLE_PACKAGES.values(), *NAME_PACKAGES.values()]
"""What every model learns from."""
NAMING = ("emoji-clip", "judge", "tutor")
"""The models that learn from the further packages as well."""


def behind(model: str) -> list[Package]:
    return [*PACKAGES, *FURTHER_PACKAGES.values()] if model in NAMING else PACKAGES


def fetch(package: Package, folder: Path) -> Path:
    """The package's archive in `folder`: the cached one if it is whole, else by `npm pack`.

    Raises UserError where npm is missing, fails, or brings something else than what is pinned.
    """
    path = folder / package.file
    if path.exists() and _integrity(path) == package.integrity:
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            Words(
                f"{package.name} is not in the cache and npm is not installed. Install Node.js with npm, "
                f"or put {package.file} into {folder}.",
                f"缓存中没有 {package.name}，也没有安装 npm。请安装带 npm 的 Node.js，或将 {package.file} 放入 {folder}。",
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    told = subprocess.run(
        [npm, "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode or not path.exists():
        reason = (told.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            Words(
                f"npm could not fetch {package.name} {package.version}: {reason}. Is there a network?",
                f"npm 无法获取 {package.name} {package.version}：{reason}。网络是否可用？",
            )
        )
    if _integrity(path) != package.integrity:
        path.unlink()
        raise UserError(
            Words(
                f"{package.file} is not the file that was pinned (its digest differs); it was removed.",
                f"{package.file} 与锁定的文件不符（摘要不同），已删除。",
            )
        )
    return path


def read_json(archive: Path, member: str) -> Any:
    """One JSON file of an npm archive; nothing is unpacked to disk."""
    with tarfile.open(archive) as tar:
        stream = tar.extractfile(f"package/{member}")
        assert stream is not None
        return json.load(stream)


def _integrity(path: Path) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
