"""The rules of the house: imports go down, types hold, style is level."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modules.settings import ROOT

BIN = Path(sys.executable).parent


def passes(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_go_down_the_house_only() -> None:
    passes(BIN / "lint-imports")


def test_style() -> None:
    passes(sys.executable, "-m", "ruff", "check", ".")
    passes(sys.executable, "-m", "ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types() -> None:
    passes(sys.executable, "-m", "mypy")


def test_modules_stay_readable() -> None:
    """A module fits on a few screens."""
    long = {str(f): n for f in (ROOT / "modules").rglob("*.py") if (n := len(f.read_text("utf-8").splitlines())) > 450}
    assert long == {}
