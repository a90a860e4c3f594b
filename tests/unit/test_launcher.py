"""The launcher: which torch, which command, which page; and that bare Python can run it."""

from __future__ import annotations

import ast
import http.server
import importlib.metadata
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from modules import launcher
from modules.errors import StudioError

ROOT = Path(__file__).resolve().parents[2]
RTX3060, V100, RTX5090 = launcher.Card((8, 6), 580), launcher.Card((7, 0), 580), launcher.Card((12, 0), 560)


def test_cards_are_read_and_the_weakest_counts() -> None:
    answer = "8.6, 580.65.06\n7.0, 580.65.06\nNVIDIA-SMI has failed\n[N/A], 1\n"
    assert launcher.weakest_card(answer) == V100
    assert launcher.weakest_card("No devices were found") is None


@pytest.mark.parametrize(
    ("card", "build"),
    [
        (None, "cpu"),
        (RTX3060, "cu130"),
        (launcher.Card((8, 6), 535), "cu126"),
        (V100, "cu126"),
        (RTX5090, "cpu"),
        (launcher.Card((12, 0), 580), "cu130"),
        (launcher.Card((3, 5), 470), "cpu"),
    ],
)
def test_the_build_fits_the_card(card: launcher.Card | None, build: str) -> None:
    assert launcher.torch_build(card) == build


