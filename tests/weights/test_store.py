"""What is here, what of it may be loaded, and what is brought from elsewhere."""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest

from modules import weights
from modules.errors import StudioError
from modules.progress import Progress
from modules.weights import importing, records, workplace
from tests.weights.conftest import BIG, CONFIG, LOOSE, OTHER

pytestmark = pytest.mark.usefixtures("listed")


def lay(folder: Path, **files: bytes) -> Path:
    """A folder with files; their names with __ for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def broken(models: Path, name: str, file: str) -> str:
    with pytest.raises(StudioError) as caught:
        weights.file(models, name, file)
    assert caught.value.code == "weights_broken"
    return str(caught.value.values["file"])


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read through from now on."""
    read: list[str] = []
    plain = records.sha256_of

    def spy(path: Path, *more: object) -> str:
        read.append(path.name)
        return plain(path)

    monkeypatch.setattr(records, "sha256_of", spy)
    return read


def test_a_file_copied_here_by_hand_is_read_once_and_again_only_when_it_changed(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = lay(models / "lips", lips__pth=BIG, config__json=CONFIG)
    read = counted(monkeypatch)
    assert weights.state(models, "lips") == "ready" and read == []
    assert weights.folder(models, "lips") == home and read == ["lips.pth", "config.json"]
    weights.folder(models, "lips")
    assert weights.verify(models, "lips", Progress()) == [] and len(read) == 2
    os.utime(home / "lips.pth")
    weights.folder(models, "lips")
    assert read[2:] == ["lips.pth"]
    assert weights.verify(models, "lips", Progress(), thorough=True) == [] and len(read) == 5


@pytest.mark.parametrize("content", [BIG[:-1], BIG[:-1] + b"?", BIG + b"?"])
def test_a_wrong_file_is_never_given_out_and_is_named(models: Path, content: bytes) -> None:
    home = lay(models / "lips", lips__pth=content, config__json=CONFIG)
    assert broken(models, "lips", "lips.pth") == str(home / "lips.pth")
    assert weights.state(models, "lips") == "broken"
    assert weights.verify(models, "lips", Progress()) == ["lips.pth"]
    with pytest.raises(StudioError, match="weights_broken"):
        weights.folder(models, "lips")


def test_a_file_that_changes_after_it_was_good_is_not_given_out(models: Path) -> None:
    home = lay(models / "lips", lips__pth=BIG, config__json=CONFIG)
    weights.folder(models, "lips")
    lay(home, lips__pth=BIG[::-1])
    broken(models, "lips", "lips.pth")
    lay(models / "loose", loose__pth=LOOSE)
    assert weights.file(models, "loose", "loose.pth").is_file()
    lay(models / "loose", loose__pth=LOOSE[:950_000])  # a size that could be, if another had not been accepted
    assert weights.state(models, "loose") == "broken"
    broken(models, "loose", "loose.pth")


def test_a_checkpoint_that_breaks_off_is_seen_even_if_nobody_knows_its_hash(models: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("archive/data.pkl", LOOSE)
    content = whole.read_bytes()
    lay(models / "loose", loose__pth=content[: len(content) - 50])
    broken(models, "loose", "loose.pth")
    lay(models / "loose", loose__pth=content)
    assert weights.file(models, "loose", "loose.pth").read_bytes() == content


def test_another_file_may_stand_in(models: Path) -> None:
    home = lay(models / "lips", lips_gan__pth=OTHER, config__json=CONFIG)
    assert weights.state(models, "lips") == "ready"
    for asked in ("lips.pth", "lips_gan.pth"):
        assert weights.file(models, "lips", asked) == home / "lips_gan.pth"
    lay(home, lips__pth=BIG)
    assert weights.file(models, "lips", "lips.pth").name == "lips.pth"
    assert weights.file(models, "lips", "lips_gan.pth").name == "lips_gan.pth"
    with pytest.raises(KeyError):
        weights.file(models, "lips", "else.pth")


def test_half_an_entry_is_partial_and_says_how_much(models: Path) -> None:
    lay(models / "lips", config__json=CONFIG)
    assert weights.state(models, "lips") == "partial" and weights.arrived_bytes(models, "lips") == len(CONFIG)
    with pytest.raises(StudioError, match="weights_missing"):
        weights.file(models, "lips", "lips.pth")


def test_files_of_other_programs_are_used_where_they_lie(models: Path, tmp_path: Path) -> None:
    theirs = lay(tmp_path / "ComfyUI 模型" / "lips" / "deep", Lips__PTH=BIG)
    lay(theirs.parent / "old", lips__pth=BIG[:100])  # of the name, not of the size
    lay(models / "lips", config__json=CONFIG)
    weights.choose(weights.Choice(folders=(tmp_path / "nowhere", tmp_path / "ComfyUI 模型")))
    assert weights.state(models, "lips") == "ready"
    assert weights.file(models, "lips", "lips.pth") == theirs / "Lips.PTH"
    assert weights.folder(models, "lips") == models / "lips"
    weights.delete(models, "lips")
    assert (theirs / "Lips.PTH").read_bytes() == BIG
    lay(theirs, Lips__PTH=BIG[::-1])
    with pytest.raises(StudioError, match="weights_broken"):
        weights.file(models, "lips", "lips.pth")
    assert weights.state(models, "lips") == "missing"  # known to be wrong now, and not ours to complain of


def test_delete_removes_everything_of_ours(models: Path) -> None:
    lay(models / "lips", lips__pth=BIG, config__json=CONFIG)
    lay(models / ".downloads" / "lips", lips__pth__abc__part=b"half")
    weights.delete(models, "lips")
    assert weights.state(models, "lips") == "missing" and not (models / "lips").exists()
    assert not (models / ".downloads" / "lips").exists()
    weights.delete(models, "lips")  # twice is no fault


def test_nothing_is_deleted_while_somebody_works_on_it(models: Path) -> None:
    lay(models / "lips", config__json=CONFIG)
    with (
        workplace.alone(models, "lips", Progress()),
        pytest.raises(StudioError, match="weights_busy"),
    ):
        weights.delete(models, "lips")
    assert (models / "lips" / "config.json").is_file()


def test_many_lookers_do_not_take_each_other_for_workers(models: Path) -> None:
    lay(models / "lips", lips__pth=BIG, config__json=CONFIG)
    with workplace.alone(models, "lips", Progress()):
        pass  # there is a lock file now
    said: set[str] = set()

    def look() -> None:
        for _ in range(300):
            said.add(weights.state(models, "lips"))

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join()
    assert said == {"ready"}


def test_import_from_a_folder_of_any_shape(models: Path, tmp_path: Path) -> None:
    usb = lay(tmp_path / "usb" / "a", renamed__bin=BIG)  # known by its content
    lay(usb / "b", config__json=b'{"layers": 9}')  # another program's
    lay(usb / "c", config__json=CONFIG, LOOSE__pth=LOOSE, drive__pt=LOOSE)
    assert weights.import_from(models, tmp_path / "usb", Progress()) == ["lips", "loose", "drive"]
    assert [weights.state(models, name) for name in ("lips", "loose", "drive")] == ["ready"] * 3
    assert weights.file(models, "lips", "lips.pth").read_bytes() == BIG
    assert weights.file(models, "lips", "config.json").read_bytes() == CONFIG
    assert sorted(path.name for path in (models / "loose").iterdir()) == [".verified.json", "loose.pth"]
    assert (usb / "renamed.bin").is_file()


def test_import_takes_nothing_half_or_wrong(models: Path, tmp_path: Path) -> None:
    lay(tmp_path / "usb", lips__pth=BIG[::-1], config__json=CONFIG[::-1], loose__pth=LOOSE[:100], drive__pt=b"")
    with pytest.raises(StudioError, match="weights_import_empty"):
        weights.import_from(models, tmp_path / "usb", Progress())
    assert not [path for path in models.rglob("*") if path.is_file() and path.stat().st_size]


def test_import_replaces_what_is_broken(models: Path, tmp_path: Path) -> None:
    lay(models / "lips", lips__pth=BIG[:-1], config__json=CONFIG)
    lay(tmp_path / "usb", lips__pth=BIG)
    assert weights.import_from(models, tmp_path / "usb", Progress()) == ["lips"]
    assert weights.state(models, "lips") == "ready"


def packed(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_import_from_a_zip(models: Path, tmp_path: Path) -> None:
    members = {"模型/lips.pth": BIG, "模型/config.json": CONFIG, "readme.txt": b"hello"}
    archive = packed(tmp_path / "upload without a name", **members)
    assert weights.import_from(models, archive, Progress(), "模型.zip") == ["lips"]
    assert weights.state(models, "lips") == "ready"


@pytest.mark.parametrize("name", ["../../lips.pth", "/root/x/lips.pth", "..\\..\\lips.pth", "C:\\lips.pth"])
def test_names_in_a_zip_lead_nowhere(models: Path, tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / "evil.zip", **{name: BIG, "../../config.json": CONFIG, "../../evil.txt": b"x"})
    assert weights.import_from(models, archive, Progress()) == ["lips"]
    assert weights.file(models, "lips", "lips.pth") == models / "lips" / "lips.pth"
    assert not list(tmp_path.parent.glob("*.pth")) and not list(tmp_path.rglob("evil.txt"))


def test_a_zip_bomb_is_not_blown_up(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that says to be small and is not: no more than it says is ever written."""
    path = packed(tmp_path / "bomb.zip", **{"loose.pth": bytes(20_000_000)})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(signature) + offset
        data[place : place + 4] = (900_000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(StudioError, match="weights_import_empty"):
        weights.import_from(models, path, Progress())
    assert sum(file.stat().st_size for file in models.rglob("*") if file.is_file()) == 0


def test_a_damaged_zip(models: Path, tmp_path: Path) -> None:
    path = packed(tmp_path / "damaged.zip", **{"lips.pth": BIG, "config.json": CONFIG})
    data = bytearray(path.read_bytes())
    data[1000:2000] = bytes(1000)
    path.write_bytes(data)
    assert weights.import_from(models, path, Progress()) == ["lips"]  # the other file of it
    assert weights.state(models, "lips") == "partial"
    path.write_bytes(data[:-5000])
    with pytest.raises(StudioError, match="weights_import_empty"):
        weights.import_from(models, path, Progress())


def test_import_of_one_file_by_its_given_name(models: Path, tmp_path: Path) -> None:
    upload = tmp_path / "source"
    upload.write_bytes(LOOSE)
    assert weights.import_from(models, upload, Progress(), "drive.pt") == ["drive"]
    assert weights.state(models, "drive") == "ready"


def test_import_asks_for_room_first(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "usb", lips__pth=BIG)

    class Usage:
        free = 50_000_000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(StudioError, match="weights_no_space"):
        importing.import_from(models, tmp_path / "usb", Progress())
