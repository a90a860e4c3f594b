"""One typed settings object: environment, then file, then command line, the later one winning."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Everything that can be set. Sizes in bytes or MB as named, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="FENSHEN_", extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=7860, ge=1, le=65535)
    share: bool = False
    auth: str | None = Field(default=None, description="user:password; needed to share or listen")
    data_dir: Path = ROOT / "data"
    models_dir: Path = ROOT / "models"
    max_upload_mb: int = Field(default=2048, ge=1)
    max_footage_seconds: float = Field(default=600.0, gt=0)
    min_footage_seconds: float = Field(default=5.0, gt=0)
    max_script_characters: int = Field(default=20000, ge=1)
    max_side: int = Field(default=4096, ge=64, description="longest side of footage in pixels")
    threads: int = Field(default=0, ge=0, description="CPU threads of engines; 0: all cores")

    @property
    def cpu_threads(self) -> int:
        """Threads that an engine may use."""
        return self.threads or os.cpu_count() or 1

    @property
    def login(self) -> tuple[str, str] | None:
        """The user name and password of the page, or None."""
        if self.auth is None:
            return None
        name, _, password = self.auth.partition(":")
        return name, password


def load(**command_line: Any) -> Settings:
    """Settings from FENSHEN_* variables, then <data_dir>/settings.toml, then ``command_line``."""
    given = {name: value for name, value in command_line.items() if value is not None}
    data_dir = Path(given.get("data_dir") or os.environ.get("FENSHEN_DATA_DIR") or ROOT / "data")
    file = data_dir / "settings.toml"
    from_file = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    settings = Settings(**{**from_file, **given, "data_dir": data_dir})
    return settings.model_copy(
        update={"data_dir": settings.data_dir.resolve(), "models_dir": settings.models_dir.resolve()}
    )
