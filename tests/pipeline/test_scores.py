"""A finished video gets its lip-sync scores where SyncNet is here, and is finished without them all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modules.avatar.metrics.network import SyncNet
from modules.jobs import tasks
from modules.progress import Progress
from modules.settings import Settings
from tests import made_weights

pytestmark = pytest.mark.slow


def settings_with(tmp_path: Path, content: bytes | None) -> Settings:
    file = tmp_path / "models" / "syncnet" / "syncnet_v2.model"
    file.parent.mkdir(parents=True)
    if content is None:
        torch.manual_seed(0)
        torch.save(SyncNet().state_dict(), file)
    else:
        file.write_bytes(content)
    return Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")


def test_a_video_is_scored(talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_weights.trust(monkeypatch.setattr)
    reports: list[float] = []
    progress = Progress(lambda share, _: reports.append(share))
    scores = tasks._scored(settings_with(tmp_path, None), talking_clip, progress)
    assert scores is not None
    assert -15 <= scores["offset"] <= 15
    assert scores["lse_d"] > 0
    assert reports == sorted(reports) and reports[-1] == 1.0


def test_a_broken_file_costs_the_score_only(
    talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_weights.trust(monkeypatch.setattr)
    assert tasks._scored(settings_with(tmp_path, b"no network"), talking_clip, Progress()) is None
