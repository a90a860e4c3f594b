"""Typed options of engines: the UI draws its controls from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modules.errors import StudioError


@dataclass(frozen=True)
class Option:
    """One control. ``key`` is its i18n key; ``key + '.help'`` explains it."""

    name: str
    key: str
    kind: Literal["number", "choice", "switch"]
    default: float | str | bool
    minimum: float = 0.0
    maximum: float = 1.0
    step: float = 0.1
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> float | str | bool:
        """``value`` if it is allowed, else StudioError('option_out_of_range')."""
        if self.kind == "number":
            good = isinstance(value, int | float) and self.minimum <= value <= self.maximum
        elif self.kind == "choice":
            good = value in self.choices
        else:
            good = isinstance(value, bool)
        if not good:
            raise StudioError("option_out_of_range", name=self.name, value=str(value))
        return value


def resolve(options: Sequence[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults overridden by ``given``; unknown names and bad values raise StudioError."""
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            raise StudioError("option_out_of_range", name=name, value=str(given[name]))
    return {name: o.check(given.get(name, o.default)) for name, o in known.items()}
