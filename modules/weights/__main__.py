"""``./start.sh models``: list the weights, fetch or import them, check them, delete them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from modules import translate, weights
from modules.errors import StudioError
from modules.progress import Progress
from modules.settings import HubSource, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error is one sentence in the user's language and exit status 1."""
    given = _parser().parse_args(arguments)
    settings, language = load(), translate.of_terminal()
    choice = weights.Choice.of(settings)
    weights.choose(replace(choice, source=given.source) if given.source else choice)
    models_dir = settings.models_dir
    wrong: list[str] = []
    try:
        with Bar(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as bar:
            if given.bring is not None:
                taken = weights.import_from(models_dir, given.bring, _shown(bar, "stage.import", language))
                bar.print(translate.text("weights.imported", language, names=", ".join(taken)))
            if given.fetch is not None:
                for name in given.fetch or _built_in():
                    weights.ensure(models_dir, [name], _shown(bar, "stage.weights", language, models_dir, name))
            if given.check:
                ready = [name for name in weights.entries() if weights.state(models_dir, name) == "ready"]
                progress = _shown(bar, "stage.verify", language)
                wrong = [name for name in ready if weights.verify(models_dir, name, progress, thorough=True)]
            if given.delete is not None:
                weights.delete(models_dir, given.delete)
                bar.print(translate.text("weights.deleted", language, name=given.delete))
    except StudioError as error:
        Console(stderr=True).print(translate.error_text(error, language), style="red", markup=False)
        return 1
    Console().print(table(models_dir, wrong, language))
    return int(bool(wrong))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="start.sh models", description="模型文件 / model files")
    parser.add_argument(
        "--fetch",
        nargs="*",
        metavar="NAME",
        help="下载；不写名称则下载内置引擎的模型 / fetch; without names those of the built-in engines",
    )
    parser.add_argument("--source", choices=get_args(HubSource), help="下载来源 / which hub to fetch from")
    parser.add_argument(
        "--import",
        dest="bring",
        type=Path,
        metavar="FOLDER_OR_ZIP",
        help="从文件夹、ZIP 或单个文件导入 / from a folder, a ZIP or one file",
    )
    parser.add_argument("--check", action="store_true", help="逐字节校验 / read every file through")
    parser.add_argument("--delete", metavar="NAME", help="删除一个模型 / delete one")
    return parser


def _built_in() -> list[str]:
    return [name for name, entry in weights.entries().items() if entry.built_in]


def _shown(bar: Bar, stage: str, language: str, models_dir: Path = Path(), name: str = "") -> Progress:
    """A progress on the terminal; while an entry is downloaded, with its speed."""
    task = bar.add_task(translate.text(stage, language), total=1.0, visible=False)

    def report(share: float, stage: str) -> None:
        going_on = weights.going_on(models_dir, name) if name else None
        speed = translate.text("weights.speed", language, speed=f"{going_on.speed / 1e6:.1f}") if going_on else ""
        words = f"{translate.text(stage, language)} {name} {speed}".rstrip()
        bar.update(task, completed=share, visible=True, description=words)

    return Progress(report, stage=stage)


def table(models_dir: Path, wrong: Sequence[str], language: str) -> Table:
    """All entries with name, size, licence and state; those in ``wrong`` are shown as damaged."""
    columns = ("name", "engines", "size", "licence", "commercial", "state")
    rows = Table("", *(translate.text(f"weights.{name}", language) for name in columns))
    for name, entry in weights.entries().items():
        state = "broken" if name in wrong else weights.state(models_dir, name)
        said = translate.text(f"weights.{state}", language)
        if state in ("partial", "downloading"):
            said += f" ({weights.arrived_bytes(models_dir, name) / 10**6:.0f} MB)"
        size = f"{entry.file_bytes / 10**6:.0f} MB"
        commercial = translate.text(f"weights.commercial.{entry.commercial}", language)
        rows.add_row(name, entry.title, ", ".join(entry.engines), size, entry.licence, commercial, said)
    return rows


if __name__ == "__main__":
    sys.exit(main())
