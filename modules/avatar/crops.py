"""The stored crops of one avatar: JPEGs in one file, read one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import cv2
import numpy as np

from modules.errors import StudioError

QUALITY = [
    cv2.IMWRITE_JPEG_QUALITY,
    97,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]
PICTURES, INDEX = "crops.bin", "crops.npz"


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture: left and top inclusive, right and bottom exclusive, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def corner(self) -> np.ndarray:
        return np.array([self.left, self.top], np.float64)


@dataclass(frozen=True)
class Crop:
    """A piece of a frame: pixels (h, w, 3) uint8 BGR whose corner lies at (left, top) of the frame."""

    pixels: np.ndarray
    left: int
    top: int


class CropWriter:
    """Writes crops in order; the index appears at the clean end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._places: list[tuple[int, int, int]] = []

    def add(self, picture: np.ndarray, box: Box) -> None:
        """Store the part ``box`` of ``picture`` ((H, W, 3) uint8 BGR)."""
        if self._file is None:
            raise ValueError("not open")
        part = np.ascontiguousarray(picture[box.top : box.bottom, box.left : box.right])
        _, encoded = cv2.imencode(".jpg", part, QUALITY)
        self._places.append((self._file.tell(), box.left, box.top))
        self._file.write(encoded.tobytes())

    def __enter__(self) -> Self:
        self._file = open(self._folder / PICTURES, "wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        end = self._file.tell()
        self._file.close()
        if kind is None:
            places = np.array(self._places, np.int64).reshape(-1, 3)
            with open(self._folder / INDEX, "wb") as index:
                np.savez(index, start=np.append(places[:, 0], end), corner=places[:, 1:])


class CropStore:
    """Reads what CropWriter wrote; safe for several threads."""

    def __init__(self, folder: Path) -> None:
        try:
            with np.load(folder / INDEX, allow_pickle=False) as index:
                self._start, self._corner = index["start"], index["corner"]
            self._data = np.memmap(folder / PICTURES, np.uint8, mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise StudioError("avatar_broken", name=folder.name) from error

    def __len__(self) -> int:
        return len(self._corner)

    def __getitem__(self, number: int) -> Crop:
        encoded = np.asarray(self._data[self._start[number] : self._start[number + 1]])
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        if pixels is None:
            raise StudioError("avatar_broken", name=PICTURES)
        left, top = self._corner[number].tolist()
        return Crop(pixels, left, top)
