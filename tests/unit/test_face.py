"""Finding, following and judging faces, on a drawn person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modules import media
from modules.errors import Cancelled, StudioError
from modules.face import check
from modules.face import landmarks as at
from modules.face.detect import FaceDetector
from modules.face.geometry import align, canonical_shapes, eye_distance, head_pose, reference_face
from modules.face.track import FaceTracker, FrameState, Person, Track, frame_state, track_footage
from modules.progress import Progress
from tests.clips import HEIGHT, WIDTH, Pose, draw_face, write_talking_clip


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    found, _ = FaceTracker().follow(draw_face(Pose()))
    assert found is not None
    return found


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Row-vector rotation by angles in degrees."""
    a, b, c = np.radians([yaw, pitch, roll])
    turn_yaw = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    turn_pitch = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    turn_roll = np.array([[np.cos(c), np.sin(c), 0], [-np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return turn_yaw @ turn_pitch @ turn_roll


def two_people(shift: float = 0.0) -> np.ndarray:
    """A wide picture with a person left and a smaller one right."""
    left = draw_face(Pose(x=WIDTH / 2 + shift))
    right = np.zeros_like(left)
    small = draw_face(Pose())[::2, ::2]
    right[200 : 200 + small.shape[0], 100 : 100 + small.shape[1]] = small
    return np.hstack([left, right])


def test_the_detector_finds_the_drawn_face_and_nothing_in_noise() -> None:
    detector = FaceDetector()
    (found,) = detector.detect_all(draw_face(Pose(x=260, y=310)))
    assert found.score > 0.8
    assert np.abs(found.center - (260, 340)).max() < 30
    eyes = found.keypoints[:2]
    assert np.abs(eyes - [(212, 288), (308, 288)]).max() < 15
    assert detector.detect_all(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)) == []


def test_a_small_face_in_a_wide_picture_is_found_too() -> None:
    wide = np.full((720, 1280, 3), 120, np.uint8)
    small = draw_face(Pose())[::4, ::4]
    wide[300 : 300 + small.shape[0], 1000 : 1000 + small.shape[1]] = small
    (found,) = FaceDetector().detect_all(wide)
    assert np.abs(found.center - (1060, 380)).max() < 25


def test_the_mesh_sees_how_far_the_mouth_is_open() -> None:
    openings = []
    for mouth in (0.0, 0.3, 0.6, 1.0):
        found, score = FaceTracker().follow(draw_face(Pose(mouth=mouth)))
        assert found is not None
        assert score > 0.9
        gap = np.linalg.norm(found[at.LIP_INNER_TOP, :2] - found[at.LIP_INNER_BOTTOM, :2])
        openings.append(float(gap / eye_distance(found)))
    assert openings[0] < 0.02
    assert np.all(np.diff(openings) > 0.04)


def test_the_tracker_finds_a_face_again_after_losing_it() -> None:
    tracker = FaceTracker()
    assert tracker.follow(draw_face(Pose()))[0] is not None
    assert tracker.follow(np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[0] is None
    found, _ = tracker.follow(draw_face(Pose(x=300, y=330)))
    assert found is not None
    assert abs(found[at.NOSE_BRIDGE, 0] - 300) < 12


def test_the_tracker_stays_with_the_chosen_person() -> None:
    boxes = {d.center[0] > WIDTH: d.box for d in FaceDetector().detect_all(two_people())}
    for on_the_right, box in boxes.items():
        tracker = FaceTracker(Person(0, box, 1.0, np.zeros((1, 1, 3), np.uint8)))
        for shift in (0, 5, 10):
            found, _ = tracker.follow(two_people(shift))
            assert found is not None
            assert (found[at.NOSE_BRIDGE, 0] > WIDTH) == on_the_right


def test_pose_angles_have_the_right_sign_and_size(points: np.ndarray) -> None:
    reference = points - points[at.NOSE_BRIDGE]
    level = head_pose(reference)
    for angles in ((20, 0, 0), (-20, 0, 0), (0, 0, 15), (0, 12, 0)):
        turned = head_pose(reference.astype(np.float64) @ rotation(*angles)) - level
        np.testing.assert_allclose(turned, angles, atol=2.5)


def test_align_recovers_a_known_similarity(points: np.ndarray) -> None:
    source = points[None].astype(np.float64)
    turn = rotation(10, -5, 20)
    moved = 1.7 * source @ turn + np.array([30.0, -12.0, 4.0])
    motion = align(source, moved)
    np.testing.assert_allclose(motion.scale, 1.7, rtol=1e-6)
    np.testing.assert_allclose(motion.rotation[0], turn, atol=1e-6)
    np.testing.assert_allclose(motion.shift[0], (30, -12, 4), atol=1e-3)


def test_canonical_shapes_do_not_depend_on_head_pose(points: np.ndarray) -> None:
    poses = [(0, 0, 0), (15, 0, 0), (0, 8, 0), (-10, 3, 12), (5, -6, -9)]
    centred = points.astype(np.float64) - points.mean(0)
    frames = np.stack([(1 + 0.1 * n) * centred @ rotation(*pose) + 200 for n, pose in enumerate(poses)])
    stable = frames[:, list(at.STABLE)]
    reference = reference_face(frames, stable)
    shapes, motion = canonical_shapes(frames, stable, reference)
    assert np.abs(shapes - shapes[0]).max() < 1e-6
    assert np.linalg.norm((shapes[0, 263] - shapes[0, 33])[:2]) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(motion.to_picture(shapes, np.arange(5)), frames, atol=1e-6)


def test_frame_states(points: np.ndarray) -> None:
    pose = np.zeros(3, np.float32)
    assert frame_state(points, pose, WIDTH, HEIGHT) == FrameState.GOOD
    assert frame_state(None, pose, WIDTH, HEIGHT) == FrameState.NO_FACE
    assert frame_state(points, np.array([31, 0, 0]), WIDTH, HEIGHT) == FrameState.TURNED
    assert frame_state(points * 0.2, pose, WIDTH, HEIGHT) == FrameState.SMALL
    assert frame_state(points - (200, 0, 0), pose, WIDTH, HEIGHT) == FrameState.CUT_OFF


def test_a_track_covers_every_frame_and_survives_the_disk(talking_clip: Path, tmp_path: Path) -> None:
    footage = media.probe(talking_clip)
    track = track_footage(footage, None, Progress())
    assert len(track) == footage.frame_count
    assert track.usable.all()
    track.save(tmp_path / "track.npz")
    again = Track.load(tmp_path / "track.npz")
    np.testing.assert_array_equal(again.landmarks, track.landmarks)
    assert len(again.part(10, 30)) == 20


def test_tracking_can_be_cancelled(talking_clip: Path) -> None:
    with pytest.raises(Cancelled):
        track_footage(media.probe(talking_clip), None, Progress(cancelled=lambda: True))


def test_one_person_is_found_with_a_picture(talking_clip: Path) -> None:
    (person,) = check.find_people(media.probe(talking_clip), Progress())
    assert person.id == 0
    assert person.share == 1
    assert min(person.picture.shape[:2]) > 150


def test_two_people_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "two.mp4"
    with media.VideoWriter(path, 2 * WIDTH, HEIGHT, media.ColorTags()) as writer:
        for number in range(30):
            writer.write(media.to_i420(two_people(number / 3)))
    footage = media.probe(path)
    people = check.find_people(footage, Progress())
    assert [person.share for person in people] == [1, 1]
    assert people[0].box[0] < WIDTH < people[1].box[0]
    right = track_footage(footage, people[1], Progress())
    assert (right.landmarks[:, at.NOSE_BRIDGE, 0] > WIDTH).all()


def test_the_report_of_a_short_clip(talking_clip: Path) -> None:
    footage = media.probe(talking_clip)
    track = track_footage(footage, None, Progress())
    people = check.find_people(footage, Progress())
    report = check.check_footage(footage, track, media.read_sound(talking_clip, 16000), people).to_dict()
    assert report["seconds"] == ("good",) * 8
    assert report["people"] == 1
    assert 5 < report["has_speech"] < 7.5
    keys = {finding["key"]: finding["level"] for finding in report["findings"]}
    assert keys["check.short"] == "warning"
    assert keys["check.face_size"] == "good"
    assert keys["check.sound_good"] == "good"
    silent = check.check_footage(footage, track, None, people)
    assert "check.no_sound" in {finding.key for finding in silent.findings}


def test_footage_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = write_talking_clip(tmp_path / "short.mp4", seconds=2.0)
    footage = media.probe(path)
    track = track_footage(footage, None, Progress())
    with pytest.raises(StudioError) as short:
        check.require_usable(footage, track, 5.0)
    assert short.value.code == "footage_too_short"
    nobody = Track(np.zeros_like(track.landmarks), np.zeros(50, bool), track.pose, np.zeros(50, np.float32))
    with pytest.raises(StudioError) as empty:
        check.require_usable(footage, nobody, 5.0)
    assert empty.value.code == "no_face"
    turned = Track(track.landmarks, np.zeros(50, bool), track.pose, track.score)
    with pytest.raises(StudioError) as away:
        check.require_usable(footage, turned, 1.0)
    assert away.value.code == "face_unusable"


@pytest.mark.slow
def test_real_clips_are_tracked_without_a_gap(shared_media: Path | None) -> None:
    if shared_media is None:
        pytest.skip("no real clips beside the repository")
    for name in ("talk_man_20s.mp4", "talk_woman_10s.mp4"):
        track = track_footage(media.probe(shared_media / name), None, Progress())
        assert track.usable.all()
        assert track.score.min() > 0.9
