"""A catalogue of two small entries, and a hub that has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from modules import weights
from modules.weights import catalogue, choice, search, store
from tests.weights.server import Hub, HubServer, sha256

BIG = np.random.default_rng(1).bytes(3_000_000)
OTHER = np.random.default_rng(2).bytes(2_000_000)
LOOSE = np.random.default_rng(3).bytes(1_000_000)
CONFIG = b'{"layers": 2}'

# "lips": a hashed file that another may stand in for, and a small one; "loose": nobody tells size and hash;
# "drive": lies where no program may fetch it.
CATALOGUE = f"""
["lips"]
title = "Lips"
licence = "MIT"
page = "https://example.org/lips"
commercial = "yes"
engines = ["lips1", "lips2"]

[["lips".files]]
name = "lips.pth"
size = {len(BIG)}
sha256 = "{sha256(BIG)}"
places = ["huggingface: owner/lips main sub/lips.pth", "modelscope: owner/lips master sub/lips.pth"]

[["lips".files.others]]
name = "lips_gan.pth"
size = {len(OTHER)}
sha256 = "{sha256(OTHER)}"

[["lips".files]]
name = "config.json"
size = {len(CONFIG)}
sha256 = "{sha256(CONFIG)}"
places = ["huggingface: owner/lips main config.json", "modelscope: owner/lips master config.json"]

["loose"]
title = "Loose"
licence = "unknown"
page = "https://example.org/loose"

[["loose".files]]
name = "loose.pth"
size = 900000
approximate = true
places = ["huggingface: owner/loose main loose.pth"]

["drive"]
title = "Drive"
licence = "unknown"
page = "https://example.org/drive"

[["drive".files]]
name = "drive.pt"
size = 900000
approximate = true
"""


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small catalogue, and nothing that the machine's own settings say."""
    file = tmp_path / "catalogue.toml"
    file.write_text(CATALOGUE, encoding="utf-8")
    entries = catalogue.entries(file)
    monkeypatch.setattr(store, "entries", lambda: entries)
    monkeypatch.setattr(weights, "entries", lambda: entries)
    monkeypatch.setattr(choice, "_made", choice.Choice())
    monkeypatch.setattr(search, "_FRESH_SECONDS", 0.0)
    for name in ("HF_TOKEN", "HF_ENDPOINT", "MODELSCOPE_DOMAIN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    # Read once, by whichever test came first.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no token"))


@pytest.fixture
def hub(listed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with all files; it stands where Hugging Face, the mirror and ModelScope are looked for."""
    files = {
        "owner/lips/sub/lips.pth": BIG,
        "owner/lips/config.json": CONFIG,
        "owner/loose/loose.pth": LOOSE,
    }
    with HubServer(Hub(files)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("MODELSCOPE_DOMAIN", running.url)
        weights.choose(weights.Choice("huggingface"))
        yield running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "模型 models"
