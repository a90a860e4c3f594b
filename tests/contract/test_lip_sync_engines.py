"""What every registered lip-sync engine must do, whatever it is made of."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from modules import media, settings, weights
from modules.avatar import compositor, registry
from modules.avatar.base import FaceFrame, LipSyncEngine, PreparedAvatar
from modules.errors import Cancelled, StudioError
from modules.face import landmarks as at
from modules.face.geometry import eye_distance
from modules.face.track import FaceTracker, Track, track_footage
from modules.options import resolve
from modules.progress import Progress
from modules.translate import text
from tests.clips import SOUND_RATE, speech
from tests.held import held_bytes

pytestmark = pytest.mark.slow

# Those whose real weights are on this machine; test_neural_engines runs the others with made-up ones, and those that
# are trained with a made-up training.
ENGINES = [
    info.id
    for info in registry.infos()
    if not info.trained and all(weights.state(settings.load().models_dir, name) == "ready" for name in info.weights)
] or [registry.DEFAULT]
LIVE = [name for name in ENGINES if "live" in {option.name for option in registry.info(name).options}]
PHOTO = [name for name in ENGINES if registry.info(name).takes_photo]


@dataclass(frozen=True)
class Stage:
    """An engine with a prepared avatar of the drawn person."""

    engine: LipSyncEngine
    avatar: PreparedAvatar

    def animate(self, sound: np.ndarray, first: int = 0, heard: int = 0) -> list[FaceFrame]:
        return list(self.engine.animate(self.avatar, chunks(sound), {}, first, heard))

    def openings(self, faces: list[FaceFrame]) -> np.ndarray:
        """Inner-lip distance in eye distances of the finished frames, seen by the tracker."""
        bases = media.read_order(self.avatar.footage, [face.base for face in faces])
        tracker, found = FaceTracker(), []
        for base, face in zip(bases, faces, strict=True):
            points, _ = tracker.follow(media.to_bgr(compositor.paste(base, face)))
            assert points is not None
            gap = np.linalg.norm(points[at.LIP_INNER_TOP, :2] - points[at.LIP_INNER_BOTTOM, :2])
            found.append(float(gap / eye_distance(points)))
        return np.array(found)


def chunks(sound: np.ndarray, seconds: float = 0.5) -> Iterator[media.AudioChunk]:
    """A sound as a stream."""
    step = round(seconds * SOUND_RATE)
    for start in range(0, len(sound), step):
        yield media.AudioChunk(sound[start : start + step], SOUND_RATE)


@pytest.fixture(scope="module")
def footage(talking_clip: Path) -> media.Footage:
    return media.probe(talking_clip)


@pytest.fixture(scope="module")
def track(footage: media.Footage) -> Track:
    return track_footage(footage, None, Progress())


@pytest.fixture(scope="module", params=ENGINES)
def stage(
    request: pytest.FixtureRequest, footage: media.Footage, track: Track, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    engine = registry.create(request.param, settings.load().models_dir, 2)
    folder = tmp_path_factory.mktemp(request.param) / "prepared"
    yield Stage(engine, engine.prepare(footage, track, folder, {}, Progress()))
    engine.unload()


def test_info_says_what_the_page_needs(stage: Stage) -> None:
    info = stage.engine.info
    assert info.title
    assert info.licence
    assert info.memory_mb > 0
    assert set(resolve(info.options, {})) == {option.name for option in info.options}


def test_preparing_again_is_free(stage: Stage) -> None:
    avatar = stage.avatar
    before = {path: path.stat().st_mtime_ns for path in avatar.folder.rglob("*")}
    gone = dataclasses.replace(avatar.footage, path=avatar.footage.path.with_name("gone.mp4"))
    again = stage.engine.prepare(gone, avatar.track, avatar.folder, {}, Progress())
    assert again.loop == avatar.loop
    assert {path: path.stat().st_mtime_ns for path in avatar.folder.rglob("*")} == before


@pytest.mark.parametrize("seconds", [0.00005, 0.01, 0.04, 0.5, 2.03])
def test_one_frame_for_each_40_ms_begun(stage: Stage, seconds: float) -> None:
    sound = speech(3.0, seed=1)[0][: round(seconds * SOUND_RATE)]
    faces = stage.animate(sound, first=30)
    assert len(faces) == -(-len(sound) * 25 // SOUND_RATE)
    assert [face.base for face in faces] == [stage.avatar.loop.frame(30 + number) for number in range(len(faces))]


def test_no_sound_no_frames(stage: Stage) -> None:
    assert list(stage.engine.animate(stage.avatar, iter([]), {})) == []


def test_patches_lie_in_the_frame_on_even_places(stage: Stage) -> None:
    footage = stage.avatar.footage
    for face in stage.animate(speech(2.0, seed=1)[0]):
        assert face.patch is not None
        assert face.mask is not None
        height, width = face.mask.shape
        assert face.patch.shape == (height, width, 3)
        assert face.patch.dtype == face.mask.dtype == np.uint8
        assert all(value % 2 == 0 for value in (face.left, face.top, width, height))
        assert 0 <= face.left <= footage.width - width
        assert 0 <= face.top <= footage.height - height


def test_most_of_the_picture_is_left_alone(stage: Stage) -> None:
    faces = stage.animate(speech(1.0, seed=1)[0])
    bases = media.read_order(stage.avatar.footage, [face.base for face in faces])
    for base, face in zip(bases, faces, strict=True):
        old = base.copy()
        changed = compositor.paste(base, face) != old
        assert changed.mean() < 0.25
        assert not changed[: stage.avatar.footage.height // 4].any()


def test_frames_whose_face_is_unusable_pass_through(stage: Stage) -> None:
    avatar = stage.avatar
    usable = avatar.track.usable.copy()
    usable[[avatar.loop.frame(number) for number in (3, 4, 9)]] = False
    patchy = dataclasses.replace(avatar, track=dataclasses.replace(avatar.track, usable=usable))
    faces = list(stage.engine.animate(patchy, chunks(speech(0.6, seed=1)[0]), {}))
    assert [number for number, face in enumerate(faces) if face.patch is None] == [3, 4, 9]


def test_the_mouth_opens_with_the_sound_and_is_closed_in_silence(stage: Stage) -> None:
    sound, wanted = speech(4.0, seed=5)
    quiet = np.zeros(SOUND_RATE, np.float32)
    openings = stage.openings(stage.animate(np.concatenate([quiet, sound, quiet])))
    assert openings[:18].max() < 0.04
    assert openings[-15:].max() < 0.04
    spoken = openings[25:-25]
    assert spoken.max() > 0.1
    assert np.corrcoef(spoken, wanted)[0, 1] > 0.4


def test_the_same_speech_gives_the_same_frames(stage: Stage) -> None:
    sound = speech(1.5, seed=6)[0]
    for one, two in zip(stage.animate(sound), stage.animate(sound), strict=True):
        np.testing.assert_array_equal(one.patch, two.patch)
        np.testing.assert_array_equal(one.mask, two.mask)


def test_a_piece_that_hears_what_was_before_is_the_end_of_the_whole(stage: Stage) -> None:
    sound = speech(1.5, seed=6)[0]
    whole, rest = stage.animate(sound, first=30), stage.animate(sound, first=30, heard=20)
    assert len(rest) == len(whole) - 20
    for one, two in zip(whole[20:], rest, strict=True):
        assert one.base == two.base
        np.testing.assert_array_equal(one.patch, two.patch)


def test_how_the_sound_is_cut_into_chunks_changes_nothing(stage: Stage) -> None:
    sound = speech(1.5, seed=6)[0]
    finely = list(stage.engine.animate(stage.avatar, chunks(sound, 0.013), {}))
    for one, two in zip(stage.animate(sound), finely, strict=True):
        np.testing.assert_array_equal(one.patch, two.patch)


def test_long_speech_is_taken_piece_by_piece(stage: Stage) -> None:
    """Frames come before all the sound is there, and memory stays."""
    given = 0

    def endless() -> Iterator[media.AudioChunk]:
        nonlocal given
        for number in itertools.count():
            given += 1
            yield media.AudioChunk(speech(1.0, seed=number % 5)[0], SOUND_RATE)

    faces = stage.engine.animate(stage.avatar, endless(), {})
    next(faces)
    assert given <= 30
    for _ in range(500):
        next(faces)
    before = held_bytes()
    for _ in range(1000):
        next(faces)
    grown = held_bytes() - before
    faces.close()  # type: ignore[attr-defined]
    assert grown < 20e6


@pytest.mark.parametrize("stage", LIVE, indirect=True)
def test_live_frames_come_soon_after_their_sound(stage: Stage) -> None:
    sound, wanted = speech(6.0, seed=9)
    given = 0

    def stream() -> Iterator[media.AudioChunk]:
        nonlocal given
        for chunk in chunks(sound, 0.04):
            given += 1
            yield chunk

    faces, late = [], []
    for face in stage.engine.animate(stage.avatar, stream(), {"live": True}):
        faces.append(face)
        late.append(given - len(faces))
    assert len(faces) == len(wanted)
    assert max(late) <= 15
    assert np.corrcoef(stage.openings(faces), wanted)[0, 1] > 0.4


def test_closing_the_iterator_stops_the_work(stage: Stage) -> None:
    faces = stage.engine.animate(stage.avatar, chunks(speech(8.0, seed=7)[0]), {})
    next(faces)
    threads = threading.active_count()
    faces.close()  # type: ignore[attr-defined]
    assert threading.active_count() <= threads
    assert len(stage.animate(speech(0.2)[0])) == 5


def test_preparing_can_be_cancelled_and_leaves_nothing(
    stage: Stage, footage: media.Footage, track: Track, tmp_path: Path
) -> None:
    reports: list[float] = []
    progress = Progress(lambda share, _: reports.append(share), lambda: len(reports) > 4)
    with pytest.raises(Cancelled):
        stage.engine.prepare(footage, track, tmp_path / "prepared", {}, progress)
    assert list(tmp_path.iterdir()) == []
    assert reports == sorted(reports)


@pytest.mark.parametrize("stage", PHOTO, indirect=True)
def test_a_photo_speaks_where_the_engine_takes_photos(stage: Stage, footage: media.Footage, tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "me.png"
    path.write_bytes(cv2.imencode(".png", media.to_bgr(next(media.read_frames(footage))))[1].tobytes())
    photo = media.probe(path)
    avatar = stage.engine.prepare(photo, track_footage(photo, None, Progress()), tmp_path / "photo", {}, Progress())
    spoken = Stage(stage.engine, avatar)
    openings = spoken.openings(spoken.animate(np.concatenate([speech(2.0, seed=8)[0], np.zeros(SOUND_RATE)])))
    assert openings.max() > 0.06
    # The tracker itself shakes by up to 0.03 on a still drawn mouth, another bit in each run: so not the maximum.
    assert np.median(openings[-12:]) < 0.03 < np.median(openings[:50])


def test_footage_without_sound_speaks_or_says_why_not(stage: Stage, track: Track, tmp_path: Path) -> None:
    source = stage.avatar.footage
    path = tmp_path / "silent.mp4"
    with media.VideoWriter(path, source.width, source.height, source.color) as writer:
        for frame in media.read_frames(source, 0, 50):
            writer.write(frame)
    silent = media.probe(path)
    assert not silent.has_sound
    try:
        avatar = stage.engine.prepare(silent, track.part(0, 50), tmp_path / "prepared", {}, Progress())
    except StudioError as error:
        assert text(error.key, "en", **error.values)
        return
    spoken = Stage(stage.engine, avatar)
    sound, wanted = speech(2.0, seed=8)
    assert np.corrcoef(spoken.openings(spoken.animate(sound)), wanted)[0, 1] > 0.3


def test_a_person_who_comes_late_is_learnt_in_time(stage: Stage, tmp_path: Path) -> None:
    """The first three seconds show nobody; sound and mouth must still be matched to each other."""
    source = stage.avatar.footage
    nobody = media.to_i420(np.full((source.height, source.width, 3), 110, np.uint8))
    with media.VideoWriter(tmp_path / "picture.mp4", source.width, source.height, source.color) as writer:
        for frame in itertools.chain(itertools.repeat(nobody, 75), media.read_frames(source)):
            writer.write(frame)
    sound = np.concatenate([np.zeros(3 * SOUND_RATE, np.float32), media.read_sound(source.path, SOUND_RATE)])
    media.write_wav(tmp_path / "sound.wav", sound, SOUND_RATE)
    media.join([tmp_path / "picture.mp4"], tmp_path / "sound.wav", tmp_path / "late.mp4", {}, Progress())
    late = media.probe(tmp_path / "late.mp4")
    track = track_footage(late, None, Progress())
    assert not track.usable[:75].any()
    avatar = stage.engine.prepare(late, track, tmp_path / "prepared", {}, Progress())
    spoken = Stage(stage.engine, avatar)
    wanted = speech(3.0, seed=4)
    openings = spoken.openings(spoken.animate(wanted[0]))
    shifted = {lag: np.corrcoef(openings[4 + lag : 71 + lag], wanted[1][4:71])[0, 1] for lag in range(-4, 5)}
    assert shifted[0] > 0.4
    assert abs(max(shifted, key=lambda lag: shifted[lag])) <= 1


def test_unload_gives_the_memory_back(stage: Stage) -> None:
    """Loaded and unloaded again and again, an engine does not grow, and it works again after each time."""
    left = []
    for _ in range(5):
        assert len(stage.animate(speech(0.5)[0])) == 13
        loaded = held_bytes()
        stage.engine.unload()
        gc.collect()
        left.append(held_bytes())
        assert left[-1] < loaded - 0.05 * stage.engine.info.memory_mb * 1e6
    assert left[-1] - left[0] < 0.02 * stage.engine.info.memory_mb * 1e6


@pytest.mark.parametrize("name", ENGINES)
def test_broken_weights_are_named(name: str, footage: media.Footage, track: Track, tmp_path: Path) -> None:
    models = settings.load().models_dir
    for entry in registry.create(name, models, 1).info.weights:
        for file in (models / entry).iterdir():
            target = tmp_path / entry / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            content = file.read_bytes()
            target.write_bytes(content[: len(content) // 2] + b"\0" * (len(content) - len(content) // 2))
    with pytest.raises(StudioError) as broken:
        registry.create(name, tmp_path, 1).prepare(footage, track, tmp_path / "prepared", {}, Progress())
    assert broken.value.code == "weights_broken"
    assert str(tmp_path) in str(broken.value.values["file"])
    assert text(broken.value.key, "en", **broken.value.values)
    missing = registry.create(name, tmp_path / "nothing", 1)
    with pytest.raises(StudioError) as absent:
        missing.prepare(footage, track, tmp_path / "prepared", {}, Progress())
    assert absent.value.code == "weights_missing"


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(StudioError) as error:
        registry.create("no such engine", Path(), 1)
    assert error.value.code == "engine_unknown"
