"""How long `python webui.py --help` takes: python -m tests.bench.bench_help"""

from __future__ import annotations

import subprocess
import sys
import time

from modules.settings import ROOT
from tests.bench.common import line


def main() -> None:
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([sys.executable, "webui.py", "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.monotonic() - began)
    print(line("webui.py --help, slowest of five", max(seconds), "s", 1))


if __name__ == "__main__":
    main()
