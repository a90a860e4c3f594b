"""Progress that long work reports, and the one place where a cancel enters it."""

from __future__ import annotations

from collections.abc import Callable

from modules.errors import Cancelled

Report = Callable[[float, str], None]


class Progress:
    """A share of a job's work, from 0 to 1, that can be cut into smaller shares.

    Every engine calls ``at`` at least twice a second: that is also where a
    cancel is noticed (it raises Cancelled).
    """

    def __init__(
        self,
        report: Report | None = None,
        cancelled: Callable[[], bool] | None = None,
        start: float = 0.0,
        stop: float = 1.0,
        stage: str = "",
    ) -> None:
        self._report = report
        self._cancelled = cancelled
        self._start = start
        self._stop = stop
        self._stage = stage

    def at(self, fraction: float) -> None:
        """Report that this share is done up to ``fraction`` (0 to 1)."""
        if self._cancelled is not None and self._cancelled():
            raise Cancelled
        if self._report is not None:
            inside = min(max(fraction, 0.0), 1.0)
            self._report(self._start + (self._stop - self._start) * inside, self._stage)

    def part(self, start: float, stop: float, stage: str | None = None) -> Progress:
        """The piece of this share from ``start`` to ``stop``; ``stage`` is an i18n key."""
        span = self._stop - self._start
        return Progress(
            self._report,
            self._cancelled,
            self._start + span * start,
            self._start + span * stop,
            self._stage if stage is None else stage,
        )
