"""The encoder of whisper-tiny, with the keys of the published file.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022). Names of layers are those of the
transformers library, which wrote the file; see diffusion.py for why it is not imported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.avatar.musetalk.attention import attend

MELS, STEPS = 80, 1500
WIDTH, LAYERS, HEADS = 384, 4, 6


class _Attention(nn.Module):
    """Attention of all steps to each other: (B, T, WIDTH) -> (B, T, WIDTH)."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.v_proj, self.out_proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, steps: Tensor) -> Tensor:
        found = attend(self.q_proj(steps), self.k_proj(steps), self.v_proj(steps), HEADS)
        given: Tensor = self.out_proj(found)
        return given


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.self_attn_layer_norm, self.self_attn = nn.LayerNorm(WIDTH), _Attention()
        self.final_layer_norm = nn.LayerNorm(WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, steps: Tensor) -> Tensor:
        steps = steps + self.self_attn(self.self_attn_layer_norm(steps))
        thought: Tensor = steps + self.fc2(functional.gelu(self.fc1(self.final_layer_norm(steps))))
        return thought


class WhisperEncoder(nn.Module):
    """Log-mel of 30 s in, everything thought on the way out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        # Zeros, for drawing random ones for a network without memory yet (see network._load) takes torch 5 s.
        self.embed_positions = nn.Embedding.from_pretrained(torch.zeros(STEPS, WIDTH))
        self.layers = nn.ModuleList([_Layer() for _ in range(LAYERS)])
        self.layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, mel: Tensor) -> list[Tensor]:
        """(B, 80, 3000) -> LAYERS + 1 of (B, 1500, 384): what goes in, and after each layer; the last one normed."""
        seen = functional.gelu(self.conv2(functional.gelu(self.conv1(mel))))
        states = [seen.transpose(1, 2) + self.embed_positions.weight]
        for layer in self.layers:
            states.append(layer(states[-1]))
        states[-1] = self.layer_norm(states[-1])
        return states
