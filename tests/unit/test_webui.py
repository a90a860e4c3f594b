"""What the page's process keeps to itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modules.settings import ROOT

PROGRAM = """
import json, os, sys
import webui
from huggingface_hub import constants
from modules.jobs.studio import Studio
from modules.ui import app

def build(*_):
    print(json.dumps({"here": constants.HF_HUB_OFFLINE, "inherited": os.environ.get("HF_HUB_OFFLINE")}))
    raise OSError

Studio.start = Studio.stop = lambda studio: None
app.build = build
sys.argv = ["webui.py", "--data-dir", sys.argv[1]]
webui.main()
"""


@pytest.mark.slow
def test_the_page_asks_no_hub_and_the_workers_may(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    program = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[0]) == {"here": True, "inherited": None}, done.stderr
