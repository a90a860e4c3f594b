"""Every lip-sync engine there is. A new engine needs its folder and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from modules.avatar.base import LipSyncEngine, LipSyncEngineInfo
from modules.avatar.builtin.engine import BuiltinEngine
from modules.errors import StudioError

DEFAULT = "builtin"

_ENGINES: dict[str, Callable[[Path, int], LipSyncEngine]] = {
    BuiltinEngine.info.id: BuiltinEngine,
}


def infos() -> tuple[LipSyncEngineInfo, ...]:
    """What each registered engine is, in the order in which a user should see them."""
    return (BuiltinEngine.info,)


def create(engine: str, models_dir: Path, threads: int) -> LipSyncEngine:
    """An engine by its id. Raises StudioError('engine_unknown')."""
    if engine not in _ENGINES:
        raise StudioError("engine_unknown", engine=engine)
    return _ENGINES[engine](models_dir, threads)
