"""Files that a visitor gave the page: read from gradio's upload folder and from nowhere else.

Events of the page are not preprocessed by gradio (its messages are English only), so the path in a message is
a stranger's word until it is checked here.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from aigc_demo.errors import Invalid
from aigc_demo.words import Words

LONGEST = 50_000_000
_PREFIX = "data:image/png;base64,"
GONE = Words("The uploaded file is not there any more. Give it again.", "上传的文件已不存在。请重新提供。")


def read(file: Any) -> bytes | None:
    """The bytes of an upload, as gradio's JSON names it; None for none. Raises `Invalid` for any other path."""
    path = file.get("path") if isinstance(file, Mapping) else file
    if not path:
        return None
    try:
        found = Path(str(path)).resolve(strict=True)
        inside = found.is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError) as error:
        raise Invalid(GONE) from error
    if not inside or not found.is_file() or found.stat().st_size > LONGEST:
        raise Invalid(GONE)
    return found.read_bytes()


def from_data_uri(text: Any) -> bytes:
    """A PNG that the page sent back as a data URI."""
    if not isinstance(text, str) or not text.startswith(_PREFIX) or len(text) > LONGEST:
        raise Invalid(GONE)
    try:
        return base64.b64decode(text[len(_PREFIX) :], validate=True)
    except binascii.Error as error:
        raise Invalid(GONE) from error


def data_uri(png: bytes) -> str:
    return _PREFIX + base64.b64encode(png).decode("ascii")


def picture_uri(picture: Image.Image) -> str:
    """Of a small picture that is only looked at."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return data_uri(stream.getvalue())


def listed(shown: Any) -> list[Any]:
    """The files of a gallery of pictures, as the page sends them."""
    return [row.get("image") for row in shown if isinstance(row, Mapping)] if isinstance(shown, list) else []


def keep(data: bytes, name: str) -> str:
    """Put a file where the page may fetch it; returns its path. gradio clears the folder of old ones."""
    return save_bytes_to_cache(data, name, get_upload_folder())
