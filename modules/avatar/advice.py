"""Which lip-sync engine to recommend on a machine, and why. Pure: it asks nobody."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from modules.avatar.base import LipSyncEngineInfo
from modules.devices import Device, Machine, choose
from modules.errors import StudioError

FALLBACK = "builtin"
# Of the engines that need a card, the best first: MuseTalk's mouths look truer than those of larger Wav2Lip faces.
PREFERRED = ("musetalk15", "musetalk10", "wav2lip384", "wav2lip256", "wav2lip96")


@dataclass(frozen=True)
class Advice:
    """The engine to take, and why: ``reason`` is an i18n key that may name the ``card`` and the title ``other``.

    better: an engine whose download would be worth it here, or ''; ``other`` is its title.
    """

    engine: str
    reason: str
    card: str = ""
    better: str = ""
    other: str = ""


def usable_card(machine: Machine) -> Device | None:
    """The card that engines would be run on; None where there is none or it does not compute."""
    broken = {problem.values.get("name") for problem in machine.problems if problem.code == "gpu_broken"}
    found = [device for device in machine.devices if device.name not in broken]
    try:
        chosen = choose("auto", found, machine.build)
    except StudioError:
        return None
    return chosen if chosen.kind == "cuda" else None


def fits(info: LipSyncEngineInfo, card: Device) -> bool:
    """Whether the card's memory is enough for what an engine is said to take."""
    return info.gpu_memory_mb * 1_000_000 <= card.memory_bytes


def advise(infos: Sequence[LipSyncEngineInfo], ready: Collection[str], machine: Machine | None) -> Advice:
    """What to take of the engines ``infos``, whose weights are here if their id is in ``ready``.

    machine: None while it is not known yet what it can do.
    """
    if machine is None:
        return Advice(FALLBACK, "advice.unknown")
    card = usable_card(machine)
    if card is None:
        return Advice(FALLBACK, "advice.card_unused" if machine.problems else "advice.no_card")
    known = {info.id: info for info in infos}
    fitting = [known[name] for name in PREFERRED if name in known and fits(known[name], card)]
    if not fitting:
        return Advice(FALLBACK, "advice.card_small", card.name)
    best = fitting[0]
    here = next((info for info in fitting if info.id in ready), None)
    if here is None:
        return Advice(FALLBACK, "advice.download", card.name, best.id, best.title)
    if here is best:
        return Advice(best.id, "advice.best", card.name)
    return Advice(here.id, "advice.best_here", card.name, best.id, best.title)
