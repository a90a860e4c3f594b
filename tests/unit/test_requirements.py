"""What the requirement files name is enough: nothing that only tests or graphics cards bring is asked for."""

from __future__ import annotations

import ast
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modules import launcher
from modules.settings import ROOT

# Asks for requirements-gpu.txt, and is only used where that is installed.
WITH_A_CARD = ROOT / "modules" / "avatar" / "ultralight" / "hubert.py"


def brought_by(lines: list[str]) -> set[str]:
    """Names of the distributions that installing ``lines`` of a requirements file brings, as far as they are here."""
    names: set[str] = set()
    asked = [(Requirement(line), "") for line in lines]
    while asked:
        requirement, extra = asked.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        wanted = {"", *requirement.extras}
        if name in names and wanted == {""}:
            continue
        names.add(name)
        try:
            brings = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        asked += [(Requirement(line), one) for line in brings for one in wanted]
    return names


def lines_of(file: Path) -> list[str]:
    """The requirements in ``file``, without its comments."""
    lines = [line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def imported_by(file: Path) -> set[str]:
    """The packages that ``file`` asks for anywhere, inside functions as well; neither Python's own nor ours."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"modules"}


def test_the_studio_needs_no_more_than_its_requirements() -> None:
    bare = {canonicalize_name(Requirement(line).name) for line in lines_of(launcher.BARE_REQUIREMENTS)}
    brought = brought_by(lines_of(launcher.REQUIREMENTS)) | bare
    owners = metadata.packages_distributions()
    missing = {
        (package, file.name)
        for file in [*(ROOT / "modules").rglob("*.py"), ROOT / "webui.py"]
        for package in imported_by(file)
        if file != WITH_A_CARD and not brought & {canonicalize_name(name) for name in owners.get(package, ())}
    }
    assert missing == set()
    assert imported_by(WITH_A_CARD) - {"torch", "numpy"} == {"transformers"}
    assert "transformers" not in brought
