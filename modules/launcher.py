"""What start.sh and start.bat run: make the environment once, then hand over.

Runs on a bare Python: nothing but its standard library and the studio's two text files is used here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # Run by its path, so that no folder named `modules` in the user's own folder is found instead.
    sys.path[0] = str(ROOT)

from modules import translate  # noqa: E402
from modules.errors import StudioError  # noqa: E402

VENV = ROOT / ".venv"
STAMP = VENV / "installed.txt"
REQUIREMENTS, BARE_REQUIREMENTS, GPU_REQUIREMENTS, DEVELOPMENT, CONSTRAINTS = (
    ROOT / name
    for name in (
        "requirements.txt",
        "requirements-nodeps.txt",
        "requirements-gpu.txt",
        "requirements-dev.txt",
        "constraints.txt",
    )
)
PYTHONS = ((3, 11), (3, 12))
DEFAULT_PORT = 7860
PAGE_SECONDS = 180.0

# Only torch is published in several builds; its CPU and CUDA builds lie on an index of their own.
# FENSHEN_TORCH_INDEX names a mirror of it, or is empty to use the machine's own pip settings alone.
TORCH_INDEX = "https://download.pytorch.org/whl"
INDEX_SECONDS = 5.0


@dataclass(frozen=True)
class Card:
    """An NVIDIA card: compute capability, e.g. (8, 6), and the driver's first number, e.g. 580."""

    capability: tuple[int, int]
    driver: int


def main(arguments: list[str] | None = None) -> int:
    """``[studio] [options]``, ``test [pytest options]``, or any word of the command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    if words[:1] in (["-h"], ["--help"], ["help"]):
        say("launcher.usage")
        return 0
    if words[:1] == ["open-page"]:
        return open_page(words[1], float(words[2]))
    word = words.pop(0) if words and not words[0].startswith("-") else "studio"
    try:
        python = set_up(development=word == "test")
    except StudioError as error:
        print(translate.error_text(error, translate.of_terminal()), file=sys.stderr)
        return 1
    if "--setup-only" in words:
        say("launcher.ready")
        return 0
    if word == "studio":
        return studio(python, words)
    if word == "test":
        os.chdir(ROOT)
        # Tests of the engines need the real weights; without a network those tests are skipped.
        command, environment = studio_process(python, ["-m", "modules.weights", "--fetch"])
        subprocess.run(command, env=environment)
        return hand_over(python, ["-m", "pytest", *words])
    if word == "models":
        return hand_over(python, ["-m", "modules.weights", *words])
    return hand_over(python, ["-m", "modules.cli", word, *words])


def say(key: str, **values: str | int | float) -> None:
    """One sentence to the terminal."""
    print(translate.text(key, translate.of_terminal(), **values), flush=True)


# --- the environment -----------------------------------------------------------------------------


def set_up(*, development: bool) -> Path:
    """The environment's Python, with everything installed; instant when nothing has changed."""
    wanted = fingerprint(development=False)
    wanted_too = fingerprint(development=True)
    installed = STAMP.read_text().split() if STAMP.is_file() else []
    python = venv_python()
    if (wanted_too in installed or (wanted in installed and not development)) and works(python):
        return python
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[-1]:
        raise StudioError("launcher_python", version=platform.python_version())
    started = time.monotonic()
    say("launcher.installing")
    if not works(python):
        make_venv()
    STAMP.unlink(missing_ok=True)
    card = find_card()
    pip_install(python, torch_arguments(card, sys.platform, index_answers))
    pip_install(python, ["-r", str(REQUIREMENTS)])
    pip_install(python, ["--no-deps", "-r", str(BARE_REQUIREMENTS)])
    if development or torch_build(card) != "cpu":
        pip_install(python, ["-r", str(GPU_REQUIREMENTS)])
    if development:
        pip_install(python, ["-r", str(DEVELOPMENT)])
    STAMP.write_text(f"{wanted_too if development else wanted}\n")
    say("launcher.installed", seconds=round(time.monotonic() - started))
    return python


def fingerprint(*, development: bool) -> str:
    """Changes when any required package does."""
    digest = hashlib.sha256()
    files = [REQUIREMENTS, BARE_REQUIREMENTS, GPU_REQUIREMENTS, CONSTRAINTS, *([DEVELOPMENT] if development else [])]
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def venv_python() -> Path:
    """Where the environment's Python lies on this system."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def works(python: Path) -> bool:
    """Whether an environment's Python still runs (it does not after a move or a system upgrade)."""
    if not python.is_file():
        return False
    return subprocess.run([str(python), "-c", "import pip"], capture_output=True).returncode == 0


def make_venv() -> None:
    """Create the environment; on Debian as root, the missing piece of Python is installed first."""
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        install_debian(package)
        importlib.invalidate_caches()
        if importlib.util.find_spec("ensurepip") is None:
            raise StudioError("launcher_venv", package=package)
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)]).returncode != 0:
        raise StudioError("launcher_folder", folder=str(VENV))


