"""One typed settings object: environment, then file, then command line, the later one winning."""

from __future__ import annotations

import os
import tomllib
import uuid
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from modules.errors import StudioError

ROOT = Path(__file__).resolve().parent.parent
FILE = "settings.toml"
DEFAULT_MIRROR = "https://hf-mirror.com"
HubSource: TypeAlias = Literal["auto", "huggingface", "mirror", "modelscope"]
# What the Models page may change.
HUB_KEYS = ("hub_source", "hub_mirror", "hub_token", "extra_models_dirs")


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
    hub_source: HubSource = Field(default="auto", description="where published weights come from")
    hub_mirror: str = Field(default=DEFAULT_MIRROR, description="address of a mirror of Hugging Face")
    hub_token: str | None = Field(default=None, repr=False, description="of a Hugging Face account")
    extra_models_dirs: tuple[Path, ...] = Field(default=(), description="folders in which other programs keep weights")

    @field_validator("hub_mirror")
    @classmethod
    def _is_address(cls, address: str) -> str:
        parts = urlsplit(address.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no http address")
        return address.strip().rstrip("/")

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
    settings = Settings(**{**_from_file(data_dir), **given, "data_dir": data_dir})
    return settings.model_copy(
        update={"data_dir": settings.data_dir.resolve(), "models_dir": settings.models_dir.resolve()}
    )


def with_hub(settings: Settings) -> Settings:
    """``settings`` with what the Models page last saved, for processes that started before it did.

    The token, which never travels on a command line, is also looked for in the environment.
    """
    saved = {name: value for name, value in _from_file(settings.data_dir).items() if name in HUB_KEYS}
    checked = Settings(**saved)
    fresh = {name: getattr(checked, name) for name in saved}
    return settings.model_copy(update={"hub_token": settings.hub_token or checked.hub_token, **fresh})


def save_hub(settings: Settings, **values: Any) -> Settings:
    """Write some of HUB_KEYS to <data_dir>/settings.toml and give the settings with them; None takes a key out.

    Everything else in the file, comments too, stays as it is. A value that cannot be is StudioError
    settings_mirror_bad, settings_folder_bad or, for a name that is none of HUB_KEYS, TypeError.
    """
    import tomlkit

    if unknown := values.keys() - set(HUB_KEYS):
        raise TypeError(f"not to be saved: {sorted(unknown)}")
    for folder in values.get("extra_models_dirs") or ():
        if not Path(folder).is_dir():
            raise StudioError("settings_folder_bad", folder=str(folder))
    given = {name: value for name, value in values.items() if value is not None}
    try:
        Settings(**given)
    except ValueError:
        raise StudioError("settings_mirror_bad", address=str(values.get("hub_mirror"))) from None
    file = settings.data_dir / FILE
    document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.is_file() else tomlkit.document()
    for name, value in values.items():
        if value is None:
            document.pop(name, None)
        else:
            document[name] = [str(folder) for folder in value] if name == "extra_models_dirs" else value
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    fresh = settings.data_dir / f"{FILE}.{uuid.uuid4().hex}"
    fresh.touch(mode=0o600)  # a token is nobody else's business
    fresh.write_text(tomlkit.dumps(document), encoding="utf-8")
    os.replace(fresh, file)
    defaults = {name: Settings.model_fields[name].default for name, value in values.items() if value is None}
    return with_hub(settings.model_copy(update=defaults))


def _from_file(data_dir: Path) -> dict[str, Any]:
    file = data_dir / FILE
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
