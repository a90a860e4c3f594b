"""Unit selection: which real frames of the person show the wanted mouth shapes, in the fewest pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

OPENING_WEIGHT = 0.8
POSE_WEIGHT = 0.3
# Yaw, pitch and roll in radians, times these, are as dear as one deviation of shape.
POSE_SCALE = np.array([8.0, 8.0, 4.0])
# A source turned further away than this (yaw, pitch) shows distorted teeth when it is warped into place.
MAX_DIFFERENCE = np.radians([8.0, 10.0])
TURN_PENALTY = 400.0
NEXT_COST, SKIP_COST, STAY_COST, JUMP_COST = 0.0, 0.35, 0.5, 2.0
# Shares of the new piece around a jump: in the frame before it and in its first frame.
FADE = (0.3, 0.6)


@dataclass(frozen=True)
class Units:
    """The frames to choose from, in rising order.

    vectors (N, D): shape coefficients and opening, scaled so that 1 is one deviation;
    pose (N, 3) radians; frames (N,) frame numbers of the footage.
    """

    vectors: np.ndarray
    pose: np.ndarray
    frames: np.ndarray

    def transition_costs(self) -> np.ndarray:
        """(N, N) float32 cost of showing unit j right after unit i."""
        count = len(self.frames)
        follower = np.concatenate([self.vectors[1:], self.vectors[-1:]])
        follower_pose = np.concatenate([self.pose[1:], self.pose[-1:]])
        cost = JUMP_COST + _distances(follower, self.vectors)
        cost += POSE_WEIGHT * _distances(follower_pose * POSE_SCALE, self.pose * POSE_SCALE)
        for ahead, price in ((0, STAY_COST), (1, NEXT_COST), (2, SKIP_COST)):
            here = np.arange(max(count - ahead, 0))
            together = self.frames[here + ahead] - self.frames[here] == ahead
            cost[here[together], here[together] + ahead] = price
        return cost.astype(np.float32)

    def target_costs(self, wanted: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """(T, N) float32 cost of each unit for each wanted vector (T, D) at the base's pose (T, 3)."""
        cost = _distances(wanted, self.vectors) + POSE_WEIGHT * _distances(pose * POSE_SCALE, self.pose * POSE_SCALE)
        excess = np.abs(pose[:, None, :2] - self.pose[None, :, :2]) - MAX_DIFFERENCE
        return np.asarray(cost + TURN_PENALTY * np.maximum(excess, 0).sum(2), np.float32)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(squared, 0))


def cheapest_path(targets: np.ndarray, transitions: np.ndarray, previous: int | None = None) -> np.ndarray:
    """(T,) units with the least sum of ``targets`` (T, N) and ``transitions`` (N, N) costs (Viterbi).

    previous: the unit shown just before, when the path goes on from an earlier one.
    """
    count, units = targets.shape
    total = targets[0].copy()
    if previous is not None:
        total += transitions[previous]
    came_from = np.zeros((count, units), np.int32)
    everyone = np.arange(units)
    by_goal = np.ascontiguousarray(transitions.T)
    for step in range(1, count):
        ways = by_goal + total
        came_from[step] = ways.argmin(1)
        total = ways[everyone, came_from[step]] + targets[step]
    path = np.empty(count, np.int64)
    path[-1] = total.argmin()
    for step in range(count - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path


@dataclass(frozen=True)
class Blend:
    """What one output frame is made of: one or two units with shares that sum to 1."""

    units: tuple[int, ...]
    shares: tuple[float, ...]


def cross_fades(path: np.ndarray, frames: np.ndarray, closed: np.ndarray, gaping: np.ndarray) -> list[Blend]:
    """The path with a two-frame cross-fade at every jump; the piece left or joined runs on under it.

    Where lips must touch (``closed``, (T,) bool), no unit with open ones (``gaping``, (N,) bool) shines through.
    """
    count = len(frames)

    def jumps(before: int, after: int) -> bool:
        return not 0 <= int(frames[after]) - int(frames[before]) <= 2

    def neighbour(unit: int, step: int) -> int | None:
        other = unit + step
        return other if 0 <= other < count and frames[other] - frames[unit] == step else None

    blends = []
    for place, now in enumerate(path.tolist()):
        before = int(path[place - 1]) if place else None
        after = int(path[place + 1]) if place + 1 < len(path) else None
        left_over = neighbour(before, 1) if before is not None and jumps(before, now) else None
        lead_in = neighbour(after, -1) if after is not None and jumps(now, after) else None
        if closed[place]:
            left_over, lead_in = (None if other is None or gaping[other] else other for other in (left_over, lead_in))
        if left_over is not None:
            blends.append(Blend((now, left_over), (FADE[1], 1 - FADE[1])))
        elif lead_in is not None:
            blends.append(Blend((now, lead_in), (1 - FADE[0], FADE[0])))
        else:
            blends.append(Blend((now,), (1.0,)))
    return blends