def install_debian(package: str) -> None:
    """apt-get install, where that is there and allowed; otherwise nothing."""
    apt = shutil.which("apt-get")
    if apt is None or sys.platform == "win32" or os.geteuid() != 0:
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([apt, "update", "-q"], env=quiet)
    subprocess.run([apt, "install", "-q", "-y", "--no-install-recommends", package], env=quiet)


def pip_install(python: Path, what: list[str]) -> None:
    """pip install into the environment, with the versions that we know to work together."""
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--prefer-binary"]
    if subprocess.run([*command, "-c", str(CONSTRAINTS), *what]).returncode != 0:
        raise StudioError("launcher_install", retryable=True)


# --- which torch ---------------------------------------------------------------------------------


def find_card() -> Card | None:
    """The weakest NVIDIA card of this machine, or None."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        answer = subprocess.run(
            [tool, "--query-gpu=compute_cap,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return weakest_card(answer.stdout) if answer.returncode == 0 else None


def weakest_card(answer: str) -> Card | None:
    """Read lines like ``8.6, 580.65.06``; lines that say anything else do not count."""
    cards = []
    for line in answer.splitlines():
        capability, _, driver = line.partition(",")
        major, _, minor = capability.strip().partition(".")
        first = driver.strip().partition(".")[0]
        if major.isdigit() and minor.isdigit() and first.isdigit():
            cards.append(Card((int(major), int(minor)), int(first)))
    return min(cards, key=lambda card: card.capability, default=None)


def torch_build(card: Card | None) -> str:
    """The build of torch 2.13 that runs on ``card``: CUDA 13.0, CUDA 12.6 or CPU."""
    if card is not None and card.capability >= (7, 5) and card.driver >= 580:
        return "cu130"
    if card is not None and (5, 0) <= card.capability <= (9, 0) and card.driver >= 525:
        return "cu126"
    return "cpu"


def torch_arguments(card: Card | None, system: str, answers: Callable[[str], bool]) -> list[str]:
    """pip's arguments for torch on ``system`` (sys.platform).

    The plain package is a CUDA 13.0 build on Linux and a CPU build elsewhere. For any other build
    torch's own index is asked beside the machine's; where it cannot be reached, the plain package
    of the machine's own index has to do.
    """
    plain = torch_requirement()
    build = torch_build(card)
    if system == "darwin" or build == ("cu130" if system.startswith("linux") else "cpu"):
        return [plain]
    base = os.environ.get("FENSHEN_TORCH_INDEX", TORCH_INDEX)
    index = f"{base.rstrip('/')}/{build}"
    if not base or not answers(f"{index}/torch/"):
        if build != "cpu":
            say("launcher.torch_index", build=build)
        return [plain]
    return [f"{plain}+{build}", "--extra-index-url", index]


def torch_requirement() -> str:
    """The line of requirements.txt that pins torch."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return next(line.strip() for line in lines if line.startswith("torch=="))


def index_answers(address: str) -> bool:
    """Whether a package index can be reached."""
    try:
        with urllib.request.urlopen(address, timeout=INDEX_SECONDS) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


# --- handing over --------------------------------------------------------------------------------


def hand_over(python: Path, arguments: list[str]) -> int:
    """Become ``python arguments`` (on Windows: run it and wait), with the studio importable."""
    command, environment = studio_process(python, arguments)
    if os.name == "nt":
        try:
            return subprocess.run(command, env=environment).returncode
        except KeyboardInterrupt:
            return 130
    # Signals then reach the studio itself, and nothing is left over when it is killed.
    sys.stdout.flush()
    os.execve(command[0], command, environment)  # noqa: S606


def studio_process(python: Path, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a process that imports the studio, wherever the user stands."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # -P: a folder `modules` where the user happens to stand must not be taken for ours.
    command = [str(python), "-P", *arguments]
    return command, {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}


def studio(python: Path, words: list[str]) -> int:
    """Open the studio, and the page in the browser once it answers."""
    shown = "--no-browser" not in words
    words = [word for word in words if word != "--no-browser"]
    if shown and has_screen():
        address = page_address(words)
        helper = [sys.executable, str(Path(__file__).resolve()), "open-page", address, str(PAGE_SECONDS)]
        subprocess.Popen(helper, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return hand_over(python, [str(ROOT / "webui.py"), *words])


def has_screen() -> bool:
    """Whether a person sits before this machine."""
    if os.environ.get("CI"):
        return False
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def page_address(words: list[str]) -> str:
    """Where the page will be, by the same options that the studio reads."""
    port = os.environ.get("FENSHEN_PORT", str(DEFAULT_PORT))
    for place, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == "--port":
            port = value or next(iter(words[place + 1 :]), port)
    return f"http://127.0.0.1:{port}/"


def open_page(address: str, seconds: float) -> int:
    """Open the browser when ``address`` answers, whatever it answers; give up after ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310
        except urllib.error.HTTPError as answer:
            answer.close()
        except (OSError, ValueError):
            time.sleep(0.5)
            continue
        return 0 if webbrowser.open(address) else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
