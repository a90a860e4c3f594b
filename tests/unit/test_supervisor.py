import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# An init that reaps nobody: what is orphaned below it stays a zombie, as in a container without a real one.
LAZY_INIT = """
import ctypes, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1], *sys.argv[2:]]).returncode)
"""
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("ready", flush=True)
time.sleep(60)
"""
KILLER = """
import subprocess, sys, time
import psutil
from modules.jobs.supervisor import KILL_SECONDS, kill_tree
parent = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
parent.stdout.readline()
process = psutil.Process(parent.pid)
[child] = process.children()
began = time.monotonic()
kill_tree(process)
assert child.status() == psutil.STATUS_ZOMBIE
assert time.monotonic() - began < KILL_SECONDS / 2
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans have a choice of parents on Linux only")
def test_nobody_waits_for_an_orphan_that_nobody_reaps() -> None:
    subprocess.run([sys.executable, "-c", LAZY_INIT, KILLER, PARENT], cwd=ROOT, check=True, timeout=60)
