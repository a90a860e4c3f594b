#!/bin/sh
# ./start.sh            open the studio        ./start.sh test     run the tests
# ./start.sh --help     everything else
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P) || exit 1

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

find_python() {
    for python in "${FENSHEN_PYTHON:-}" python3.12 python3.11 python3 /usr/bin/python3 python; do
        if [ -n "$python" ] && fits "$python"; then
            return 0
        fi
    done
    # uv keeps Pythons of its own, also where the system's is too new.
    python=$(uv python find 3.12 2>/dev/null || uv python find 3.11 2>/dev/null) && fits "$python"
}

if ! find_python && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        python3 python3-venv ca-certificates
fi
if ! find_python; then
    cat >&2 <<'END'
需要 Python 3.11 或 3.12。请安装后再运行 ./start.sh：
  Debian 12、Ubuntu 24.04：sudo apt install python3 python3-venv
  macOS：brew install python@3.12
  系统自带的 Python 更新时：安装 uv，再运行 uv python install 3.12
Python 3.11 or 3.12 is needed. Install it and run ./start.sh again:
  Debian 12, Ubuntu 24.04: sudo apt install python3 python3-venv
  macOS: brew install python@3.12
  where the system's own Python is newer: install uv, then uv python install 3.12
END
    exit 1
fi
exec "$python" "$here/modules/launcher.py" "$@"
