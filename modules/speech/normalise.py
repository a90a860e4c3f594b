"""Written text to spoken words: numbers, dates, units, codes and addresses in Chinese text.

English numbers are left alone: the English reader of the engine knows them. The bulk is done by
wetext's transducers; the passes here come before it and cover what it reads wrongly. Each pass is an
expression and what is said in its place; they run in the order in which they stand.
"""

from __future__ import annotations

import re
import sys
import types
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Match = re.Match[str]
Pass = tuple[re.Pattern[str], str | Callable[[Match], str]]

_DIGITS = "零一二三四五六七八九"
HAN = "\u3400-\u9fff"

# Signs that stand for others: full-width letters and digits, kinds of hyphens, digits in circles, Roman numerals.
_FULL_WIDTH = (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
_SIGNS = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in _FULL_WIDTH}
    | dict(zip("％＋＝＠＆＃＄／", "%+=@&#$/", strict=True))
    | dict(zip("−–‑‒", "----", strict=True))
    | dict(zip("①②③④⑤⑥⑦⑧⑨⑩", "一二三四五六七八九十", strict=True))
    | dict(zip("ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ", "一二三四五六七八九十", strict=True))
    | {"￥": "¥", "㎡": "m²", "㎏": "kg", "㎝": "cm", "㎜": "mm", "〇": "零", "℉": "°F"}
)

_ADDRESS = (
    r"(?:https?://)?(?:[A-Za-z0-9_+\-]+(?:\.[A-Za-z0-9_+\-]+)*@)?(?:[A-Za-z0-9\-]+\.)+[A-Za-z]{2,}"
    r"(?:/[A-Za-z0-9_./?=&%#\-]*)?"
)
_SYMBOLS = {".": "点", "@": " at ", "/": "斜杠", "?": "问号", "=": "等于", "&": "和", "-": " ", "_": "下划线"}
# Units that the transducer does not know, after a number.
_UNITS = {
    "mAh": "毫安时", "kWh": "千瓦时", "Wh": "瓦时", "kW": "千瓦", "MW": "兆瓦", "W": "瓦", "kV": "千伏", "V": "伏",
    "mA": "毫安", "GHz": "G赫兹", "MHz": "兆赫兹", "kHz": "千赫兹", "Hz": "赫兹", "dB": "分贝", "kPa": "千帕",
    "MPa": "兆帕", "Pa": "帕", "Mbps": "兆每秒", "Gbps": "G每秒", "fps": "帧每秒", "rpm": "转每分钟", "px": "像素",
    "kcal": "千卡", "kJ": "千焦", "bpm": "次每分钟", "dpi": "DPI", "MB/s": "MB每秒", "GB/s": "GB每秒", "m²": "平方米",
}  # fmt: skip
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_CODE_NAMES = (
    "(?:编号|订单号|单号|验证码|房号|房间|邮编|邮政编码|QQ号?|QQ群|身份证号?|卡号|账号|密码|学号|工号|尾号|代码|编码|"
    "门牌号?|股票代码|微信号?|群号|证号|口令)"
)
_PER = "元|块|万元|美元|次|人|天|公里|吨|瓶|件|度|升|斤|公斤|克|字|篇|小时|课时"
_PERIOD = "月|年|天|日|周|小时|分钟|分|秒|人|次|斤|公斤|平米|平方米|吨|瓶|件|晚|位|户|套|度|升|克|公里|米|瓶"


def normalise(text: str, language: str) -> str:
    """``text`` as it is spoken, on one line. language: 'zh', 'mixed', 'en' or 'ja'.

    Chinese numbers are written out; English and Japanese are left to the engine's own readers.
    """
    flat = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()
    if language not in ("zh", "mixed"):
        return flat
    spoken: str = _transducer("zh").normalize(_before(simplified(flat)))
    return spoken.strip()


def english_numbers(text: str) -> str:
    """English ``text`` with its numbers, dates and money in words, as a listener could have written it too."""
    words: str = _transducer("en").normalize(text)
    return words


def simplified(text: str) -> str:
    """Traditional characters as simplified ones, which the dictionaries of readings know; no word is changed."""
    import zhconv

    converted: str = zhconv.convert(text, "zh-hans")
    return converted


def _before(text: str) -> str:
    text = text.translate(_SIGNS)
    for expression, spoken in _passes():
        text = expression.sub(spoken, text)
    return text


def _each_digit(number: str) -> str:
    """'2.01' as 二点零一; other characters stay."""
    return "".join("点" if c == "." else _DIGITS[int(c)] if c.isdigit() else c for c in number)


def _all_digits(match: Match) -> str:
    return _each_digit(match[0].lstrip("'’"))


