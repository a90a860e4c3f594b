"""Reading the files of networks, whoever wrote them: tensors come out, nothing else is ever run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

# What broken, half and foreign files make of reading them and of loading what was read.
UNREADABLE = (
    *(OSError, EOFError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
    *(pickle.UnpicklingError, zipfile.BadZipFile),
)


def read(file: Path) -> Mapping[str, Any]:
    """What a .safetensors file or one of torch.save holds, on the CPU; one of UNREADABLE for any other.

    Mapped where the format allows it: tensors stay on the disk until they are moved, and training state beside the
    weights for good. The format from before 2020 cannot be mapped.
    """
    if file.suffix == ".safetensors":
        # Comes with the engines that need it.
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    held: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    return held
