"""./start.sh models, as a person types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modules import settings, weights
from modules.errors import StudioError
from modules.weights import __main__ as command
from tests.weights.conftest import BIG, CONFIG, LOOSE
from tests.weights.server import Hub


@pytest.fixture
def models_command(hub: Hub, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FENSHEN_MODELS_DIR", str(models))
    monkeypatch.setenv("FENSHEN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    return models


def test_fetch_without_names_fetches_the_built_in_ones_only(models_command: Path, hub: Hub) -> None:
    assert command.main(["--fetch"]) == 0  # this catalogue has none
    assert not hub.asked
    assert command.main(["--fetch", "lips", "loose"]) == 0
    assert weights.state(models_command, "lips") == weights.state(models_command, "loose") == "ready"


def test_everything_is_listed_with_its_state(
    models_command: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (models_command / "lips").mkdir(parents=True)
    (models_command / "lips" / "config.json").write_bytes(CONFIG)
    assert command.main([]) == 0
    said = capsys.readouterr().out
    for word in ("lips", "loose", "drive", "partly here", "to be imported by hand", "lips1, lips2"):
        assert word in said
    (tmp_path / "drive.pt").write_bytes(LOOSE)
    assert command.main(["--import", str(tmp_path / "drive.pt")]) == 0
    assert "Imported: drive" in capsys.readouterr().out


def test_source_delete_check_and_errors(models_command: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--fetch", "loose", "--source", "modelscope"]) == 1
    assert "modelscope" in capsys.readouterr().err and not hub.asked
    assert command.main(["--fetch", "lips", "--source", "modelscope"]) == 0
    model = models_command / "lips" / "lips.pth"
    model.write_bytes(BIG[::-1])
    assert command.main(["--check"]) == 1 and "damaged" in capsys.readouterr().out
    assert command.main(["--delete", "lips"]) == 0 and not model.exists()
    assert command.main(["--delete", "nonsense"]) == 1
    assert "There is no model called “nonsense”" in capsys.readouterr().err


def test_what_the_page_saves_counts_for_all_and_leaves_the_rest_alone(
    models_command: Path, tmp_path: Path, hub: Hub
) -> None:
    data, theirs = tmp_path / "data", tmp_path / "其他 models"
    theirs.mkdir()
    data.mkdir()
    (data / "settings.toml").write_text('# mine\nmax_side = 2048  # enough\nhub_source = "modelscope"\n')
    before = settings.load()
    after = settings.save_hub(
        before, hub_source="mirror", hub_mirror=hub.url + "/", hub_token=hub.token, extra_models_dirs=[theirs]
    )
    assert (after.hub_source, after.hub_mirror, after.hub_token) == ("mirror", hub.url, hub.token)
    assert after.extra_models_dirs == (theirs,) and after.max_side == 2048
    assert settings.load() == after == settings.with_hub(before)
    text = (data / "settings.toml").read_text()
    assert "# mine" in text and "# enough" in text
    assert (data / "settings.toml").stat().st_mode & 0o077 == 0  # the token
    assert hub.token not in repr(after)
    assert settings.save_hub(after, hub_token=None).hub_token is None
    assert "hub_token" not in (data / "settings.toml").read_text()
    assert command.main(["--fetch", "lips"]) == 0


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("hub_mirror", "hf-mirror.com", "settings_mirror_bad"),
        ("hub_mirror", "file:///etc", "settings_mirror_bad"),
        ("extra_models_dirs", ["/nowhere/at/all"], "settings_folder_bad"),
    ],
)
def test_what_cannot_be_is_not_saved(models_command: Path, tmp_path: Path, key: str, value: object, code: str) -> None:
    with pytest.raises(StudioError, match=code):
        settings.save_hub(settings.load(), **{key: value})
    with pytest.raises(TypeError):
        settings.save_hub(settings.load(), host="0.0.0.0")  # noqa: S104
    assert not (tmp_path / "data" / "settings.toml").exists()
