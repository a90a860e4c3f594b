"""Readings: tuning the melody, and joining two readings of one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from modules.voice_clone.builtin.reading import Reading, english_words, spliced, tuned


def reading(frames: list[int], value: float) -> Reading:
    total = sum(frames)
    return Reading(
        np.full((4, total), value, np.float32),
        np.full(2 * total, 100.0 + value, np.float32),
        np.full(2 * total, value, np.float32),
        np.array(frames, np.float32),
    )


def test_tuning_bends_only_what_is_voiced() -> None:
    pitch = tuned(np.array([5, 100, 200, 400], np.float32), 1.5, 0.5, 200.0)
    assert pitch == pytest.approx([5, 1.5 * 200 / 2**0.5, 300, 1.5 * 200 * 2**0.5])


def test_english_words_are_those_with_stress() -> None:
    letters = ["", *"wo↗ ", *"jˈutub ", *"ʃa↘ ", *"stˈAt ʌv ðə ˈɑɹt", ".", ""]
    words = ["".join(letters[first:last]) for first, last in english_words(letters)]
    assert words == ["jˈutub", "stˈAt", "ˈɑɹt"]
    beside = ["", *"sˈIn ˈɪn", ""]
    assert ["".join(beside[first:last]) for first, last in english_words(beside)] == ["sˈIn ˈɪn"]


def test_a_splice_takes_each_word_from_its_reading_and_keeps_the_clock() -> None:
    # Tokens: mark, two of a Chinese word, gap, two of an English one, gap, one Chinese, mark.
    chinese, english = reading([4, 3, 3, 2, 5, 5, 3, 6, 4], 1.0), reading([6, 2, 2, 4, 8, 9, 5, 3, 6], 2.0)
    joined = spliced(chinese, english, [(4, 6)])
    assert joined.frames.tolist() == [4, 3, 3, 1 + 2, 8, 9, 2 + 2, 6, 4]
    assert joined.text.shape == (4, joined.frames.sum())
    assert len(joined.pitch) == len(joined.energy) == 2 * joined.frames.sum()
    begin, end = 4 + 3 + 3 + 1, 4 + 3 + 3 + 1 + 2 + 8 + 9 + 2
    assert (joined.text[:, begin:end] == 2.0).all()
    assert (joined.text[:, :begin] == 1.0).all()
    assert (joined.text[:, end:] == 1.0).all()
    assert (joined.pitch[2 * begin : 2 * end] == 102.0).all()


def test_a_sentence_may_begin_and_end_in_english() -> None:
    chinese, english = reading([4, 3, 2, 3, 4], 1.0), reading([6, 5, 1, 5, 6], 2.0)
    joined = spliced(chinese, english, [(1, 2), (3, 4)])
    assert joined.text.shape[1] == joined.frames.sum()
    assert joined.frames[[1, 3]].tolist() == [5, 5]
