"""What of the page needs no browser."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import webui
from modules import translate

ROOT = Path(__file__).resolve().parents[2]


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "gradio", "numpy", "onnxruntime", "av", "cv2", "pydantic"}
    code = f"""
import runpy, sys
sys.argv = ["webui.py", "--help"]
try:
    runpy.run_path("webui.py", run_name="__main__")
except SystemExit:
    assert not {heavy} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--data-dir" in done.stdout


def test_the_page_is_built_and_knows_the_machine_without_torch(tmp_path: Path) -> None:
    heavy = {"torch", "onnxruntime", "transformers", "diffusers"}
    code = f"""
import sys
from pathlib import Path
from modules import devices
from modules.jobs.studio import Studio
from modules.settings import Settings
from modules.ui import app
from tests.waiting import wait_for
settings = Settings(data_dir=Path(sys.argv[1]))
app.build(Studio(settings), settings)
wait_for(lambda: devices.machine_facts(settings.data_dir) is not None)
assert devices.machine_facts(settings.data_dir).devices
loaded = {heavy} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("host", "share", "auth", "refused"),
    [
        ("127.0.0.1", False, None, False),
        ("localhost", False, None, False),
        ("::1", False, None, False),
        ("0.0.0.0", False, None, True),  # noqa: S104
        ("192.168.1.5", False, None, True),
        ("my-host", False, None, True),
        ("127.0.0.1", True, None, True),
        ("0.0.0.0", True, "me:secret", False),  # noqa: S104
        ("127.0.0.1", False, "me", True),
        ("127.0.0.1", False, "me:", True),
    ],
)
def test_no_door_is_opened_without_a_lock(host: str, share: bool, auth: str | None, refused: bool) -> None:
    assert (webui.refusal(host, share, auth) is not None) is refused


@pytest.mark.parametrize("given", ["0", "65536", "x", "-1"])
def test_a_port_is_a_number_of_a_port(given: str) -> None:
    with pytest.raises(SystemExit):
        webui.options(["--port", given])


def test_every_text_that_the_page_asks_for_exists() -> None:
    known = translate.texts("zh-CN").keys()
    asked: set[str] = set()
    for file in (ROOT / "modules" / "ui").glob("*.py"):
        asked |= set(re.findall(r'"(ui\.[a-z_.0-9]+)"', file.read_text(encoding="utf-8")))
    assert asked and asked <= known, asked - known


def test_the_sentence_at_the_cursor() -> None:
    from modules.ui.script import sentence_at

    script = "第一句。[停1秒]第二句！\nThird one. Last"
    assert sentence_at(script, 0) == "第一句。"
    assert sentence_at(script, 4) == "第一句。"
    assert sentence_at(script, 12) == "第二句！"
    assert sentence_at(script, script.index("Third") + 3) == "Third one."
    assert sentence_at(script, len(script)) == "Last"
    assert sentence_at("", 0) == ""


def test_what_users_wrote_is_text_in_html() -> None:
    from modules.ui import html

    bad = "<img src=x onerror=alert(1)>\"'&"
    pieces = html.note(bad) + html.card("", bad, bad, html.button(bad, bad, bad)) + html.download(bad, bad, bad)
    pieces += html.facts([(bad, bad)]) + html.sound(bad, bad) + html.picture(bad, bad)
    assert "<img src=x" not in pieces and 'x onerror=alert(1)>"' not in pieces


def test_download_names_are_file_names_everywhere() -> None:
    from modules.ui.render import file_name

    assert file_name('../a\\b:c*?"<>|\n你好', "mp4") == "abc你好.mp4"
    assert file_name("…", "srt") == "fenshen.srt"


def test_every_engine_and_option_has_its_texts() -> None:
    from modules.avatar import registry as lip_sync
    from modules.ui.controls import accepted, for_renders

    known = translate.texts("en").keys()
    asked = {f"engine.lips.{info.id}.about" for info in lip_sync.infos()}
    for info in lip_sync.infos():
        for option in info.options:
            asked |= {option.key, f"{option.key}.help", *(f"{option.key}.{choice}" for choice in option.choices)}
        shown = for_renders(info.options)
        assert "live" not in accepted(shown, {"live": True})
        # What a browser kept of another version, or was made to send, never reaches an engine.
        assert accepted(shown, {option.name: "nonsense" for option in shown}) == accepted(shown, None)
    assert asked <= known, asked - known


GIGABYTE = 1_000_000_000


@pytest.mark.parametrize(
    ("gigabytes", "ready", "engine", "reason", "better"),
    [
        (None, (), "builtin", "advice.no_card", ""),
        (None, ("musetalk15",), "builtin", "advice.no_card", ""),
        (0.5, ("musetalk15",), "builtin", "advice.card_small", ""),
        (12, (), "builtin", "advice.download", "musetalk15"),
        (12, ("musetalk15", "wav2lip96"), "musetalk15", "advice.best", ""),
        (12, ("wav2lip256",), "wav2lip256", "advice.best_here", "musetalk15"),
        (3, ("musetalk15",), "builtin", "advice.download", "wav2lip256"),
        (3, ("musetalk15", "wav2lip256"), "wav2lip256", "advice.best", ""),
    ],
)
def test_the_advice(gigabytes: float | None, ready: tuple[str, ...], engine: str, reason: str, better: str) -> None:
    from modules.avatar import registry as lip_sync
    from modules.avatar.advice import advise
    from modules.devices import Build, Device, Machine
    from modules.errors import StudioError

    processor = Device("cpu", 0, "CPU", 16 * GIGABYTE)
    build = Build("2.13.0+cu130", "13.0", ("sm_89",))
    cards = () if gigabytes is None else (Device("cuda", 0, "Card", int(gigabytes * GIGABYTE), (8, 9)),)
    advice = advise(lip_sync.infos(), ready, Machine(build, (*cards, processor)))
    assert (advice.engine, advice.reason, advice.better) == (engine, reason, better)
    assert translate.text(advice.reason, "en", card=advice.card, other=advice.other)
    assert advise(lip_sync.infos(), ready, None).reason == "advice.unknown"
    broken = StudioError("gpu_broken", name="Card", reason="x")
    if cards:  # a card that does not compute is none
        refused = advise(lip_sync.infos(), ready, Machine(build, (*cards, processor), (broken,)))
        assert (refused.engine, refused.reason) == ("builtin", "advice.card_unused")


def test_weights_together_and_speeds(tmp_path: Path) -> None:
    from modules.jobs import speeds
    from modules.jobs.cards import WeightsCard
    from modules.jobs.engines import together

    def card(state: str) -> WeightsCard:
        few = {"bytes": 0, "size": 1, "needed_by": (), "licence": "", "commercial": "yes", "about": "", "page": ""}
        flags = {"built_in": False, "can_fetch": True, "deletable": False, "shared": False}
        last = {"places": (), "files": (), "job": None, "speed": 0.0, "remaining": None}
        return WeightsCard(entry="a", title="A", state=state, **few, **flags, **last)  # type: ignore[arg-type]

    assert together([]) == together([card("ready"), card("ready")]) == "ready"
    assert together([card("ready"), card("missing")]) == "missing"
    assert together([card("broken"), card("downloading"), card("queued")]) == "downloading"
    assert together([card("partial"), card("broken")]) == "broken"

    assert speeds.note(tmp_path, "e", 10, 1.0, 8, 8) is None and speeds.known(tmp_path) == {}
    assert speeds.note(tmp_path, "e", 100, 2.0, 8, 6) == speeds.known(tmp_path)["e"] == speeds.Speed(50.0, 8, 6)
    (tmp_path / speeds.FILE).write_text('{"e": 3, "f": {"frames_per_second": "x"}}')
    assert speeds.known(tmp_path) == {}


def test_the_page_looks_often_only_at_what_is_fresh(tmp_path: Path) -> None:
    from modules.jobs.store import JobStore
    from modules.ui.page import BUSY_PULSE, CALM_PULSE, FRESH_SECONDS, LONG_PULSE, until_next_look

    assert BUSY_PULSE < LONG_PULSE < CALM_PULSE
    store = JobStore(tmp_path)
    assert until_next_look([], 0.0) == CALM_PULSE
    waiting = store.get(store.add("render", "", {}))
    assert until_next_look([waiting], waiting.created + 1) == BUSY_PULSE
    claimed = store.claim()
    assert claimed is not None
    running = store.get(claimed.id)
    assert running.started is not None
    assert until_next_look([running], running.started + 1) == BUSY_PULSE
    later = running.started + FRESH_SECONDS + 1
    assert until_next_look([running], later) == LONG_PULSE
    store.ask_cancel(running.id)
    assert until_next_look([store.get(running.id)], later) == BUSY_PULSE
    store.cancelled(running.id)
    assert until_next_look([store.get(running.id)], later) == CALM_PULSE
