"""``./start.sh models``: list the weights, fetch them ahead, check them, or bring them from another machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from modules import translate, weights
from modules.errors import StudioError
from modules.progress import Progress
from modules.settings import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error is one sentence in the user's language and exit status 1."""
    parser = argparse.ArgumentParser(prog="start.sh models", description="模型文件 / model files")
    parser.add_argument("--fetch", action="store_true", help="下载全部缺少的模型 / fetch all that are missing")
    parser.add_argument("--import", dest="source", type=Path, metavar="FOLDER", help="从文件夹导入 / from a folder")
    parser.add_argument("--check", action="store_true", help="逐字节校验 / read every file through")
    given = parser.parse_args(arguments)
    models_dir, language = load().models_dir, translate.of_terminal()
    wrong: list[str] = []
    try:
        with Bar(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()) as bar:
            task = bar.add_task(translate.text("stage.weights", language), total=1.0, visible=False)
            progress = Progress(lambda share, stage: bar.update(task, completed=share, visible=True))
            if given.source is not None:
                weights.import_folder(models_dir, given.source, progress)
            if given.fetch:
                weights.ensure(models_dir, list(weights.entries()), progress)
            if given.check:
                wrong = [
                    name
                    for name in weights.entries()
                    if weights.state(models_dir, name) == "ready" and weights.verify(models_dir, name, progress)
                ]
    except StudioError as error:
        Console(stderr=True).print(translate.error_text(error, language), style="red", markup=False)
        return 1
    Console().print(table(models_dir, wrong, language))
    return int(bool(wrong))


def table(models_dir: Path, wrong: Sequence[str], language: str) -> Table:
    """All entries with size, licence and state; those in ``wrong`` are shown as damaged."""
    columns = [translate.text(f"weights.{name}", language) for name in ("name", "size", "licence", "state")]
    rows = Table(*columns)
    for name, entry in weights.entries().items():
        state = "broken" if name in wrong else weights.state(models_dir, name)
        size = f"{entry.file_bytes / 10**6:.0f} MB"
        rows.add_row(entry.title, size, entry.licence, translate.text(f"weights.{state}", language))
    return rows


if __name__ == "__main__":
    sys.exit(main())
