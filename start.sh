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
    return 1
}

if ! find_python && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        python3 python3-venv ca-certificates
fi
if ! find_python; then
    echo "需要 Python 3.11 或 3.12。请安装后再运行：Debian/Ubuntu 用 sudo apt install python3 python3-venv，macOS 用 brew install python@3.12。" >&2
    echo "Python 3.11 or 3.12 is needed. Install it and run this again: sudo apt install python3 python3-venv on Debian and Ubuntu, brew install python@3.12 on macOS." >&2
    exit 1
fi
exec "$python" "$here/modules/launcher.py" "$@"
