"""Pictures come from strangers and from phones: each is opened upright in RGB, or refused in words that help."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from aigc_demo import pictures
from aigc_demo.errors import Invalid

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def corners() -> Image.Image:
    """40 x 20 pixels, left half red and right half blue, with a green block at the upper left."""
    picture = Image.new("RGB", (40, 20), RED)
    ImageDraw.Draw(picture).rectangle((20, 0, 39, 19), fill=BLUE)
    ImageDraw.Draw(picture).rectangle((0, 0, 9, 9), fill=GREEN)
    return picture


def header(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, and which holds next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    start = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        pictures.open_picture(data)
    assert caught.value.words.zh.endswith("。")
    return caught.value.words.en


def near(found: Any, wanted: tuple[int, ...], within: int = 12) -> bool:
    return all(abs(a - b) <= within for a, b in zip(found, wanted, strict=True))


# What people have is opened, in each format that the page names, and looks the same.
@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_each_format(kind: str):
    found = pictures.open_picture(saved(corners(), kind, **({"quality": 95} if kind in ("JPEG", "WEBP") else {})))
    assert (found.mode, found.size) == ("RGB", (40, 20))
    assert near(found.getpixel((35, 10)), BLUE, 40)
    assert near(found.getpixel((3, 3)), GREEN, 40)


# A print shop's CMYK, a scan's 1 bit, an icon's palette: a model takes three channels of eight bits, and nothing else.
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("P", "GIF"), ("P", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF")],
)
def test_each_mode(mode: str, kind: str):
    picture = Image.new("RGB", (8, 8), WHITE)
    ImageDraw.Draw(picture).rectangle((0, 0, 3, 7), fill=BLACK)
    found = pictures.open_picture(saved(picture.convert(mode), kind))
    assert (found.mode, found.size) == ("RGB", (8, 8))
    assert near(found.getpixel((1, 4)), BLACK)
    assert near(found.getpixel((6, 4)), WHITE)


# Deep greys (scanners, depth maps) keep their order and range: Pillow's own conversion makes nearly all of them white.
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind: str):
    picture = Image.new("I;16", (3, 1))
    for x, value in enumerate((0, 0x8080, 0xFFFF)):
        picture.putpixel((x, 0), value)
    found = pictures.open_picture(saved(picture, kind))
    assert [found.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


# Float TIFFs come from science and from masks, from 0 to 1 or from 0 to 255; neither is all black.
@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floats_are_scaled(top: float):
    picture = Image.new("F", (2, 1))
    picture.putpixel((1, 0), top)
    found = pictures.open_picture(saved(picture, "TIFF"))
    assert [found.getpixel((x, 0)) for x in range(2)] == [BLACK, WHITE]


# A sticker or a logo has transparent parts, whose hidden colour is often black: they are paper, as on a page.
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparency_lies_over_white(kind: str):
    picture = Image.new("RGBA", (4, 2), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 2, 2))
    found = pictures.open_picture(saved(picture, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert [found.getpixel((x, 0)) for x in (0, 3)] == [RED, WHITE]


# The other ways to be transparent: one colour of a palette, of a grey or of an RGB picture, and grey with alpha.
@pytest.mark.parametrize(
    ("mode", "value", "clear"), [("P", 0, 0), ("L", 7, 7), ("RGB", (1, 2, 3), (1, 2, 3)), ("LA", (7, 0), None)]
)
def test_every_kind_of_transparency(mode: str, value: Any, clear: Any):
    picture = Image.new(mode, (2, 2), value)
    options = {} if clear is None else {"transparency": clear}
    assert pictures.open_picture(saved(picture, **options)).getpixel((0, 0)) == WHITE


# A phone held upright writes a lying picture and a note to turn it; without that, every portrait lies on its side.
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(kind: str, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    found = pictures.open_picture(saved(corners(), kind, exif=exif, **lossless))
    assert found.size == ((40, 20) if orientation < 5 else (20, 40))
    # where the green block at the upper left of the file has to be seen
    left, top = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}[orientation]
    x, y = left * (found.width - 1), top * (found.height - 1)
    assert near(found.getpixel((abs(x - 4), abs(y - 4))), GREEN, 40)


# Damage in the notes about a picture is no damage to the picture.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_leaves_the_picture():
    for exif in (
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 20,
    ):
        assert pictures.open_picture(saved(corners(), "JPEG", exif=exif)).size == (40, 20)


# A photograph tells where it was taken; what we make of it, and may save, does not.
def test_metadata_stays_behind():
    exif = Image.Exif()
    exif[0x010E] = "at home"
    found = pictures.open_picture(saved(corners(), "PNG", exif=exif))
    assert not found.info
    assert not found.getexif()
    assert b"at home" not in saved(found)


# An animation is its first frame, as a page shows it before it moves.
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animations_give_their_first_frame(kind: str):
    frames = [Image.new("RGB", (6, 4), colour) for colour in (RED, BLUE, WHITE)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    found = pictures.open_picture(data)
    assert found.size == (6, 4)
    assert near(found.getpixel((2, 2)), RED)


# The smallest and the thinnest pictures are pictures, and become any size that a model wants.
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 4999)])
def test_odd_sizes(size: tuple[int, int]):
    found = pictures.open_picture(saved(Image.new("RGB", size, RED)))
    assert found.size == size
    for width, height in ((512, 512), (64, 1024), (1024, 64), (1, 1)):
        fitted = pictures.fit(found, width, height)
        assert fitted.size == (width, height)
        assert fitted.getpixel((width // 2, height // 2)) == RED


# Each file that is no picture here is refused in words which name what is opened.
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, I am called cat.png",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        b"%PDF-1.7",
        b"\0\0\0\x1cftypavif",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"P6 1 1 255 abc",
    ],
)
def test_other_files_are_no_pictures(data: bytes):
    assert "not a picture" in refusal(data)


# A download that broke off is refused; half a picture with grey below it would be taken for the whole.
@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_truncated_files(kind: str):
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    data = saved(noise, kind)
    said = refusal(data[: len(data) // 2])
    assert "damaged" in said or "not a picture" in said


# A file of a few bytes may claim gigabytes of pixels: its header is enough to refuse it, and the words say how large.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("size", "named"),
    [((30_000, 30_000), "900 megapixels"), ((10_000, 10_000), "100 megapixels"), ((8_100, 8_100), "66 megapixels")],
)
def test_bombs_are_refused_by_their_header(size: tuple[int, int], named: str, monkeypatch: pytest.MonkeyPatch):
    def decoded(*_: Any) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    said = refusal(header(*size))
    assert named in said
    assert "at most 64" in said


# Where warnings are errors, Pillow's warning of a large picture still becomes our words.
@pytest.mark.filterwarnings("error")
def test_bombs_where_warnings_are_errors():
    assert "100 megapixels" in refusal(header(10_000, 10_000))


# Just below the limit, a header that lies is a damaged picture, not a long wait.
def test_a_header_that_lies():
    assert "damaged" in refusal(header(8_000, 8_000))


# The rule that the page states: covered and cropped in the middle, so nothing is squeezed and no bar is added.
def test_fit_covers_and_crops_in_the_middle():
    picture = Image.new("RGB", (300, 100), BLACK)
    picture.paste(RED, (100, 0, 200, 100))
    square = pictures.fit(picture, 50, 50)
    assert all(near(square.getpixel(at), RED) for at in ((3, 3), (46, 3), (25, 25), (3, 46)))
    assert pictures.fit(picture, 300, 100).tobytes() == picture.tobytes()


def layer(colour: Any = (0, 0, 0)) -> Image.Image:
    """A drawing's layer: transparent, with a block painted at the upper left."""
    picture = Image.new("RGBA", (40, 20), (255, 255, 255, 0))
    picture.paste((*colour, 255), (0, 0, 20, 10))
    return picture