def _cardinal(number: str) -> str:
    """'12.50' as 十二点五零."""
    import cn2an

    whole, _, fraction = number.partition(".")
    said: str = cn2an.an2cn(whole)
    said = re.sub("^一十", "十", said)
    return said + (f"点{_each_digit(fraction)}" if fraction else "")


def _counted(number: str) -> str:
    """A number before a measure word: 2 is 两."""
    return "两" if number == "2" else _cardinal(number)


def _spell_address(match: Match) -> str:
    address = re.sub(r"^https?://", "", match[0]).rstrip("/")
    address = address.replace("www.", "w w w.")
    spelt = "".join(_SYMBOLS.get(c, _each_digit(c) if c.isdigit() else c) for c in address if c not in "%#")
    return f" {spelt} "


def _clock(match: Match) -> str:
    """'2点05分' as 两点零五分; wetext takes the minutes for a count."""
    minute = int(match[2])
    return f"{_counted(match[1].lstrip('0') or '0')}点" + (f"零{_DIGITS[minute]}分" if minute < 10 else f"{match[2]}分")


def _half_day(match: Match) -> str:
    """'8:30 PM' as 下午8:30."""
    return ("上午" if match[2].lower() == "a" else "下午") + (match[1] if ":" in match[1] else f"{match[1]}点")


def _dotted_date(match: Match) -> str:
    year, month, day = match.groups()
    real = 1 <= int(month) <= 12 and 1 <= int(day) <= 31
    return f"{year}年{int(month)}月{int(day)}日" if real else match[0]


def _day(match: Match) -> str:
    """'2月2日': wetext takes the day for a count."""
    return f"{_cardinal(match[1])}月{_cardinal(match[2])}{match[3]}"


def _thousands(match: Match) -> str:
    """'$1.5M' as 1.5百万美元."""
    power = {"k": "千", "m": "百万", "b": "十亿"}[match[3].lower()]
    return f"{match[2]}{power}{_MONEY[match[1]]}"


