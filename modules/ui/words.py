"""Times, sizes and dates as people say them."""

from __future__ import annotations

import time

from modules.ui.page import Page


def duration(page: Page, seconds: float) -> str:
    """'12 秒' or '3 分 05 秒'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return page.t("ui.time.seconds", seconds=whole)
    return page.t("ui.time.minutes", minutes=whole // 60, seconds=f"{whole % 60:02d}")


def size(count: float) -> str:
    """'35 MB' or '1.2 GB'."""
    megabytes = count / 1e6
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{max(1, round(megabytes))} MB"


def date(moment: float) -> str:
    """'2026-11-22 14:05', in the machine's time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
