"""SyncNet's scores: known shifts are found, stretches and crops are cut right, and files that are none are named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modules import media
from modules.avatar.metrics import features, network, score
from modules.errors import StudioError
from modules.face.track import Track
from modules.progress import Progress

WIDTH, HEIGHT = 320, 240


@pytest.mark.parametrize("late", [-9, 0, 4])
def test_the_shift_of_like_embeddings_is_found(late: int) -> None:
    random = np.random.default_rng(0)
    said = random.standard_normal((140, 32))
    frames = np.arange(20, 120)
    lips = said[frames - late] + 0.3 * random.standard_normal((100, 32))
    scores = features.sync_scores(lips, said[frames])
    assert scores.offset == late
    assert scores.lse_d < 3 < scores.lse_c


def test_unlike_embeddings_give_no_confidence() -> None:
    random = np.random.default_rng(1)
    scores = features.sync_scores(random.standard_normal((200, 32)), random.standard_normal((200, 32)))
    # Only the zeros beyond the ends of the sound make a difference.
    assert scores.lse_c < 0.3 and scores.lse_d > 7


@pytest.mark.parametrize(
    ("seen", "stretch"),
    [
        ([0] * 10, (0, 0)),
        ([1] * 60 + [0] * 25 + [1] * 3, (0, 88)),
        ([1] * 60 + [0] * 26 + [1] * 70 + [0] * 9, (86, 156)),
    ],
)
def test_the_longest_stretch_bridges_short_holes(seen: list[int], stretch: tuple[int, int]) -> None:
    assert score.longest_stretch(np.array(seen, bool)) == stretch


def test_a_hole_gets_the_boxes_between() -> None:
    boxes = np.array([[0, 0, 10, 10], [9, 9, 9, 9], [4, 2, 14, 12]], np.float64)
    np.testing.assert_allclose(score.bridged(boxes, np.array([True, False, True]))[1], [2, 1, 12, 11])


def test_a_single_jump_of_the_box_moves_no_crop() -> None:
    boxes = np.tile([100.0, 80, 180, 200], (30, 1))
    boxes[14] += 50
    np.testing.assert_allclose(features.crop_places(boxes), np.tile([140, 140, 60], (30, 1)))


def test_a_crop_is_the_published_one() -> None:
    random = np.random.default_rng(2)
    picture = cv2.GaussianBlur(random.integers(0, 256, (240, 320, 3), dtype=np.uint8), (0, 0), 4)
    x, y, half = 60, 150, 100
    border = 300
    padded = cv2.copyMakeBorder(picture, *[border] * 4, cv2.BORDER_CONSTANT, value=(110, 110, 110))
    part = padded[y + border - half : y + border + 180, x + border - 140 : x + border + 140]
    published = cv2.resize(part, (224, 224)).astype(int)
    ours = features.crop(picture, np.array([x, y, half], np.float64)).astype(int)
    assert (ours[:, :40] == 110).all()
    assert np.abs(ours - published).mean() < 0.5
    assert np.quantile(np.abs(ours - published), 0.99) <= 3


class _Told(nn.Module):
    """Embeds whether pictures are bright, and whether the sound is loud, in each of five frames."""

    def forward_lip(self, frames: Tensor) -> Tensor:
        assert frames.shape[1:] == (3, 5, 224, 224)
        return (frames[:, :, :, :40, 100:124].mean((1, 3, 4)) > 128).float()

    def forward_aud(self, mfcc: Tensor) -> Tensor:
        # Of the four columns of a frame the first two hear nothing of the next frame.
        loudness = mfcc[:, 0, 0].unfold(1, 4, 4)[..., :2].mean(2)
        return (loudness > 22).float()


@pytest.mark.parametrize("late", [0, 3])
def test_the_offset_of_a_video_is_told(late: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(4)
    path, count = tmp_path / "声 音.mp4", 120
    bright = random.integers(0, 2, count)
    loud = np.roll(bright, -late)
    with media.VideoWriter(tmp_path / "picture.mp4", WIDTH, HEIGHT, media.ColorTags()) as writer:
        for level in bright:
            writer.write(media.to_i420(np.full((HEIGHT, WIDTH, 3), 40 + 170 * level, np.uint8)))
    sound = 0.5 * random.standard_normal(count * 640) * np.repeat(loud, 640)
    media.write_wav(tmp_path / "sound.wav", sound.clip(-1, 1).astype(np.float32), 16000)
    media.join([tmp_path / "picture.mp4"], tmp_path / "sound.wav", path, {}, Progress())
    landmarks = np.zeros((count, 478, 3), np.float32)
    # Seen from frame 10 on: the sound is cut to what is seen.
    landmarks[10:, :, :2] = random.uniform((110, 70), (210, 190), (478, 2))
    track = Track(landmarks, landmarks.any((1, 2)), np.zeros((count, 3), np.float32), np.ones(count, np.float32))
    monkeypatch.setattr(score.weights, "file", lambda *names: path)
    monkeypatch.setattr(network, "load", lambda path: _Told())
    reports: list[float] = []
    scores = score.score_video(path, track, tmp_path, Progress(lambda done, stage: reports.append(done)))
    assert scores is not None
    assert scores.offset == late
    assert scores.lse_c > 0.5 > scores.lse_d
    assert reports == sorted(reports) and reports[-1] == 1.0


def test_a_face_that_is_seen_for_a_moment_has_no_score(
    talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landmarks = np.zeros((200, 478, 3), np.float32)
    landmarks[:40] = 100
    track = Track(landmarks, landmarks.any((1, 2)), np.zeros((200, 3), np.float32), np.ones(200, np.float32))
    monkeypatch.setattr(score.weights, "file", lambda *names: talking_clip)
    assert score.score_video(talking_clip, track, tmp_path, Progress()) is None


def test_without_weights_it_is_said(talking_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(StudioError) as told:
        score.score_video(talking_clip, None, tmp_path, Progress())
    assert told.value.code == "weights_missing"


def test_old_files_have_no_counters_but_must_have_all_else(tmp_path: Path) -> None:
    path = tmp_path / "syncnet_v2.model"
    weights = network.SyncNet().state_dict()
    old = {key: held for key, held in weights.items() if not key.endswith("num_batches_tracked")}
    torch.save(old, path, _use_new_zipfile_serialization=False)
    loaded = network.load(path).state_dict()
    assert all(torch.equal(loaded[key], held) for key, held in old.items())
    del old["netfcaud.1.running_mean"]
    torch.save(old, path)
    with pytest.raises(StudioError) as told:
        network.load(path)
    assert told.value.code == "weights_broken" and told.value.values["file"] == path.name
