"""Every voice engine there is. A new engine needs its folder and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from modules.errors import StudioError
from modules.voice_clone.base import VoiceEngine, VoiceEngineInfo
from modules.voice_clone.builtin.engine import BuiltinVoiceEngine

DEFAULT = "builtin"

_ENGINES: dict[str, Callable[[Path, int], VoiceEngine]] = {
    BuiltinVoiceEngine.info.id: BuiltinVoiceEngine,
}


def infos() -> tuple[VoiceEngineInfo, ...]:
    """What each registered engine is, in the order in which a user should see them."""
    return (BuiltinVoiceEngine.info,)


def create(engine: str, models_dir: Path, threads: int) -> VoiceEngine:
    """An engine by its id. Raises StudioError('engine_unknown')."""
    if engine not in _ENGINES:
        raise StudioError("engine_unknown", engine=engine)
    return _ENGINES[engine](models_dir, threads)
