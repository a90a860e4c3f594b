"""Recording CUDA graphs: what a network does to its buffers, to be done again with one launch."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

# Held by whoever records, and by whoever may wait for a whole card, as compiling does: CUDA breaks off a recording
# when anything in the process waits so, and the beginning of a recording waits so too.
ALONE = threading.Lock()


def record(work: Callable[[], torch.Tensor], stream: torch.cuda.Stream) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
    """A graph of what ``work`` does on ``stream``, and where each replay leaves what it gives; hold ALONE.

    work: has been done there before, so that kernels are chosen and buffers made.
    """
    graph = torch.cuda.CUDAGraph()
    stream.synchronize()
    # A stream given: torch would keep one of its own for good, on the card of the first graph ever. thread_local: what
    # other threads do meanwhile, short of waiting for the whole card, breaks nothing off.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        given = work()
    return graph, given
