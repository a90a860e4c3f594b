"""Numbers, codes and addresses in Chinese text are read as people read them."""

from __future__ import annotations

import pytest

from modules.speech.normalise import normalise

LINES = [
    ("会议定在2025年3月14日下午3点30分。", "会议定在二零二五年三月十四日下午三点三十分。"),
    ("3:30开会，15:05结束。", "三点三十分开会，十五点零五分结束。"),
    ("增长了27.5%，达到120万元。", "增长了百分之二十七点五，达到一百二十万元。"),
    ("电话是13800138000。", "电话是幺三八零零幺三八零零零。"),
    ("气温-5℃到10℃。", "气温负五摄氏度到十摄氏度。"),
    ("比分是3:2，占比1/3。", "比分是三比二，占比三分之一。"),
    ("2025/03/14和2025-03-14。", "二零二五年三月十四日和二零二五年三月十四日。"),
    ("他有2只猫和200块钱。", "他有两只猫和两百块钱。"),
    ("1,234,567人", "一百二十三万四千五百六十七人"),
    ("在1990s，还有90s。", "在一九九零年代，还有九零年代。"),
    ("编号A380，302室。", "编号A三八零，三零二室。"),
    ("版本v2.0.1发布了", "版本v二点零点一发布了"),
    ("我用GPT-4o。", "我用GPT 四o。"),
    ("USB3.0接口", "USB三点零接口"),
    ("IPv6和5G网络", "IP V六和五G网络"),
    ("2月2日第2名住2线城市", "二月二日第二名住二线城市"),
    ("发布于2025.3.14，12.5版", "发布于二零二五年三月十四日，十二点五版"),
    ("验证码8866，邮编100086", "验证码八八六六，邮编一零零零八六"),
    ("人民路221号3栋1502", "人民路二二一号三栋一五零二"),
    ("歼-20和气温-5℃", "歼二十和气温负五摄氏度"),
    ("营收¥3.6亿，合$1.5M", "营收三点六亿元，合一点五百万美元"),
    ("220V、2000mAh、60fps", "两百二十伏、两千毫安时、六十帧每秒"),
    ("100元/月，500次/天", "一百元每月，五百次每天"),
    ("98年出生的80、90后", "九八年出生的八零、九零后"),
    ("晚上8:05到0:00，10:30pm", "晚上八点零五分到零点，下午十点三十分"),
    ("1080p、10万+、5²、3‰", "一零八零p、十万加、五的平方、千分之三"),
    ("①ＡＢ１２％", "一AB百分之十二"),
    ("R&D和A/B测试", "R and D和A B测试"),
    ("下午2点，手机138 0013 8000", "下午两点，手机幺三八零零幺三八零零零"),
    ("买2送1，7天可退", "买二送一， 七天可退"),
    ("血压120/80mmHg，每100g", "血压一百二十、八十毫米汞柱，每一百克"),
    ("No.1有100w+粉丝", "第一有一百万加粉丝"),
    ("銀行行長用軟體，花了100塊", "银行行长用软体，花了一百块"),
]


@pytest.mark.parametrize(("written", "spoken"), LINES)
def test_line_is_spoken_as_people_say_it(written: str, spoken: str) -> None:
    assert normalise(written, "mixed") == spoken


def test_addresses_are_spelt() -> None:
    assert normalise("请看www.example.com", "mixed") == "请看 w w w点example点com"
    assert normalise("写信到me@test.cn。", "mixed") == "写信到 me at test点cn 。"
    assert "http" not in normalise("请看https://a.com/b1", "mixed")


def test_english_is_left_to_its_reader() -> None:
    assert normalise("It costs  $3.50\nat 5 pm.", "en") == "It costs $3.50 at 5 pm."