# A brush paints a layer, in any colour; a mask made elsewhere is black and white. Both say the same.
@pytest.mark.parametrize(
    "source",
    [
        layer(),
        layer((255, 255, 255)),
        saved(layer((9, 200, 9))),
        layer().getchannel("A"),
        layer().getchannel("A").convert("1"),
        saved(layer().getchannel("A").convert("RGB"), "JPEG", quality=95),
        saved(layer().getchannel("A").convert("RGBA")),
    ],
)
def test_masks_are_read_from_opacity_or_lightness(source: Any):
    found = pictures.mask(source, (80, 40))
    assert (found.mode, found.size) == ("L", (80, 40))
    assert set(found.tobytes()) == {0, 255}  # soft edges would be repainted by halves
    assert [found.getpixel(at) for at in ((5, 5), (38, 18), (44, 5), (5, 24))] == [255, 255, 0, 0]


# A mask belongs to its picture: cropped for a square, both lose the same sides.
def test_masks_stay_over_their_picture():
    picture = Image.new("L", (300, 100), 0)
    picture.paste(255, (100, 0, 150, 100))
    found = pictures.mask(picture, (64, 64))
    fitted = pictures.fit(picture, 64, 64).point(lambda value: 255 if value >= 128 else 0)
    assert found.tobytes() == fitted.tobytes()


# Without a stroke there is nothing to repaint, and a run would only cost time.
@pytest.mark.parametrize(
    "source",
    [
        Image.new("RGBA", (8, 8), (255, 255, 255, 0)),
        Image.new("RGBA", (8, 8), (0, 0, 0, 255)),
        Image.new("L", (8, 8), 0),
        saved(Image.new("RGB", (8, 8))),
        Image.new("RGBA", (8, 8), (255, 0, 0, 1)),
    ],
)
def test_an_empty_mask_is_refused(source: Any):
    with pytest.raises(Invalid, match="Nothing is painted"):
        pictures.mask(source, (64, 64))


# Everything painted is a wish too: the whole picture anew.
def test_a_full_mask():
    assert set(pictures.mask(Image.new("L", (8, 8), 255), (16, 16)).tobytes()) == {255}


WHOLE = [
    saved(corners(), kind, **options)
    for kind, options in [
        ("PNG", {}),
        ("JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
        ("WEBP", {}),
        ("GIF", {"save_all": True, "append_images": [Image.new("RGB", (40, 20))]}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {}),
    ]
]


# Whatever a file has suffered on its way, a picture comes of it or words; never an exception that nobody expected.
@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), max_size=6))
@settings(deadline=None, max_examples=400)
def test_any_damage_makes_a_picture_or_words(whole: bytes, damages: list[tuple[int, bytes]]):
    data = bytearray(whole)
    for at, damage in damages:
        data[at % len(data) : at % len(data) + len(damage)] = damage
    found = words = None
    try:
        found = pictures.open_picture(bytes(data))
    except Invalid as error:
        words = error.words
    if found is None:
        assert words
        assert words.en
        assert words.zh
    else:
        assert found.mode == "RGB"
        assert found.width * found.height <= pictures.LARGEST