@pytest.mark.parametrize(
    ("system", "card", "answers", "expected"),
    [
        ("linux", None, True, ["torch==2.13.0+cpu", "--extra-index-url", f"{launcher.TORCH_INDEX}/cpu"]),
        ("linux", None, False, ["torch==2.13.0"]),
        ("linux", RTX3060, True, ["torch==2.13.0"]),
        ("win32", RTX3060, True, ["torch==2.13.0+cu130", "--extra-index-url", f"{launcher.TORCH_INDEX}/cu130"]),
        ("win32", RTX3060, False, ["torch==2.13.0"]),
        ("win32", None, True, ["torch==2.13.0"]),
        ("darwin", None, True, ["torch==2.13.0"]),
    ],
)
def test_pip_is_asked_for_that_build(
    system: str, card: launcher.Card | None, answers: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FENSHEN_TORCH_INDEX", raising=False)
    monkeypatch.setattr(launcher, "torch_requirement", lambda: "torch==2.13.0")
    assert launcher.torch_arguments(card, system, lambda address: answers) == expected


def test_a_mirror_or_no_index_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("FENSHEN_TORCH_INDEX", "https://mirror.example/torch/")
    launcher.torch_arguments(None, "linux", lambda address: bool(asked.append(address)))
    assert asked == ["https://mirror.example/torch/cpu/torch/"]
    monkeypatch.setenv("FENSHEN_TORCH_INDEX", "")
    assert len(launcher.torch_arguments(None, "linux", lambda address: True)) == 1


def test_every_requirement_is_pinned() -> None:
    own = (launcher.REQUIREMENTS, launcher.BARE_REQUIREMENTS, launcher.GPU_REQUIREMENTS, launcher.DEVELOPMENT)
    for path in (*own, launcher.CONSTRAINTS):
        lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        assert all("==" in line for line in lines if line), path
    assert launcher.torch_requirement().startswith("torch==")


@pytest.mark.parametrize("words", [["--port", "8001"], ["--share", "--port=8001"]])
def test_page_address(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FENSHEN_PORT", raising=False)
    assert launcher.page_address(words) == "http://127.0.0.1:8001/"
    assert launcher.page_address([]) == "http://127.0.0.1:7860/"


def test_the_browser_opens_when_the_page_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Login(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:
            pass

    opened: list[str] = []
    monkeypatch.setattr(launcher.webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    server = http.server.HTTPServer(("127.0.0.1", 0), Login)
    address = f"http://127.0.0.1:{server.server_port}/"
    with server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert launcher.open_page(address, 10) == 0
    assert opened == [address]
    assert launcher.open_page(address, 0.6) == 1
    assert opened == [address]


def test_no_browser_in_ci_or_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher.sys, "platform", "linux")
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not launcher.has_screen()
    monkeypatch.setenv("DISPLAY", ":0")
    assert launcher.has_screen()
    monkeypatch.setenv("CI", "true")
    assert not launcher.has_screen()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A place for the environment, with spaces in its name; pip's calls are noted, not made."""
    home = tmp_path / "中 文"
    monkeypatch.setattr(launcher, "VENV", home / ".venv")
    monkeypatch.setattr(launcher, "STAMP", home / ".venv" / "installed.txt")
    calls: list[list[str]] = []
    monkeypatch.setattr(launcher, "pip_install", lambda python, what: calls.append(what))
    monkeypatch.setattr(launcher, "find_card", lambda: None)
    monkeypatch.setattr(launcher, "index_answers", lambda address: False)
    return calls


@pytest.fixture
def quick_venv(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that is only a link to this Python."""

    def make() -> None:
        python = launcher.venv_python()
        python.parent.mkdir(parents=True, exist_ok=True)
        python.symlink_to(sys.executable)

    monkeypatch.setattr(launcher, "make_venv", make)
    monkeypatch.setattr(launcher, "works", lambda python: python.is_file())


@pytest.mark.usefixtures("quick_venv")
def test_the_second_start_installs_nothing(environment: list[list[str]]) -> None:
    python = launcher.set_up(development=False)
    assert python.is_file() and len(environment) == 3
    assert launcher.set_up(development=False) == python
    assert len(environment) == 3
    launcher.set_up(development=True)
    assert len(environment) == 8
    launcher.set_up(development=False)
    launcher.set_up(development=True)
    assert len(environment) == 8


@pytest.mark.parametrize(
    ("card", "development", "wanted"),
    [
        (None, False, False),
        (RTX3060, False, True),
        (launcher.Card((3, 5), 470), False, False),
        (None, True, True),
    ],
)
@pytest.mark.usefixtures("quick_venv")
def test_packages_of_gpu_engines_come_with_a_card_or_for_tests(
    card: launcher.Card | None,
    development: bool,
    wanted: bool,
    environment: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launcher, "find_card", lambda: card)
    launcher.set_up(development=development)
    assert (["-r", str(launcher.GPU_REQUIREMENTS)] in environment) == wanted


@pytest.mark.usefixtures("quick_venv")
def test_a_stopped_install_is_done_again(environment: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(python: Path, what: list[str]) -> None:
        raise StudioError("launcher_install", retryable=True)

    with monkeypatch.context() as broken:
        broken.setattr(launcher, "pip_install", fails)
        assert launcher.main(["--setup-only"]) == 1
    assert launcher.main(["--setup-only"]) == 0
    assert len(environment) == 3


@pytest.mark.usefixtures("quick_venv")
def test_changed_requirements_install_again(
    environment: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher.set_up(development=False)
    changed = tmp_path / "requirements.txt"
    changed.write_text(launcher.REQUIREMENTS.read_text(encoding="utf-8") + "\nrich==15.0.1\n", encoding="utf-8")
    monkeypatch.setattr(launcher, "REQUIREMENTS", changed)
    launcher.set_up(development=False)
    assert len(environment) == 6


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["WEBUI"]),
        (["--port", "8001", "--no-browser"], ["WEBUI", "--port", "8001"]),
        (["studio", "--share"], ["WEBUI", "--share"]),
        (["test", "-k", "a b"], ["-m", "pytest", "-k", "a b"]),
        (["render", "--text", "你好 --setup"], ["-m", "modules.cli", "render", "--text", "你好 --setup"]),
        (["doctor"], ["-m", "modules.cli", "doctor"]),
        (["models", "--fetch"], ["-m", "modules.weights", "--fetch"]),
    ],
)
def test_words_are_handed_on(words: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[list[str]] = []
    fetched: list[list[str]] = []
    monkeypatch.setattr(launcher, "set_up", lambda development: Path(sys.executable))
    monkeypatch.setattr(launcher, "has_screen", lambda: False)
    monkeypatch.setattr(launcher, "hand_over", lambda python, arguments: bool(handed.append(arguments)))
    monkeypatch.setattr(launcher.os, "chdir", lambda folder: None)
    monkeypatch.setattr(launcher.subprocess, "run", lambda command, env: fetched.append(command))
    launcher.main(words)
    assert [command[-3:] for command in fetched] == [["-m", "modules.weights", "--fetch"]] * (words[:1] == ["test"])
    assert handed == [[str(ROOT / "webui.py") if word == "WEBUI" else word for word in expected]]


def test_a_folder_called_modules_where_the_user_stands_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "__init__.py").write_text("raise SystemExit('the wrong modules')")
    code = (
        "import sys; from pathlib import Path; from modules import launcher;"
        "launcher.hand_over(Path(sys.executable), ['-m', 'modules.cli', '--help'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "render" in done.stdout, done.stderr


def test_bare_python_shows_the_help_and_imports_nothing_else(tmp_path: Path) -> None:
    """-S -I: no site-packages at all, as on a machine where nothing is installed yet."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "modules" / "launcher.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "LC_ALL": "zh_CN.UTF-8"},
    )
    assert done.returncode == 0 and "打开工作室" in done.stdout, done.stderr


def test_start_sh_says_what_to_install_without_python(tmp_path: Path) -> None:
    """A PATH with the shell's own tools and no fitting Python, and nobody who may install one."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "cat"):
        (tools / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    for name in ("python3", "python3.11", "python3.12", "python"):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
    for path in tools.iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
    script = (ROOT / "start.sh").read_text(encoding="utf-8").replace("/usr/bin/python3", "")
    copy = tmp_path / "start.sh"
    copy.write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["/bin/sh", str(copy)], env={"PATH": str(tools)}, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 1
    assert "Python 3.11 或 3.12" in done.stderr and "apt install python3" in done.stderr


@pytest.mark.parametrize("root", [True, False])
def test_a_python_without_venv(root: bool, environment: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's bare Python: root gets the missing package installed, others are told its name."""
    there = [not root and False]
    asked: list[str] = []

    def find(name: str) -> object | None:
        return object() if there[0] else None

    def install(package: str) -> None:
        asked.append(package)
        there[0] = root

    monkeypatch.setattr(launcher.importlib.util, "find_spec", find)
    monkeypatch.setattr(launcher, "install_debian", install)
    package = f"python3.{sys.version_info[1]}-venv"
    if root:
        python = launcher.set_up(development=False)
        assert launcher.works(python) and launcher.works(python.with_name("python3"))
        assert not launcher.works(python.with_name("python-that-moved-away"))
    else:
        with pytest.raises(StudioError) as caught:
            launcher.set_up(development=False)
        assert caught.value.code == "launcher_venv" and caught.value.values["package"] == package
    assert asked == [package]


def test_whatever_the_studio_imports_is_required() -> None:
    """Imports inside functions count too: a package must not be there by luck."""
    required = set()
    for path in (launcher.REQUIREMENTS, launcher.BARE_REQUIREMENTS, launcher.GPU_REQUIREMENTS):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "==" in line:
                required.add(re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower())
    homes = importlib.metadata.packages_distributions()
    for path in [ROOT / "webui.py", *sorted((ROOT / "modules").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"modules"}:
                providers = {re.sub(r"[-_.]+", "-", home).lower() for home in homes.get(top, [top])}
                assert providers & required, f"{path.name} imports {top}"
