"""HuBERT large as Ultralight's published trainer hears with it; used only where its weights are there.

Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning" (2021); facebook/hubert-large-ls960-ft.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import HubertConfig, HubertModel

from modules.avatar.ultralight.features import LEAST, ROW_WIDTH, as_steps, hubert_cuts
from modules.devices.checkpoints import UNREADABLE, read
from modules.errors import StudioError
from modules.progress import Progress

FILES = ("model.safetensors", "pytorch_model.bin")
CONFIG = {
    "hidden_size": ROW_WIDTH,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "feat_proj_layer_norm": True,
}
# Of the processor that belongs to the model.
TINY = 1e-7
# The names of a weight norm before and since PyTorch 2.1.
_RENAMED = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


def load(folder: Path, config: Mapping[str, object] = CONFIG) -> HubertModel:
    """The model of the entry hubert-large in ``folder``; StudioError('weights_broken') for a wrong file."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), folder / FILES[0])
    try:
        model = HubertModel(HubertConfig(**config))
        model.load_state_dict(_bare(read(file)), strict=True)
    except UNREADABLE as error:
        raise StudioError("weights_broken", name="HuBERT", file=file.name) from error
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def rows(model: HubertModel, sound: np.ndarray, progress: Progress) -> np.ndarray:
    """(T, 2, 1024) float32, a step a frame of 40 ms, of 16 kHz ``sound`` of at least 25 ms; levelled as a whole."""
    levelled = (sound - sound.mean()) / np.sqrt(sound.var() + TINY)
    pieces, count = hubert_cuts(len(sound))
    device = model.device
    heard = []
    for number, (start, end) in enumerate(pieces.tolist()):
        progress.at(number / len(pieces))
        if end - start >= LEAST:
            piece = torch.from_numpy(levelled[start:end].astype(np.float32)).to(device)
            heard.append(model(piece[None]).last_hidden_state[0].float().cpu().numpy())
    found = np.concatenate([*heard, np.zeros((1, model.config.hidden_size), np.float32)])
    return as_steps(found[:count])


def _bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the head that writes letters, and with today's names."""
    named = {}
    for key, tensor in weights.items():
        if key.startswith("lm_head."):
            continue
        place, _, kind = key.removeprefix("hubert.").rpartition(".")
        named[f"{place}.{_RENAMED.get(kind, kind)}" if place else kind] = tensor
    return named
