"""What a page shows of each entry of the weights, in one look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modules import weights
from modules.jobs.store import DOWNLOADS, Job, JobStore
from modules.weights.catalogue import Commercial

_ACTIVE = ("queued", "running")
_RECENT = 200  # jobs among which the last of an entry is looked for


@dataclass(frozen=True)
class WeightsCard:
    """One entry of the weights as it is now.

    state: see weights.State; also "queued" while its download waits for another. bytes, size: what is here and
    the whole, in bytes. needed_by: ids of engines, or "metrics". commercial: may it be used commercially;
    ``about`` is the i18n key of the reason in plain words. job: the last one for this entry, with progress and
    error. speed: bytes a second and remaining: seconds, while it is downloaded. places: where its files lie.
    shared: whether some of them are other programs', which are never deleted. files: names that count for it.
    """

    entry: str
    title: str
    state: weights.State | str
    bytes: int
    size: int
    needed_by: tuple[str, ...]
    licence: str
    commercial: Commercial
    about: str
    page: str
    built_in: bool
    can_fetch: bool
    deletable: bool
    shared: bool
    places: tuple[Path, ...]
    files: tuple[str, ...]
    job: Job | None
    speed: float
    remaining: float | None


def cards(models_dir: Path, store: JobStore) -> list[WeightsCard]:
    """All entries, in the order of the catalogue."""
    last: dict[str, Job] = {}
    for job in store.newest(_RECENT, DOWNLOADS):
        last.setdefault(job.params.get("entry", ""), job)
    return list(_cards(models_dir, last))


def _cards(models_dir: Path, last: dict[str, Job]) -> Iterator[WeightsCard]:
    for name, entry in weights.entries().items():
        job, going_on = last.get(name), weights.going_on(models_dir, name)
        state: str = weights.state(models_dir, name)
        if job is not None and job.state == "queued" and job.kind == "fetch_weights" and state != "downloading":
            state = "queued"
        lying, here = weights.lying(models_dir, name), weights.arrived_bytes(models_dir, name)
        yield WeightsCard(
            entry=name,
            title=entry.title,
            state=state,
            bytes=here,
            size=here if state == "ready" else max(entry.file_bytes, here),
            needed_by=entry.engines,
            licence=entry.licence,
            commercial=entry.commercial,
            about=f"weights.about.{name}",
            page=entry.page,
            built_in=entry.built_in,
            can_fetch=entry.can_fetch,
            deletable=state not in ("downloading", "queued") and weights.removable(models_dir, name),
            shared=any(path.parent != models_dir / name for path in lying),
            places=tuple(sorted({path.parent for path in lying})),
            files=tuple(choice.name for file in entry.files for choice in file.choices),
            job=job,
            speed=going_on.speed if going_on else 0.0,
            remaining=going_on.remaining if going_on else None,
        )


def active(store: JobStore, entry: str) -> Job | None:
    """The download of an entry that is queued or running, if there is one."""
    found = (job for job in store.newest(_RECENT, ("fetch_weights",)) if job.params["entry"] == entry)
    return next((job for job in found if job.state in _ACTIVE), None)
