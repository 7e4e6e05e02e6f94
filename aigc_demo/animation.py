"""Frames as a file that plays, with its recipe inside: GIF, WebP and MP4, and the recipe back out of them.

GIF has 256 colours and plays everywhere; WebP keeps them all; MP4 is the smallest and what editors take.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from PIL import Image

from aigc_demo import recipe
from aigc_demo.errors import Invalid
from aigc_demo.recipe import Recipe
from aigc_demo.words import Words

RATE = 12
"""Frames a second where nobody asks for another."""
MAKE = 0x010F
"""The EXIF tag that names the maker of a picture: WebP has no text of its own."""
SAMPLED = 48
"""Side of what is looked at of every frame for a GIF's palette."""
OURS = "aigc-demo "
"""What our recipes begin with where a file's comment may be anybody's."""


def order(count: int, *, there_and_back: bool) -> list[int]:
    """Indices of the frames as they play; on the way back neither end is shown twice."""
    way = list(range(count))
    return [*way, *way[-2:0:-1]] if there_and_back else way


def gif(frames: Sequence[Image.Image], rate: float, made: Mapping[str, Any]) -> bytes:
    """One palette for all frames, so that colours do not flicker; without dithering, which would."""
    small = [frame.resize((SAMPLED, SAMPLED), Image.Resampling.NEAREST) for frame in frames]
    sample = Image.new("RGB", (SAMPLED, SAMPLED * len(small)))
    for n, frame in enumerate(small):
        sample.paste(frame, (0, n * SAMPLED))
    palette = sample.quantize(256, Image.Quantize.MEDIANCUT)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    comment = _comment(made).encode("ascii")
    return _saved(flat, "GIF", rate, comment=comment, disposal=1, optimize=False)


def webp(frames: Sequence[Image.Image], rate: float, made: Mapping[str, Any]) -> bytes:
    exif = Image.Exif()
    exif[MAKE] = _comment(made)
    return _saved(frames, "WEBP", rate, exif=exif.tobytes(), quality=90, method=2)


def mp4(frames: Sequence[Image.Image], rate: float, made: Mapping[str, Any]) -> bytes:
    """H.264 of odd sides cut to even ones, which players ask for."""
    import av

    file = io.BytesIO()
    width, height = (max(2, side // 2 * 2) for side in frames[0].size)
    with av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = _comment(made)
        stream: Any = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast"}
        for frame in frames:
            cut = frame.convert("RGB").crop((0, 0, width, height))
            container.mux(stream.encode(av.VideoFrame.from_image(cut)))
        container.mux(stream.encode())
    return file.getvalue()


FORMATS: dict[str, Callable[[Sequence[Image.Image], float, Mapping[str, Any]], bytes]] = {
    "gif": gif,
    "webp": webp,
    "mp4": mp4,
}


def is_video(data: bytes) -> bool:
    return data[4:8] == b"ftyp"


def read(data: bytes) -> Recipe | None:
    """The recipe that an animation of ours carries; None for one without. Raises `Invalid` for a damaged recipe."""
    comment = _video_comment(data) if is_video(data) else _picture_comment(data)
    if not comment.startswith(OURS):
        return None
    return recipe.parse(comment.removeprefix(OURS))


def _picture_comment(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=("GIF", "WEBP")) as picture:
            found = picture.info.get("comment") or picture.getexif().get(MAKE, "")
    except Exception:  # noqa: BLE001 - a decoder given a stranger's bytes raises whatever it likes
        return ""
    return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)


def _video_comment(data: bytes) -> str:
    import av

    try:
        with av.open(io.BytesIO(data), "r", format="mp4") as container:
            return container.metadata.get("comment", "")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Invalid(Words("This video cannot be read: it is damaged.", "无法读取这个视频：它已损坏。")) from error


def _saved(frames: Sequence[Image.Image], kind: str, rate: float, **options: Any) -> bytes:
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=round(1000 / rate), loop=0, **options)
    return file.getvalue()


def _comment(made: Mapping[str, Any]) -> str:
    """ASCII, so that no format can read it in another encoding."""
    return OURS + json.dumps(made, ensure_ascii=True, separators=(",", ":"))
