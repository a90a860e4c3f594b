"""Consent is bound to the material; the label is visible, stays in place and says what the standard asks."""

import json
from pathlib import Path

import numpy as np
import pytest

from modules import provenance
from modules.errors import StudioError


def test_consent_holds_for_its_kind_and_its_material_only(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_bytes(b"mine")
    other.write_bytes(b"other")
    consent = provenance.record_consent(tmp_path, "face", mine, "zh-CN")
    provenance.check_consent(tmp_path, consent, "face", mine)
    for kind, material, given in (("voice", mine, consent), ("face", other, consent), ("face", mine, "0" * 32)):
        with pytest.raises(StudioError, match="consent_missing"):
            provenance.check_consent(tmp_path, given, kind, material)


def test_no_consent_file_is_no_consent(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_bytes(b"mine")
    with pytest.raises(StudioError, match="consent_missing"):
        provenance.check_consent(tmp_path, "0" * 32, "face", file)


@pytest.mark.parametrize("language", ["zh-CN", "en"])
@pytest.mark.parametrize(("width", "height"), [(1080, 1920), (1920, 1080), (128, 96), (64, 640)])
@pytest.mark.parametrize("ground", [16, 128, 235])
def test_the_label_is_visible_and_touches_only_its_corner(language: str, width: int, height: int, ground: int) -> None:
    frame = np.full((height * 3 // 2, width), 128, np.uint8)
    frame[:height] = ground
    before = frame.copy()
    provenance.draw_label(frame, language)
    luma, old = frame[:height].astype(int), before[:height].astype(int)
    changed = np.argwhere(luma != old)
    assert len(changed)
    top, left = changed.min(0)
    bottom, right = changed.max(0)
    short = min(width, height)
    assert bottom - top >= 0.05 * short
    assert top >= 0.02 * short and left >= 0.02 * short
    assert np.ptp(luma[top : bottom + 1, left : right + 1]) > 100
    assert bottom < height // 2


def test_the_metadata_label_follows_the_standard() -> None:
    metadata = provenance.metadata_label("a" * 32)
    label = json.loads(metadata["AIGC"])
    assert label["Label"] == "1" and label["ProduceID"] == "a" * 32 and label["ContentProducer"]
