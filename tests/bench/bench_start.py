"""From ./start.sh to an answering page: python -m tests.bench.bench_start

Runs on a fresh copy of the project, without an environment. Python itself must
be here already, and pip may find packages in its cache; for a bare system, run
it inside one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from modules.settings import ROOT
from tests.bench.common import line
from tests.waiting import wait_for

PORT = 7898


def answers(server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "start.sh ended"
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "分身 studio"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
        began = time.monotonic()
        server = subprocess.Popen(["./start.sh", "--port", str(PORT)], cwd=copy, start_new_session=True)
        try:
            wait_for(lambda: answers(server), 1800)
            seconds = time.monotonic() - began
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait()
        print(line("./start.sh to an answering page", seconds, "s", 360))


if __name__ == "__main__":
    main()
