"""The only errors that a user ever sees.

A StudioError carries a code; its sentence and its advice are looked up in
i18n/*.json under ``error.<code>`` and ``error.<code>.hint`` when it is shown,
so one error reads right in every language and survives the job store.
"""

from __future__ import annotations

from typing import Any


class StudioError(Exception):
    """Something went wrong that the user can understand and act on.

    code: snake_case name of what happened; the i18n keys follow from it.
    retryable: True when the same request may succeed later unchanged.
    values: plain JSON values for the placeholders of the sentence.
    """

    def __init__(self, code: str, *, retryable: bool = False, **values: str | int | float) -> None:
        super().__init__(code, values)
        self.code = code
        self.retryable = retryable
        self.values = values

    @property
    def key(self) -> str:
        """i18n key of the sentence that says what went wrong."""
        return f"error.{self.code}"

    @property
    def hint(self) -> str:
        """i18n key of the sentence that says what to do about it."""
        return f"error.{self.code}.hint"

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the job store."""
        return {"code": self.code, "retryable": self.retryable, "values": self.values}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> StudioError:
        """The error that ``to_dict`` wrote."""
        return cls(data["code"], retryable=data["retryable"], **data["values"])


class Cancelled(Exception):
    """The user stopped the job; raised by Progress and passed through untouched."""
