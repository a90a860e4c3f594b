"""What the user chose about weights: where they come from, and which other folders hold some."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from modules.settings import DEFAULT_MIRROR, HubSource, Settings, load


@dataclass(frozen=True)
class Choice:
    """source: which hub, or "auto" for the first that answers. mirror: address of a mirror of Hugging Face.

    token: of the user's Hugging Face account, for what needs a licence click. folders: other programs' models.
    """

    source: HubSource = "auto"
    mirror: str = DEFAULT_MIRROR
    token: str | None = field(default=None, repr=False)
    folders: tuple[Path, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Choice:
        """The choice that the settings hold."""
        return cls(settings.hub_source, settings.hub_mirror, settings.hub_token, settings.extra_models_dirs)


_made: Choice | None = None


def choose(choice: Choice) -> None:
    """From now on this process does as ``choice`` says. It is one for the whole process, like its environment."""
    global _made
    _made = choice


def chosen() -> Choice:
    """The choice of this process; until one was made, that of the environment and of the usual settings file."""
    return Choice.of(load()) if _made is None else _made
