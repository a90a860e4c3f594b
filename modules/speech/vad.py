"""Where somebody speaks: Silero's voice activity network on onnxruntime (its weights are in its wheel)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from modules.devices.sessions import session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = NDArray[np.float32]

SAMPLE_RATE = 16000
FRAME = 512
CONTEXT = 64
BEGINS_AT = 0.5
ENDS_BELOW = 0.35
SHORTEST_SPEECH = 0.25
SHORTEST_SILENCE = 0.25
PADDING = 0.08


@dataclass(frozen=True)
class Span:
    """A stretch of time in seconds."""

    start: float
    stop: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.stop - self.start


def speech_probabilities(sound: Floats) -> Floats:
    """Probability of speech in every 32 ms. sound: mono at 16 kHz."""
    session = _session()
    state = np.zeros((2, 1, 128), np.float32)
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound, np.zeros(-len(sound) % FRAME, np.float32)])
    found = []
    for start in range(0, len(padded) - CONTEXT, FRAME):
        piece = padded[start : start + CONTEXT + FRAME][None]
        probability, state = session.run(None, {"input": piece, "state": state, "sr": np.array(SAMPLE_RATE)})
        found.append(float(probability[0, 0]))
    return np.array(found, np.float32)


def find_speech(sound: Floats) -> list[Span]:
    """Stretches of speech in order, a little wider than the voice itself. sound: mono at 16 kHz."""
    frame = FRAME / SAMPLE_RATE
    raw: list[Span] = []
    start: int | None = None
    probabilities = speech_probabilities(sound)
    for place, probability in enumerate(probabilities):
        if start is None and probability >= BEGINS_AT:
            start = place
        elif start is not None and probability < ENDS_BELOW:
            raw.append(Span(start * frame, place * frame))
            start = None
    if start is not None:
        raw.append(Span(start * frame, len(probabilities) * frame))
    return _padded(_joined(raw), len(sound) / SAMPLE_RATE)


def _joined(raw: list[Span]) -> list[Span]:
    """Short pauses belong to the speech around them; what is then still too short is no speech."""
    joined: list[Span] = []
    for span in raw:
        if joined and span.start - joined[-1].stop < SHORTEST_SILENCE:
            joined[-1] = Span(joined[-1].start, span.stop)
        else:
            joined.append(span)
    return [span for span in joined if span.seconds >= SHORTEST_SPEECH]


def _padded(spans: list[Span], end: float) -> list[Span]:
    return [Span(max(0.0, span.start - PADDING), min(end, span.stop + PADDING)) for span in spans]


def cut(sound: Floats, sample_rate: int, spans: list[Span]) -> Floats:
    """The sound of the spans, joined."""
    pieces = [sound[round(s.start * sample_rate) : round(s.stop * sample_rate)] for s in spans]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


@lru_cache(maxsize=1)
def _session() -> InferenceSession:
    # The wheel's own module would import torch; only its weights are needed.
    package = find_spec("silero_vad")
    assert package is not None and package.origin is not None
    return session(Path(package.origin).parent / "data" / "silero_vad.onnx", 1)
