"""Every voice engine there is. A new engine needs its folder and one name here."""

from __future__ import annotations

from pathlib import Path

from modules.errors import StudioError
from modules.voice_clone.base import VoiceEngine, VoiceEngineInfo
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine

DEFAULT = "builtin"

# In the order in which a user should see them.
_ENGINES = {engine.info.id: engine for engine in (BuiltinVoiceEngine,)}


def infos() -> tuple[VoiceEngineInfo, ...]:
    """What each registered engine is."""
    return tuple(engine.info for engine in _ENGINES.values())


def info(engine: str) -> VoiceEngineInfo:
    """What an engine is. Raises StudioError('engine_unknown')."""
    if engine not in _ENGINES:
        raise StudioError("engine_unknown", engine=engine)
    return _ENGINES[engine].info


def create(engine: str, models_dir: Path, threads: int) -> VoiceEngine:
    """A new engine by its id. Raises StudioError('engine_unknown')."""
    return _ENGINES[info(engine).id](models_dir, threads)
