"""The avatar library: one person's prepared look an entry, with each engine's cached preparation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modules.shelf import Shelf

if TYPE_CHECKING:
    from modules.face.track import Track
    from modules.media import Footage

# Names inside an entry's folder, and inside the folder that becomes one.
FOOTAGE, TRACK, PICTURE = "footage", "track.npz", "picture.jpg"


@dataclass(frozen=True)
class Avatar:
    """One entry. created: Unix seconds; seconds, width, height: of the footage."""

    id: str
    name: str
    created: float
    kind: Literal["video", "photo"]
    seconds: float
    width: int
    height: int
    folder: Path

    @property
    def picture(self) -> Path:
        """A JPEG of the person."""
        return self.folder / PICTURE

    @property
    def footage(self) -> Path:
        """What the user uploaded, as it was."""
        return self.folder / FOOTAGE

    def track(self) -> Track:
        """The person's face in every frame of the footage."""
        from modules.face.track import Track  # the page lists avatars without loading the face room

        return Track.load(self.folder / TRACK)

    def engine_folder(self, engine: str) -> Path:
        """Where an engine keeps its preparation."""
        return engine_folder(self.folder, engine)


def engine_folder(entry: Path, engine: str) -> Path:
    """Where an engine keeps its preparation in an entry's folder."""
    return entry / "engines" / engine


class AvatarLibrary:
    """All avatars of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._shelf = Shelf(data_dir / "avatars", "avatar_unknown")

    def add(self, made: Path, name: str, footage: Footage, sha256: str, person: int | None, consent: str) -> Avatar:
        """Take in the finished folder ``made`` (footage, track, picture, engines)."""
        record = {
            "name": name,
            "kind": footage.kind,
            "seconds": footage.duration,
            "width": footage.width,
            "height": footage.height,
            "sha256": sha256,
            "person": person,
            "consent": consent,
        }
        return self.get(self._shelf.add(made, record))

    def find(self, sha256: str, person: int | None) -> Avatar | None:
        """The avatar already made of this very footage and person, if there is one."""
        for entry in self._shelf.ids():
            record = self._shelf.record(entry)
            if record["sha256"] == sha256 and record["person"] == person:
                return self.get(entry)
        return None

    def get(self, avatar: str) -> Avatar:
        """The avatar, or StudioError('avatar_unknown')."""
        record = self._shelf.record(avatar)
        return Avatar(
            id=avatar,
            name=record["name"],
            created=record["created"],
            kind=record["kind"],
            seconds=record["seconds"],
            width=record["width"],
            height=record["height"],
            folder=self._shelf.folder(avatar),
        )

    def list(self) -> list[Avatar]:
        """All avatars, newest first."""
        return [self.get(entry) for entry in self._shelf.ids()]

    def rename(self, avatar: str, name: str) -> None:
        """Give an avatar another name."""
        self._shelf.rename(avatar, name)

    def delete(self, avatar: str) -> None:
        """Remove an avatar with its footage and all preparations."""
        self._shelf.delete(avatar)

    def clear(self, avatar: str) -> None:
        """Remove what work that was under way has written into the folder of a deleted avatar."""
        self._shelf.clear(avatar)
