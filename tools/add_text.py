"""Add or change one text in every language: python tools/add_text.py KEY ZH EN (keeps the files sorted and level)."""

import fcntl
import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "i18n"


def main() -> None:
    key, chinese, english = sys.argv[1:4]
    with open(FOLDER / "zh-CN.json", "a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, sentence in (("zh-CN", chinese), ("en", english)):
            path = FOLDER / f"{name}.json"
            raw = path.read_text(encoding="utf-8") if path.exists() else ""
            known = json.loads(raw or "{}")
            known[key] = sentence
            path.write_text(json.dumps(known, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
