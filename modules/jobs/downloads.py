"""What the jobs do that only bring weights here, in a worker process of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modules import weights
from modules.jobs import uploads
from modules.progress import Progress
from modules.settings import Settings


def run(settings: Settings, kind: str, params: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run one job and return its result."""
    return KINDS[kind](settings, params, progress)


def fetch_weights(settings: Settings, params: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Bring one entry here; stopped, it goes on where it was."""
    weights.ensure(settings.models_dir, [params["entry"]], progress.part(0.0, 1.0, "stage.weights"))
    return {"entry": params["entry"]}


def verify_weights(settings: Settings, params: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Read one entry through; ``wrong`` names the files that are not what they must be."""
    share = progress.part(0.0, 1.0, "stage.verify")
    wrong = weights.verify(settings.models_dir, params["entry"], share, thorough=True)
    return {"entry": params["entry"], "wrong": wrong}


def import_weights(settings: Settings, params: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Take what is wanted from a folder or file of this machine, or from an upload, which is then removed."""
    given = params.get("upload")
    source = uploads.source(settings, given) if given else Path(params["folder"])
    share = progress.part(0.0, 1.0, "stage.import")
    taken = weights.import_from(settings.models_dir, source, share, params.get("name", ""))
    if given:
        shutil.rmtree(source.parent, ignore_errors=True)
    return {"entries": taken}


KINDS: dict[str, Callable[[Settings, dict[str, Any], Progress], dict[str, Any]]] = {
    "fetch_weights": fetch_weights,
    "verify_weights": verify_weights,
    "import_weights": import_weights,
}
