"""What a page shows of each engine: its weights taken together, and how fast it was on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modules.avatar import registry as lip_sync
from modules.avatar.base import LipSyncEngineInfo
from modules.avatar.library import Avatar
from modules.avatar.neural import stored
from modules.devices import Need
from modules.devices.measured import Measured
from modules.jobs.cards import WeightsCard
from modules.jobs.speeds import Speed
from modules.voice_clone import registry as voice_clone
from modules.voice_clone.base import VoiceEngineInfo
from modules.weights.catalogue import Commercial

Kind = Literal["lips", "voice", "score"]
SCORE = "syncnet"  # the weights that only score lips
WORST: tuple[Commercial, ...] = ("no", "unknown", "yes")


@dataclass(frozen=True)
class EngineCard:
    """An engine with all its weights. info is None for what only scores lips.

    state: of all weights together, see ``together``. bytes, size: what is here and the whole, in bytes.
    speed (bytes a second), remaining (seconds): of a download. commercial: the strictest of engine and weights.
    measured: how fast it was here, if it has rendered yet. need: memory at work, as measured here or as it is said.
    """

    kind: Kind
    id: str
    title: str
    licence: str
    info: LipSyncEngineInfo | VoiceEngineInfo | None
    weights: tuple[WeightsCard, ...]
    state: str
    bytes: int
    size: int
    speed: float
    remaining: float | None
    commercial: Commercial
    need: Need
    measured: Speed | None

    @property
    def key(self) -> str:
        """Name among all engines, and the i18n key 'engine.<key>.about' of what it is good at."""
        return f"{self.kind}.{self.id}"

    @property
    def comes_by_itself(self) -> bool:
        """Whether its weights come from the package index when they are first needed."""
        return bool(self.weights) and all(card.built_in for card in self.weights)

    @property
    def usable(self) -> bool:
        """Whether a job may be begun with it; what is missing then comes by itself."""
        return self.state == "ready" or (self.comes_by_itself and self.state != "broken")


def together(cards: Sequence[WeightsCard]) -> str:
    """The state of several weights as one: what goes on first, then what is wrong, then what is missing."""
    states = {card.state for card in cards}
    for state in ("downloading", "queued", "broken", "partial", "import_only", "missing"):
        if state in states:
            return state
    return "ready"


def engine_cards(weights: Iterable[WeightsCard], speeds: Mapping[str, Speed], needs: Measured) -> list[EngineCard]:
    """All engines in the order in which users see them."""
    named = {card.entry: card for card in weights}
    described: list[tuple[Kind, LipSyncEngineInfo | VoiceEngineInfo]] = [("lips", info) for info in lip_sync.infos()]
    described += [("voice", info) for info in voice_clone.infos() if info.weights]
    found = []
    for kind, info in described:
        cards = tuple(named[name] for name in info.weights if name in named)
        need = needs.get(f"{kind} {info.id}") or Need.of(info)
        measured = speeds.get(info.id) if kind == "lips" else None
        found.append(_card(kind, info.id, info.title, info.licence, info, cards, need, measured))
    if SCORE in named:
        score = named[SCORE]
        found.append(_card("score", SCORE, score.title, score.licence, None, (score,), Need(0), None))
    return found


def _card(
    kind: Kind,
    name: str,
    title: str,
    licence: str,
    info: LipSyncEngineInfo | VoiceEngineInfo | None,
    weights: tuple[WeightsCard, ...],
    need: Need,
    measured: Speed | None,
) -> EngineCard:
    verdicts: list[Commercial] = [card.commercial for card in weights]
    if info is not None:
        verdicts.append("yes" if info.commercial_use else "no")
    speed = sum(card.speed for card in weights)
    left = sum(card.size - card.bytes for card in weights if card.state in ("downloading", "queued"))
    return EngineCard(
        kind=kind,
        id=name,
        title=title,
        licence=licence,
        info=info,
        weights=weights,
        state=together(weights),
        bytes=sum(card.bytes for card in weights),
        size=sum(card.size for card in weights),
        speed=speed,
        remaining=left / speed if speed > 0 else None,
        commercial=min(verdicts, key=WORST.index),
        need=need,
        measured=measured,
    )


def only_of(card: EngineCard, all_cards: Iterable[EngineCard]) -> list[WeightsCard]:
    """The weights that go when an engine's are deleted: those that no other complete engine needs."""
    others = {
        weights.entry
        for other in all_cards
        if other.key != card.key and other.state == "ready"
        for weights in other.weights
    }
    return [weights for weights in card.weights if weights.deletable and weights.entry not in others]


def trained(avatar: Avatar, engine: str) -> bool:
    """Whether an engine can be used with an avatar as far as training goes."""
    folder = avatar.engine_folder(engine)
    return all((folder / name).is_file() for name in lip_sync.info(engine).trained)


def lend_training(avatar: Avatar, info: LipSyncEngineInfo, folder: Path) -> None:
    """Copy what a training has left for an engine into ``folder``, to prepare the avatar there."""
    for name in info.trained:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(avatar.engine_folder(info.id) / name, folder / name)


def prepared_with(avatar: Avatar, engine: str) -> dict[str, Any] | None:
    """The values of options, among others, that an avatar was last prepared with; None if it never was."""
    folder = avatar.engine_folder(engine)
    file: Path = (folder / stored.BESIDE_TRAINING if lip_sync.info(engine).trained else folder) / stored.FILE
    try:
        with np.load(file, allow_pickle=False) as data:
            key = json.loads(str(data["key"]))
    except (OSError, ValueError, KeyError):
        return None
    return key if isinstance(key, dict) else None
