"""A network on the processor by ONNX Runtime, which takes half of torch's time there in single precision."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from modules.devices.sessions import session

# Of the operations that networks are exported with.
OPSET = 17


class Exported:
    """``module``, whose tensors all begin with the side of the batch, for inputs that are ``like`` these but for it."""

    def __init__(self, module: nn.Module, like: Sequence[np.ndarray], threads: int) -> None:
        # Two entries, for of a single one the exporter might think that there is never another.
        given = tuple(torch.from_numpy(np.repeat(array[:1], 2, axis=0)) for array in like)
        self._names = [f"given{number}" for number in range(len(given))]
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            # The newer exporter needs a package more; this one warns of it, and of folding no constants.
            warnings.simplefilter("ignore")
            file = Path(scratch) / "network.onnx"
            torch.onnx.export(
                module,
                given,
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=self._names,
                output_names=["drawn"],
                dynamic_axes={name: {0: "batch"} for name in (*self._names, "drawn")},
            )
            self._session = session(file, threads)

    def __call__(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """What the module gives for ``inputs``, each (B, ...)."""
        whole = (np.ascontiguousarray(array) for array in inputs)
        (drawn,) = self._session.run(None, dict(zip(self._names, whole, strict=True)))
        return np.asarray(drawn)
