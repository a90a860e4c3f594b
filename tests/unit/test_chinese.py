"""Chinese readings: words, lone characters, surnames, retroflex endings, changed tones, Latin letters."""

from __future__ import annotations

import re

import pytest

from modules.voice_clone.builtin import chinese, latin, polyphones, tones
from modules.voice_clone.builtin.polyphones import Place
from tests.bench.bench_reading import BAR, SETS, score_of


def reading(text: str) -> str:
    return " ".join(p for _, pinyin in chinese.read(text) for p in pinyin)


@pytest.mark.parametrize(
    ("text", "pinyin"),
    [
        ("庄稼一天天地长高了", "zhuang1 jia5 yi1 tian1 tian1 de5 zhang3 gao1 le5"),
        ("他得了第一名", "ta1 de2 le5 di4 yi1 ming2"),
        ("菜种得很好", "cai4 zhong4 de5 hen3 hao3"),
        ("一行人排成一行", "yi1 xing2 ren2 pai2 cheng2 yi1 hang2"),
        ("他上了别人的当", "ta1 shang4 le5 bie2 ren2 de5 dang4"),
        ("帽子落在车上了", "mao4 zi5 la4 zai4 che1 shang4 le5"),
        ("衣服还没干", "yi1 fu5 hai2 mei2 gan1"),
        ("这件事没完没了", "zhe4 jian4 shi4 mei2 wan2 mei2 liao3"),
        ("他系着红领带", "ta1 ji4 zhe5 hong2 ling3 dai4"),
        ("列为重点", "lie4 wei2 zhong4 dian3"),
        ("为了结婚", "wei4 le5 jie2 hun1"),
        ("不了解情况", "bu4 liao3 jie3 qing2 kuang4"),
    ],
)
def test_reading(text: str, pinyin: str) -> None:
    assert reading(text) == pinyin


@pytest.mark.parametrize(
    ("text", "pinyin"),
    [
        ("单老师", "shan4 lao3 shi1"),
        ("他姓仇", "ta1 xing4 qiu2"),
        ("请问曾经理在吗", "qing3 wen4 zeng1 jing1 li3 zai4 ma5"),
        ("我曾经去过", "wo3 ceng2 jing1 qu4 guo4"),
        ("他任校长三年", "ta1 ren4 xiao4 zhang3 san1 nian2"),
    ],
)
def test_surnames_are_read_as_such_before_titles_only(text: str, pinyin: str) -> None:
    assert reading(text) == pinyin


@pytest.mark.parametrize(
    ("text", "pinyin"),
    [
        ("小孩儿在玩儿", "xiao3 hai2 r5 zai4 wan2 r5"),
        ("胡同儿里", "hu2 tong4 r5 li3"),
        ("女儿和儿子", "nü3 er2 he2 er2 zi5"),
        ("少年儿童", "shao4 nian2 er2 tong2"),
    ],
)
def test_an_ending_curls_and_a_child_does_not(text: str, pinyin: str) -> None:
    assert reading(text) == pinyin


def test_latin_in_a_chinese_word_keeps_the_chinese() -> None:
    assert reading("去唱卡拉OK吧") == "qu4 chang4 ka3 la1 ba5"
    assert "".join(word for word, _ in chinese.read("T恤和卡拉OK")) == "T恤和卡拉OK"


def test_rules_name_what_is_written_in_the_file() -> None:
    rules = polyphones.rules()
    assert len(rules.alone) > 80
    for character, several in (*rules.alone.items(), *rules.inside.items()):
        assert len(character) == 1
        assert all(re.fullmatch("[a-zü]+[1-5]", rule.reading) for rule in several)


def test_the_first_rule_that_fits_decides() -> None:
    assert polyphones.alone("冲", Place("口气", "着我", "n", "u")) == "chong4"
    assert polyphones.alone("冲", Place("", "杯咖啡", "", "q")) == "chong1"
    assert polyphones.alone("猫", Place("", "", "", "")) is None


@pytest.mark.parametrize(
    ("text", "pinyin"),
    [
        ("不去不行", "bu2 qu4 bu4 xing2"),
        ("一个", "yi2 ge4"),
        ("一天", "yi4 tian1"),
        ("另一个", "ling4 yi2 ge4"),
        ("唯一的", "wei2 yi1 de5"),
        ("第一名", "di4 yi1 ming2"),
        ("看一看", "kan4 yi5 kan4"),
        ("一九九一年", "yi1 jiu3 jiu3 yi1 nian2"),
        ("星期一下午", "xing1 qi1 yi1 xia4 wu3"),
        ("一百一十", "yi4 bai3 yi1 shi2"),
        ("不，是", "bu4 shi4"),
        ("你好吗", "ni3 hao3 ma5"),
    ],
)
def test_tones_change_beside_others(text: str, pinyin: str) -> None:
    changed = tones.changed(chinese.read(text))
    assert " ".join(p for _, several in changed for p in several) == pinyin


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("AI", ["A I*"]),
        ("YouTube", ["YouTube"]),
        ("GPT PPT", ["G P T P P T*"]),
        ("USB logo", ["U S B*", "logo"]),
        ("please feel free", ["please feel free"]),
        ("test cn", ["test", "C N*"]),
        ("LOGO", ["logo"]),
        ("C++", ["C++"]),
        ("ChatGPT", ["Chat", "G P T*"]),
        ("iPhone", ["iPhone"]),
        ("iOS", ["I O S*"]),
    ],
)
def test_acronyms_are_spelt_and_words_are_not(run: str, said: list[str]) -> None:
    assert [" ".join(part.words) + "*" * part.spelt for part in latin.parse(run)] == said


@pytest.mark.parametrize("name", SETS)
def test_sentences_with_a_key_are_read_as_the_bench_demands(name: str) -> None:
    score = score_of(SETS[name])
    assert score.right >= BAR, score.wrong
