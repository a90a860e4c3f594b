"""Giving a pasted mouth the motion blur of the frame that it goes into."""

from __future__ import annotations

import cv2
import numpy as np

# The least blur that is seen (sigma in eye distances), and the most that a movement of one pixel a frame makes: an
# exposure of the whole frame smears it evenly over its way.
LEAST, MOST = 0.0045, 12**-0.5
# Of this much of the fine detail and more, no difference is seen.
ENOUGH = 0.85


def softened(mouth: np.ndarray, base: np.ndarray, skin: np.ndarray, eyes: float, speed: np.ndarray) -> np.ndarray:
    """``mouth`` ((h, w, 3) uint8) blurred along x and y until its skin has no more detail than that of ``base``.

    skin: (h/4, w/4) float weights of the places where both show the same; eyes: eye distance in pixels;
    speed: (2,) pixels a frame that the base's head moves along x and y. No more blur is given than that explains:
    a laugh stretches skin smooth without any.
    """
    most = MOST * np.abs(speed)
    if most.max() < LEAST * eyes:
        return mouth
    weight = cv2.resize(skin, (base.shape[1], base.shape[0]), interpolation=cv2.INTER_LINEAR)
    grey, wanted = (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32) for picture in (mouth, base))
    across, down = _blur(grey, ENOUGH * _detail(wanted, weight), weight, most, eyes).tolist()
    if across == down == 0:
        return mouth
    return _blurred(mouth, across, down)


def _blur(grey: np.ndarray, wanted: np.ndarray, weight: np.ndarray, most: np.ndarray, eyes: float) -> np.ndarray:
    """(2,) sigmas along x and y, in pixels, that leave ``grey`` the ``wanted`` detail (2,); at most ``most`` (2,).

    Blur along one axis takes detail along both, so the axis with more to lose goes first, step by step.
    """
    variance = np.zeros(2)
    detail = _detail(grey, weight)
    while True:
        excess = np.where(variance < most**2, detail / np.maximum(wanted, 1e-6), 0.0)
        axis = int(excess.argmax())
        if excess[axis] <= 1:
            return np.minimum(np.sqrt(variance), most)
        step = max(variance[axis], (LEAST * eyes) ** 2)
        grey = _blurred(grey, *(np.sqrt(step) * (np.arange(2) == axis)))
        after = _detail(grey, weight)
        # The last step is taken only as far as it is needed, so that blur comes and goes smoothly.
        reached = (detail[axis] - wanted[axis]) / max(detail[axis] - after[axis], 1e-9)
        variance[axis] += step * min(reached, 1.0)
        detail = after


def _blurred(picture: np.ndarray, across: float, down: float) -> np.ndarray:
    return cv2.sepFilter2D(picture, -1, _kernel(across), _kernel(down), borderType=cv2.BORDER_REPLICATE)


def _detail(grey: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(2,) mean squared step from pixel to pixel along x and y where ``weight`` is."""
    across, down = np.diff(grey, axis=1) ** 2, np.diff(grey, axis=0) ** 2
    total = max(float(weight.sum()), 1e-6)
    return np.array([float((across * weight[:, 1:]).sum()), float((down * weight[1:]).sum())]) / total


def _kernel(sigma: float) -> np.ndarray:
    if sigma <= 0:
        return np.ones((1, 1), np.float32)
    return cv2.getGaussianKernel(2 * max(1, int(np.ceil(3 * sigma))) + 1, sigma, cv2.CV_32F)
