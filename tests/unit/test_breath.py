"""Long sentences take breath at sensible places, and long texts are spoken whole."""

from __future__ import annotations

import re

import pytest

from modules.script import parse
from modules.speech.normalise import HAN, normalise
from modules.voice_clone.builtin import breath
from modules.voice_clone.builtin.phonemes import LONGEST_SENTENCE, pieces, to_phonemes

LONG = "我们公司在过去的几年里通过不断的技术创新和市场开拓已经成长为国内领先的人工智能企业并且在全球设立了研发中心"
SCRIPT = (
    "大家好，欢迎来到我的频道！今天是2025年3月14日，气温-5℃到10℃。" + LONG + "。\n"
    "我用GPT-4写Python代码，价格是¥99.9；电话13800138000，网址www.example.com。\n\n"
    "他说：“银行行长在会上重复强调——安全生产非常重要……”你听懂了吗？（没听懂就再听一遍）《新闻联播》里的女儿，爱吃冰棍儿。\n"
    "我还没把书还给图书馆、超市、邮局、银行。好的好的好的好的。啊啊啊啊啊啊。\n"
)


def test_a_long_stretch_takes_breath_before_a_conjunction() -> None:
    assert "企业，并且" in breath.with_breaths(LONG)
    assert breath.with_breaths(LONG).replace("，", "") == LONG


def test_a_short_stretch_is_left_alone() -> None:
    assert breath.with_breaths("请把手机调成静音然后坐好。") == "请把手机调成静音然后坐好。"


@pytest.mark.parametrize("text", [LONG * 4, "，".join([LONG] * 5), "word " * 300, "啊" * 900, "a" * 900])
def test_pieces_are_comfortable_and_lose_nothing(text: str) -> None:
    found = list(breath.pieces(text, len))
    assert "".join(found) == text
    assert all(0 < len(piece) <= breath.COMFORTABLE for piece in found)


def test_pieces_begin_with_words_not_with_marks() -> None:
    found = list(breath.pieces("，".join([LONG] * 5), lambda part: 5 * len(part)))
    assert all(piece[0] not in "，。、" for piece in found)
    cuts = {place for place, _ in breath._places(LONG)}
    assert LONG.index("研发中心") in cuts
    assert LONG.index("发中心") not in cuts


def test_a_number_is_not_cut_at_its_comma() -> None:
    assert all(place != 2 for place, _ in breath._places("1,234,567 people came"))


def test_ten_minutes_of_text_reach_the_network_whole() -> None:
    """Every Chinese character of a long script has its syllable, and no piece is too long for the network."""
    utterances = parse(SCRIPT * 13, 100_000)
    characters = syllables = 0
    for utterance in utterances:
        spoken = normalise(utterance.text, utterance.language)
        for piece in breath.pieces(breath.with_breaths(spoken), lambda part: len(to_phonemes(part, "mixed"))):
            assert len(to_phonemes(piece, "mixed")) <= LONGEST_SENTENCE
            characters += len(re.findall(f"[{HAN}]", piece))
            syllables += sum(len(said.pinyin) for said in pieces(piece))
    assert characters == syllables > 2400
