"""Photos: JPEG, PNG and WebP as one I420 picture, the right way up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from modules.errors import StudioError
from modules.media.frames import I420, to_i420

FORMATS = ("JPEG", "PNG", "WEBP")
LARGEST_SIDE = 1920  # pixels of the finished picture; larger photos are made smaller
MOST_PIXELS = 120_000_000  # above this a file is more likely an attack than a photo
_ORIENTATION = 0x0112
_TILED_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
_SIGNS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def is_photo(path: Path) -> bool:
    """Whether the first bytes are those of a picture format that we read."""
    with path.open("rb") as file:
        head = file.read(12)
    return head.startswith(_SIGNS) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def is_other_photo(path: Path) -> bool:
    """Whether this is a HEIC or AVIF photo; their tiles would pass for a tiny video."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _TILED_BRANDS


def photo_size(path: Path) -> tuple[int, int]:
    """Width and height, both even, at which ``read_photo`` gives this photo."""
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width
    if width * height > MOST_PIXELS:
        raise StudioError("media_too_large", name=path.name, width=width, height=height)
    scale = min(1.0, LARGEST_SIDE / max(width, height))
    return _even(width * scale), _even(height * scale)


def read_photo(path: Path, width: int, height: int) -> I420:
    """The photo as I420 of ``width`` x ``height``; see-through parts become white."""
    with _opened(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            layered = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
        rgb = upright.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    return to_i420(np.ascontiguousarray(np.asarray(rgb, dtype=np.uint8)[:, :, ::-1]))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The photo, not yet decoded; whatever goes wrong in the block means that it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except Exception as error:  # Pillow's readers raise nearly anything on broken files
        raise StudioError("media_unreadable", name=path.name) from error


def _even(side: float) -> int:
    return max(2, round(side) // 2 * 2)
