"""Ultralight's training on a few small faces: it learns, goes on, repeats itself, and a cancel loses nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modules.avatar.neural.fold import fold_norms
from modules.avatar.ultralight import features, network, personal, train
from modules.errors import Cancelled, StudioError
from modules.progress import Progress
from tests import made_faces

FRAMES = 12
SETTINGS = train.Settings(seconds=1e9, steps=4, batch=2, seed=3)
# The loss is told with the first step and with each tenth after it.
STEPS = 61


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return made_faces.faces(FRAMES)


def learn(
    faces: tuple[np.ndarray, np.ndarray, np.ndarray], folder: Path, settings: train.Settings, progress: Progress
) -> train.Trained:
    torch.set_num_threads(2)
    return train.train(*faces, settings, folder, progress, device="cpu")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return network.load(folder / train.WEIGHTS).state_dict()


@pytest.mark.slow
def test_the_loss_falls_and_pictures_come(faces, tmp_path: Path) -> None:
    pictures: list[tuple[tuple[int, ...], int]] = []
    done = train.train(
        *faces,
        replace(SETTINGS, steps=STEPS),
        tmp_path,
        Progress(),
        lambda picture, step: pictures.append((picture.shape, step)),
        {"footage": "a"},
        "cpu",
    )
    assert done.step == STEPS
    assert done.curve[-1][1] < 0.7 * done.curve[0][1]
    assert pictures[-1] == ((2 * 160, train.SAMPLES * 160, 3), STEPS)
    told = network.metadata(tmp_path / train.WEIGHTS)
    assert (told["kind"], told["footage"], told["step"]) == ("builtin", "a", STEPS)
    assert json.loads((tmp_path / train.CURVE).read_text()) == [list(point) for point in done.curve]


@pytest.mark.slow
def test_the_same_seed_learns_the_same_and_stopping_changes_nothing(faces, tmp_path: Path) -> None:
    whole, again, pieces = tmp_path / "whole", tmp_path / "again", tmp_path / "pieces"
    learn(faces, whole, SETTINGS, Progress())
    learn(faces, again, SETTINGS, Progress())
    steps = iter(range(100))
    with pytest.raises(Cancelled):
        learn(faces, pieces, SETTINGS, Progress(cancelled=lambda: next(steps) >= 6))
    assert 0 < network.metadata(pieces / train.WEIGHTS)["step"] < SETTINGS.steps
    assert learn(faces, pieces, SETTINGS, Progress()).step == SETTINGS.steps
    wanted = weights(whole)
    for other in (again, pieces):
        for key, tensor in weights(other).items():
            assert torch.equal(tensor, wanted[key]), (other.name, key)


def test_a_training_goes_on_with_the_widths_that_it_was_begun_with(faces, tmp_path: Path) -> None:
    narrow = (8, 8, 16, 16, 24)
    learn(faces, tmp_path, replace(SETTINGS, steps=1, widths=narrow), Progress())
    learn(faces, tmp_path, replace(SETTINGS, steps=2), Progress())
    found = network.load(tmp_path / train.WEIGHTS)
    assert found.widths == narrow
    assert network.metadata(tmp_path / train.WEIGHTS)["step"] == 2
    # What another process compiles is the same network.
    blank = network.blank(found.widths).network.state_dict()
    folded = fold_norms(found).state_dict()
    assert {key: tensor.shape for key, tensor in blank.items()} == {key: tensor.shape for key, tensor in folded.items()}


def test_a_damaged_state_is_named(faces, tmp_path: Path) -> None:
    (tmp_path / train.STATE).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(StudioError) as raised:
        learn(faces, tmp_path, SETTINGS, Progress())
    assert raised.value.code == "training_broken"


def test_rows_of_sound_can_be_learnt_from(faces) -> None:
    crops, _, held = faces
    rows = np.random.default_rng(2).normal(size=(FRAMES, 2, features.ROW_WIDTH)).astype(np.float32)
    work = train._Work(crops, rows, held, replace(SETTINGS, kind="hubert"), "cpu")
    face, sound, wanted = work.batch()
    assert face.shape == (2, 6, 160, 160)
    assert sound.shape == (2, *features.WINDOW_SHAPE)
    assert not face[:, 3:, 5:150, 5:155].any()
    assert torch.equal(face[:, 3:, :5], wanted[:, :, :5])


def test_codes_reach_every_neighbourhood() -> None:
    codes = torch.arange(1.0, 11.0)[None]
    spread = network.spread_codes(codes)
    assert spread.shape == (1, 16, 32, 32)
    for top, left in ((0, 0), (28, 12), (7, 21)):
        seen = set(spread[0, 5, top : top + 4, left : left + 4].flatten().tolist())
        assert seen == {0.0, *codes[0].tolist()}


def test_faces_keep_their_rim_and_their_size() -> None:
    torch.manual_seed(0)
    faces = network.Faces(network.Ultralight().eval())
    crops = torch.randint(0, 256, (2, 168, 168, 3), dtype=torch.uint8)
    with torch.inference_mode():
        drawn = faces(crops, torch.zeros(2, 10))
    assert drawn.dtype == torch.uint8
    assert torch.equal(drawn[:, :4], crops[:, :4])
    assert torch.equal(drawn[:, :, -4:], crops[:, :, -4:])
    assert not torch.equal(drawn[:, 4:-4, 4:-4], crops[:, 4:-4, 4:-4])


def test_windows_of_sound_agree_with_the_single_one() -> None:
    rows = np.random.default_rng(3).normal(size=(9, 2, features.ROW_WIDTH)).astype(np.float32)
    frames = np.array([0, 4, 8, 11])
    windows = features.sound_windows(rows, frames)
    for window, frame in zip(windows, frames.tolist(), strict=True):
        assert np.array_equal(window.ravel(), features.sound_window(rows, frame).ravel())


def test_how_far_a_training_goes(tmp_path: Path) -> None:
    folder, jobs = tmp_path / "engine", iter(range(10))
    folder.mkdir()

    def goal(seconds: float) -> float:
        work = tmp_path / f"job{next(jobs)}"
        work.mkdir()
        found = personal.goal(folder, work, seconds)
        # The same job does not go further because it is resumed.
        assert personal.goal(folder, work, 2 * seconds) == found
        return found

    def stand(reached: float, goal: float) -> None:
        (folder / train.STATE).touch()
        told = {"fenshen": json.dumps({"seconds": reached, "goal": goal})}
        save_file({"x": torch.zeros(1)}, folder / train.WEIGHTS, told)

    assert goal(600) == 600
    stand(200, 600)  # stopped: it goes on
    assert goal(600) == 600
    assert goal(100) == 300  # less than there is already: so much more
    stand(600.5, 600)  # finished: so much more
    assert goal(600) == 1200.5
    (folder / train.STATE).unlink()  # nothing to go on from
    assert goal(600) == 600
    assert personal.reached(folder) == 0
