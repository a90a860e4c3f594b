"""Chinese readings, English words in Chinese, and letters that the network knows."""

from __future__ import annotations

import re

import pytest

from modules.voice_clone.builtin import chinese
from modules.voice_clone.builtin.phonemes import english, mandarin, to_phonemes

# Sentence, and the pinyin of each occurrence of one character.
POLYPHONES = [
    ("银行行长在会上重复强调，安全生产非常重要。", "行", ["hang2", "hang2"]),
    ("银行行长在会上重复强调，安全生产非常重要。", "重", ["chong2", "zhong4"]),
    ("他长得很高，头发也很长。", "长", ["zhang3", "chang2"]),
    ("我得赶紧把作业做完，不然得不到好成绩。", "得", ["dei3", "de2"]),
    ("他还没把书还给图书馆。", "还", ["hai2", "huan2"]),
    ("他在教室里教学生数学。", "教", ["jiao4", "jiao1"]),
    ("他背着书包背课文。", "背", ["bei1", "bei4"]),
    ("我只有一只猫。", "只", ["zhi3", "zhi1"]),
    ("这种植物的种类很多，农民在种地。", "种", ["zhong3", "zhong3", "zhong4"]),
    ("我们都到首都去。", "都", ["dou1", "du1"]),
    ("爸爸教我写字，他是教练。", "教", ["jiao1", "jiao4"]),
    ("为什么要为他担心？", "为", ["wei4", "wei4"]),
    ("他出差的时候成绩很差。", "差", ["chai1", "cha4"]),
    ("量一下体重，看看数量。", "量", ["liang2", "liang4"]),
    ("他高兴地跳起来，又慢慢地坐下，高高兴兴地回家。", "地", ["de5", "de5", "de5"]),
    ("这块地很大，大地很美。", "地", ["di4", "di4"]),
]


@pytest.mark.parametrize(("sentence", "character", "readings"), POLYPHONES)
def test_polyphone(sentence: str, character: str, readings: list[str]) -> None:
    found = [
        pinyin
        for word, pinyins in chinese.read(sentence)
        for letter, pinyin in zip(word, pinyins, strict=False)
        if letter == character
    ]
    assert found == readings


def test_reading_keeps_every_character() -> None:
    text = "你好，world！今天42度。"
    assert "".join(word for word, _ in chinese.read(text)) == text


def test_chinese_has_tones_and_words() -> None:
    letters = mandarin("大家好，欢迎。")
    assert letters.strip() == "ta↘ʨja→ xau↓, xwa→ni↗ŋ."


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("玩儿", "waɚ↗"),
        ("小孩儿", "ɕjau↓xaɚ↗"),
        ("没事儿", "mei↗ʂɚ↘"),
        ("花儿", "xwaɚ→"),
        ("公园儿", "kʊ→ŋɥaɚ↗"),
        ("胡同儿", "xu↗tʰʊ↘ŋɚ"),
    ],
)
def test_a_retroflex_ending_curls_its_syllable(text: str, letters: str) -> None:
    assert mandarin(text) == letters


def test_latin_inside_chinese_is_english() -> None:
    letters = to_phonemes("欢迎使用Windows系统。", "mixed")
    assert english("Windows").strip(" .") in letters
    assert letters.endswith(".")
    assert not re.search(r"\s{2,}", letters)


def test_letters_and_signs_inside_chinese_are_read() -> None:
    assert to_phonemes("选项A。", "mixed").endswith(" ˈA.")
    assert "sˈi pʰlˈʌs pʰlˈʌs" in to_phonemes("学习C++语言。", "mixed")


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("PPT", "pʰˈi pʰˈi tʰˈi"),
        ("team", "tʰˈim"),
        ("computer", "kʰəmpjˈuTəɹ"),
        ("start", "stˈɑɹt"),
        ("update", "ˈʌpdˌAt"),
    ],
)
def test_english_stops_breathe_beside_chinese(word: str, letters: str) -> None:
    assert letters in to_phonemes(f"我的{word}。", "mixed").replace("mpʰj", "mpj")
    assert "ʰ" not in to_phonemes(f"My {word}.", "en")


def test_english_numbers_and_titles_are_read_out() -> None:
    letters = english("Dr. Smith has 2 dogs.")
    assert letters.startswith("dˈɑktəɹ smˈɪθ")
    assert "tˈu" in letters
