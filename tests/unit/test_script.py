"""The script's grammar: sentences, languages, pauses and limits."""

import pytest

from modules import script
from modules.errors import StudioError


def texts(source: str) -> list[str]:
    return [utterance.text for utterance in script.parse(source, 20000)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("大家好。今天天气不错！真的吗？", ["大家好。", "今天天气不错！", "真的吗？"]),
        ("他说：“好的。”然后走了。", ["他说：“好的。”", "然后走了。"]),
        ("Dr. Smith pays $1,234.56 at 10:30 a.m. today. Visit example.com now.",
         ["Dr. Smith pays $1,234.56 at 10:30 a.m. today.", "Visit example.com now."]),
        ("Pi is 3.14. Really", ["Pi is 3.14.", "Really"]),
        ("……\n***\n你好", ["你好"]),
    ],
)  # fmt: skip
def test_sentences(source: str, expected: list[str]) -> None:
    assert texts(source) == expected


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("大家好。", "zh"),
        ("Hello there.", "en"),
        ("请打开YouTube频道。", "mixed"),
        ("こんにちは。", "ja"),
        ("A座302室。", "zh"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert script.language_of(text) == language


def test_pauses_extend_the_silence_after_the_sentence_before_them() -> None:
    first, second, third = script.parse("一。[1.5s]二。\n\n三。", 100)
    assert first.pause == 1.5
    assert second.pause == script.PARAGRAPH_PAUSE
    assert third.pause == script.SENTENCE_PAUSE
    assert [u.text for u in (first, second, third)] == ["一。", "二。", "三。"]


@pytest.mark.parametrize("mark", ["[2s]", "[2秒]", "[停2秒]", "[ 停 2.0 秒 ]", "[2 SEC]"])
def test_pause_spellings(mark: str) -> None:
    assert script.parse(f"好。{mark}走。", 100)[0].pause == 2.0


def test_a_pause_is_limited() -> None:
    assert script.parse("好。[600s]走。", 100)[0].pause == script.MAX_PAUSE


def test_long_sentences_are_cut_at_commas_and_lose_nothing() -> None:
    source = "，".join(["这是一个很长很长的句子的一部分"] * 30)
    pieces = texts(source)
    assert all(len(piece) <= script.MAX_SENTENCE for piece in pieces)
    assert "".join(pieces) == source


def test_a_long_sentence_without_marks_is_cut_before_a_conjunction_and_breathes() -> None:
    source = "这是一个很长的句子" * 8 + "但是" + "它一个标点也没有" * 10 + "。"
    first, second = script.parse(source, 1000)
    assert second.text.startswith("但是")
    assert (first.pause, second.pause) == (script.BREATH_PAUSE, script.SENTENCE_PAUSE)


def test_a_number_is_not_cut_at_its_comma() -> None:
    pieces = texts("We counted 1,234,567 birds " * 8)
    assert len(pieces) > 1
    assert all(piece.count("1,234,567") == piece.count("birds") for piece in pieces)


@pytest.mark.parametrize(
    ("source", "pause"),
    [("好；", script.CLAUSE_PAUSE), ("他走了……", script.TRAILING_PAUSE), ("他说：“好……”", script.TRAILING_PAUSE)],
)
def test_the_mark_decides_how_long_the_silence_is(source: str, pause: float) -> None:
    assert script.parse(source, 100)[0].pause == pause


def test_endless_text_without_any_break_is_cut() -> None:
    assert "".join(texts("啊" * 1000)) == "啊" * 1000


@pytest.mark.parametrize("source", ["", "   \n\n", "……！", "[3s]"])
def test_nothing_to_speak(source: str) -> None:
    with pytest.raises(StudioError) as caught:
        script.parse(source, 100)
    assert caught.value.code == "script_empty"


def test_too_long() -> None:
    with pytest.raises(StudioError) as caught:
        script.parse("字" * 100_000, 20_000)
    assert caught.value.code == "script_too_long"
    assert caught.value.values == {"characters": 100_000, "limit": 20_000}


def test_estimate_grows_with_text_and_shrinks_with_speed() -> None:
    short = script.parse("你好。", 100)
    long = script.parse("你好，欢迎来到我的频道，今天我们聊聊时间。", 100)
    assert script.estimate_seconds(short) < script.estimate_seconds(long)
    assert script.estimate_seconds(long, 1.5) < script.estimate_seconds(long, 1.0)
