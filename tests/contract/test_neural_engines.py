"""What GPU engines must do that needs no meaning in their weights: narrow networks with made-up ones, on the CPU."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from modules import media, settings
from modules.avatar import registry
from modules.avatar.base import FaceFrame, LipSyncEngine, PreparedAvatar
from modules.avatar.builtin.ears import WHISPER
from modules.avatar.ultralight import network
from modules.errors import Cancelled, StudioError
from modules.face import landmarks as at
from modules.face.track import Track, track_footage
from modules.progress import Progress
from tests import made_weights
from tests.clips import SOUND_RATE, speech
from tests.contract.test_lip_sync_engines import chunks

pytestmark = pytest.mark.slow
WAV2LIP, TRAINED = ["wav2lip96", "wav2lip256", "wav2lip384"], ["ultralight"]
# Mesh points in the middle of the cheeks, and under the chin.
BESIDE, CHIN = (205, 425, 187, 411, 207, 427), 152
Stage = tuple[LipSyncEngine, PreparedAvatar]


@pytest.fixture(scope="module")
def footage(talking_clip: Path) -> media.Footage:
    return media.probe(talking_clip)


@pytest.fixture(scope="module")
def whole_track(footage: media.Footage) -> Track:
    return track_footage(footage, None, Progress())


@pytest.fixture(scope="module")
def track(whole_track: Track) -> Track:
    """Two seconds of it are enough."""
    return dataclasses.replace(whole_track, usable=whole_track.usable & (np.arange(len(whole_track)) < 50))


@pytest.fixture(scope="module", params=WAV2LIP + TRAINED)
def stage(
    request: pytest.FixtureRequest,
    footage: media.Footage,
    whole_track: Track,
    track: Track,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    models = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        made_weights.trust(patch.setattr)
        made_weights.shrink(patch.setattr)
        engine = registry.create(request.param, models, 2)
        for entry in engine.info.weights:
            if entry == WHISPER:
                (models / WHISPER).symlink_to(settings.load().models_dir / WHISPER)
            else:
                made_weights.write(models, entry)
        if engine.info.trained:
            made_weights.train(footage, whole_track, models, models / "prepared")
        yield engine, engine.prepare(footage, track, models / "prepared", {}, Progress())
        engine.unload()


def animate(stage: Stage, sound: np.ndarray, heard: int = 0) -> list[FaceFrame]:
    engine, avatar = stage
    return list(engine.animate(avatar, chunks(sound), {}, 30, heard))


@pytest.mark.parametrize("seconds", [0.01, 0.04, 0.5])
def test_one_frame_for_each_40_ms_begun(stage: Stage, seconds: float) -> None:
    sound = speech(1.0, seed=1)[0][: round(seconds * SOUND_RATE)]
    faces = animate(stage, sound)
    assert len(faces) == -(-len(sound) * 25 // SOUND_RATE)
    assert [face.base for face in faces] == [stage[1].loop.frame(30 + number) for number in range(len(faces))]


def test_patches_lie_in_the_frame_on_even_places(stage: Stage) -> None:
    width, height = stage[1].footage.width, stage[1].footage.height
    for face in animate(stage, speech(0.5, seed=1)[0]):
        assert face.patch is not None
        assert face.mask is not None
        high, wide = face.mask.shape
        assert face.patch.shape == (high, wide, 3)
        assert all(value % 2 == 0 for value in (face.left, face.top, wide, high))
        assert 0 <= face.left <= width - wide
        assert 0 <= face.top <= height - high


def test_detail_is_kept_around_the_frames_own_lips_and_not_on_them(stage: Stage) -> None:
    engine, avatar = stage
    for face in animate(stage, speech(0.2, seed=1)[0]):
        assert face.mouth is not None and face.mask is not None
        places = (avatar.track.landmarks[face.base, :, :2] - (face.left, face.top)).round().astype(int)
        x, y = places.T
        assert face.mouth[y[list(at.LIPS)], x[list(at.LIPS)]].min() > 200
        assert face.mouth[y[list(BESIDE)], x[list(BESIDE)]].max() == 0
        if engine.info.id in TRAINED:  # what it draws of the neck is shown as well
            assert face.mask[y[CHIN], x[CHIN]] > 240


def test_frames_whose_face_is_unusable_pass_through(stage: Stage) -> None:
    engine, avatar = stage
    usable = avatar.track.usable.copy()
    usable[[avatar.loop.frame(number) for number in (3, 4)]] = False
    patchy = dataclasses.replace(avatar, track=dataclasses.replace(avatar.track, usable=usable))
    faces = list(engine.animate(patchy, chunks(speech(0.3, seed=1)[0]), {}))
    assert [number for number, face in enumerate(faces) if face.patch is None] == [3, 4]


def test_a_piece_that_hears_what_was_before_is_the_end_of_the_whole(stage: Stage) -> None:
    sound = speech(1.0, seed=6)[0]
    whole, rest = animate(stage, sound), animate(stage, sound, heard=20)
    assert len(rest) == len(whole) - 20
    for one, two in zip(whole[20:], rest, strict=True):
        np.testing.assert_array_equal(one.patch, two.patch)


@pytest.mark.parametrize("stage", WAV2LIP, indirect=True)
def test_another_option_prepares_anew_and_the_same_one_does_not(
    stage: Stage, footage: media.Footage, track: Track
) -> None:
    engine, avatar = stage
    before = (avatar.folder / "prepared.npz").stat().st_mtime_ns
    engine.prepare(footage, track, avatar.folder, {"shift": 1.0}, Progress())
    assert (avatar.folder / "prepared.npz").stat().st_mtime_ns == before
    engine.prepare(footage, track, avatar.folder, {"pad_bottom": 0.2}, Progress())
    assert (avatar.folder / "prepared.npz").stat().st_mtime_ns != before
    engine.prepare(footage, track, avatar.folder, {}, Progress())


def test_preparing_can_be_cancelled_and_leaves_nothing(
    stage: Stage, footage: media.Footage, track: Track, tmp_path: Path
) -> None:
    reports: list[float] = []
    progress = Progress(lambda share, _: reports.append(share), lambda: len(reports) > 4)
    folder = tmp_path / "prepared"
    folder.mkdir()
    for name in stage[0].info.trained:
        shutil.copyfile(stage[1].folder / name, folder / name)
    with pytest.raises(Cancelled):
        stage[0].prepare(footage, track, folder, {}, progress)
    assert sorted(path.name for path in folder.iterdir()) == sorted(stage[0].info.trained)


def test_an_avatar_that_is_not_trained_is_refused(footage: media.Footage, track: Track, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="engine_not_trained"):
        registry.create("ultralight", tmp_path, 1).prepare(footage, track, tmp_path / "new", {}, Progress())


@pytest.mark.parametrize("stage", TRAINED, indirect=True)
def test_a_person_that_is_trained_further_is_loaded_anew(stage: Stage) -> None:
    engine, avatar = stage
    sound = speech(0.5, seed=1)[0]
    before = animate(stage, sound)
    other = network.Ultralight()
    kept = avatar.folder / engine.info.trained[0]
    content = kept.read_bytes()
    save_file(other.state_dict(), kept)
    try:
        assert any((one.patch != two.patch).any() for one, two in zip(before, animate(stage, sound), strict=True))
    finally:
        kept.write_bytes(content)
    for one, two in zip(before, animate(stage, sound), strict=True):
        np.testing.assert_array_equal(one.patch, two.patch)


def test_missing_weights_are_named(footage: media.Footage, track: Track, tmp_path: Path) -> None:
    for name in ("wav2lip96", "musetalk15"):
        with pytest.raises(StudioError) as error:
            registry.create(name, tmp_path / "nothing", 1).prepare(footage, track, tmp_path / name, {}, Progress())
        assert error.value.code in ("weights_missing", "weights_import_only")