# Numbers that are names, not counts: each digit is said. The whole match is written out.
_NAMES = (
    r"(?<![\d.])\d+(?:\.\d+){2,}(?![\d.])",
    r"(?<=[vV])\d+(?:\.\d+)+",
    rf"{_CODE_NAMES}[是为：: ]{{0,2}}\d{{3,}}(?![\d.])",
    r"(?<!\d)\d{3,4}(?=室|房(?!间)|教室|包[间厢]|病房|号房|号楼\d)",
    r"(?<=[路街巷弄道])\d{3,}(?=[号弄])",
    r"(?<=[栋幢座楼])\d{3,4}(?![\d.]|[元块人米个平])",
    r"(?<=单元)\d{3,4}(?!\d)",
    r"(?<![\d.])(?:985|211)(?=高校|大学|院校|工程|[、和/])",
    r"(?<![\d.])(?:996|007)(?=工作|制|的|福报|[，。])",
    r"(?<![\d.])(?:618|315|1111|1212)(?=大促|活动|晚会|购物|期间|当天)",
    r"(?<![\d.])(?:12306|12315|12345)(?!\d)",
    r"(?<!\d)(?:480|720|1080|1440|2160)(?=[pP](?![A-Za-z]))",
    r"(?<=[A-Za-z])\d{3,}(?![\d.])",
    # Too long to count; a mobile number is left to wetext, which says 幺 in it.
    r"(?<![\d.,])(?!1\d{10}(?!\d))\d{9,}(?![\d.,]|[元块人个万亿])",
)
_YEARS_AND_TIMES: tuple[tuple[str, str | Callable[[Match], str]], ...] = (
    (r"(?<!\d)(\d{4}|\d{2})s(?![A-Za-z])", lambda m: _each_digit(m[1]) + "年代"),
    (r"(?<![\d.])((?:19|20)\d\d)\.(\d{1,2})\.(\d{1,2})(?![\d.])", _dotted_date),
    (r"(?<!\d)(\d{1,2})月(\d{1,2})([日号])", _day),
    (r"((?:19|20)\d\d)[-~—]((?:19|20)\d\d)(?!\d)", lambda m: f"{_each_digit(m[1])}到{_each_digit(m[2])}"),
    (r"['’]?(?<!\d)\d\d(?=年(?:\d{1,2}月|出生|毕业|入学|参加|生人|考上|世界杯|奥运))", _all_digits),
    (r"(?<!\d)[05-9]0(?=[、和][05-9]0后)", _all_digits),
    (r"(?<![\d第.])2(?=年(?![级代\d]))", "两"),
    (r"(\d{1,2}(?::\d\d)?)\s*([AaPp])\.?[Mm]\b\.?", _half_day),
    (r"(?<![\d:])0{1,2}:00(?![\d:])", "零点"),
    (r"(?<!\d)(\d{1,2})点(\d{1,2})分", _clock),
)
_MONEY = {
    "$": "美元",
    "¥": "元",
    "€": "欧元",
    "£": "英镑",
    "HK$": "港元",
    "US$": "美元",
    "RMB": "元",
    "CNY": "元",
    "USD": "美元",
}
_COUNTS_AND_SIGNS: tuple[tuple[str, str | Callable[[Match], str]], ...] = (
    (r"(?<!\d)(\d{1,2})·(\d{1,2})(?!\d)", lambda m: _each_digit(m[1] + m[2])),
    (r"(?<![A-Za-z])IPv(?=[46](?!\d))", "IP V"),
    (r"(?<!\d)(1[3-9]\d)[ -](\d{4})[ -](\d{4})(?!\d)", r"\1\2\3"),
    (r"\+86[ -]?(?=1\d{10})", "加八六，"),
    # wetext takes both sides of this comma for one number.
    (r"(?<=\d)，(?=\d)", "， "),
    (r"\bN[oO]\.\s?(?=\d)", "第"),
    (r"(\d+)/(\d+)\s?mmHg", lambda m: f"{_cardinal(m[1])}、{_cardinal(m[2])}毫米汞柱"),
    (r"(?<=\d)\s?g(?![A-Za-z²³]|网络|手机|时代|信号|基站)", "克"),
    (r"(?<=\d)w(?![A-Za-z])", "万"),
    # A hyphen before a number is no minus in a name: GPT-4, 歼-20; it is one in 气温-5.
    (r"(?<=[A-Za-z])[.-](?=\d)", " "),
    (rf"(?<=[{HAN}])(?<![为是到至温降达约得值差零第下])-(?=\d)(?!\d+(?:\.\d+)?[℃°度%层])", ""),
    (r"(HK\$|US\$|RMB|CNY|USD|[$¥€£])\s*(\d+(?:\.\d+)?)\s*([KkMmBb])(?![A-Za-z])", _thousands),
    (r"(HK\$|US\$|RMB|CNY|USD|[$¥€£])\s*(\d+(?:\.\d+)?)([百千万亿]+)", lambda m: m[2] + m[3] + _MONEY[m[1]]),
    (r"(HK\$|US\$|RMB|CNY|USD)\s*(\d+(?:\.\d+)?)", lambda m: m[2] + _MONEY[m[1]]),
    (rf"(?<=[\d.])\s?({_UNIT})(?![A-Za-z²³])", lambda m: _UNITS[m[1]]),
    (rf"({_PER})/({_PERIOD})", lambda m: f"{m[1]}每{m[2]}"),
    (r"(\d+(?:\.\d+)?)‰", lambda m: "千分之" + _cardinal(m[1])),
    # wetext takes 12.5 for a date.
    (r"(?<![\d.,$¥€£A-Za-z\-+/:])1[0-2]\.\d{1,2}(?![\d.A-Za-z%℃°/:²³])", lambda m: _cardinal(m[0])),
    # Two of something is 两, the second of something is 二.
    (r"(?<=第)\d+(?![\d.,、~-])", lambda m: _cardinal(m[0])),
    (r"(?<![\d.第])2(?=[种份项倍节篇道枚]|次(?!元|方)|点(?!\d))", "两"),
    (r"(?<![\d.])2(?=线|手[房车货]|季度|单元|级|等|号|楼|班|环|维|胎|孩)", "二"),
    (r"(?<=[\d万亿千百十])\+(?=[^\d]|$)", "加"),
    (r"≈", "约等于"),
    (r"(?<=\d)\^(\d+)", lambda m: f"的{_cardinal(m[1])}次方"),
    (r"(?<=[\dxyzabr])²", "的平方"),
    (r"(?<=\d)³", "的立方"),
    (r"(?<=[和与])/(?=或)", ""),
    (rf"(?<=[{HAN}])/(?=[{HAN}])", "、"),
    (r"(?<=[A-Z])/(?=[A-Z])", " "),
    (r"(?<=[A-Za-z])\s?&\s?(?=[A-Za-z])", " and "),
    (r"&", "和"),
)


@lru_cache(maxsize=1)
def _passes() -> tuple[Pass, ...]:
    named = tuple((expression, _all_digits) for expression in _NAMES)
    every = ((_ADDRESS, _spell_address), *_YEARS_AND_TIMES, *named, *_COUNTS_AND_SIGNS)
    return tuple((re.compile(expression), spoken) for expression, spoken in every)


@lru_cache(maxsize=2)
def _transducer(language: str) -> Any:
    # wetext imports ``contractions`` to write out "don't", which we never ask of it.
    sys.modules.setdefault("contractions", types.ModuleType("contractions"))
    from wetext import Normalizer

    return Normalizer(lang=language, operator="tn")
