"""How much memory this process holds, without what the allocator merely keeps."""

from __future__ import annotations

import ctypes
import functools
import sys

import pytest

SMALL_OBJECT = 512


class _Usage(ctypes.Structure):
    """glibc's struct mallinfo2, see man mallinfo."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    )


@functools.cache
def _mallinfo() -> ctypes._NamedFuncPointer:
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, TypeError):  # another C library; Windows, which has no handle of the process itself
        pytest.skip("needs glibc 2.33 or later")
    mallinfo.restype = _Usage
    return mallinfo


def held_bytes() -> int:
    """Bytes asked for and not given back, by all threads; skips the test where the C library does not tell.

    The resident size is no measure of that: glibc keeps freed memory in pieces, tens of megabytes more or less each
    time. Python's small objects do not come from malloc: each counts as if it had the most they may have.
    """
    usage = _mallinfo()()
    return int(usage.uordblks + usage.hblkhd) + SMALL_OBJECT * sys.getallocatedblocks()
