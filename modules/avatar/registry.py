"""Every lip-sync engine there is. A new engine needs its folder and one name here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from modules.avatar.base import LipSyncEngine, LipSyncEngineInfo
from modules.avatar.builtin.engine import BuiltinEngine
from modules.avatar.musetalk.engine import MuseTalk10Engine, MuseTalk15Engine
from modules.avatar.ultralight.engine import UltralightEngine
from modules.avatar.wav2lip.engine import Wav2Lip96Engine, Wav2Lip256Engine, Wav2Lip384Engine
from modules.errors import StudioError

DEFAULT = "builtin"

# In the order in which a user should see them.
_ENGINES: dict[str, Callable[[Path, int], LipSyncEngine]] = {}
_INFOS: dict[str, LipSyncEngineInfo] = {}
for _engine in (
    BuiltinEngine,
    UltralightEngine,
    MuseTalk15Engine,
    MuseTalk10Engine,
    Wav2Lip384Engine,
    Wav2Lip256Engine,
    Wav2Lip96Engine,
):
    _ENGINES[_engine.info.id], _INFOS[_engine.info.id] = _engine, _engine.info


def infos() -> tuple[LipSyncEngineInfo, ...]:
    """What each registered engine is."""
    return tuple(_INFOS.values())


def info(engine: str) -> LipSyncEngineInfo:
    """What an engine is. Raises StudioError('engine_unknown')."""
    if engine not in _INFOS:
        raise StudioError("engine_unknown", engine=engine)
    return _INFOS[engine]


def create(engine: str, models_dir: Path, threads: int) -> LipSyncEngine:
    """A new engine by its id. Raises StudioError('engine_unknown')."""
    return _ENGINES[info(engine).id](models_dir, threads)
