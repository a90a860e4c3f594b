"""What the requirement files name is enough: nothing that only tests or graphics cards bring is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modules import launcher
from modules.settings import ROOT

# Asks for requirements-gpu.txt, and is only used where that is installed.
WITH_A_CARD = "modules.avatar.ultralight.hubert"
IMPORT_ALL = """
import importlib, json, pkgutil, sys

hidden, spared = json.loads(sys.argv[1])

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import modules
for module in pkgutil.walk_packages(modules.__path__, "modules."):
    if not module.name.endswith("__main__") and module.name != spared:
        importlib.import_module(module.name)
importlib.import_module("webui")
"""


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


def lines_of(path) -> list[str]:
    lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


@pytest.mark.slow
def test_the_studio_needs_no_more_than_its_requirements() -> None:
    bare = {canonicalize_name(Requirement(line).name) for line in lines_of(launcher.BARE_REQUIREMENTS)}
    brought = brought_by(lines_of(launcher.REQUIREMENTS)) | bare
    tops = metadata.packages_distributions()
    hidden = [top for top, owners in tops.items() if not brought & {canonicalize_name(owner) for owner in owners}]
    assert {"pytest", "transformers"} <= set(hidden)
    order = json.dumps([hidden, WITH_A_CARD])
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL, order], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
