"""Kokoro-82M as torch modules; whole only to learn a voice, the decoder to speak as well.

Maths from Li et al., "StyleTTS 2" (2023) and Lan et al., "ALBERT" (2019); parameter names follow the
published Kokoro-82M checkpoint (see decoder.py for the two simplifications). One sentence at a time,
so there is no padding and no mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.voice_clone.builtin.decoder import Decoder, StyleBlock

SYMBOLS = 178
STYLE_SIZE = 128
WIDTH = 512
LONGEST_SOUND = 50


class AlbertEmbeddings(nn.Module):
    """Sum of token, place and segment embeddings."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(SYMBOLS, size)
        self.position_embeddings = nn.Embedding(512, size)
        self.token_type_embeddings = nn.Embedding(2, size)
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, L, size)."""
        places = torch.arange(tokens.shape[1])
        summed = self.word_embeddings(tokens) + self.position_embeddings(places) + self.token_type_embeddings.weight[0]
        normal: Tensor = self.LayerNorm(summed)
        return normal


class AlbertAttention(nn.Module):
    """Twelve heads of self-attention with the residual and its norm."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.dense = nn.Linear(size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, size) -> (B, L, size)."""
        split = (*x.shape[:2], self.heads, -1)
        query, key, value = (m(x).view(split).transpose(1, 2) for m in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(x.shape)
        normal: Tensor = self.LayerNorm(x + self.dense(mixed))
        return normal


class AlbertLayer(nn.Module):
    """Attention and feed-forward; ALBERT runs the same one twelve times."""

    def __init__(self, size: int, inner: int, heads: int) -> None:
        super().__init__()
        self.attention = AlbertAttention(size, heads)
        self.ffn = nn.Linear(size, inner)
        self.ffn_output = nn.Linear(inner, size)
        self.full_layer_layer_norm = nn.LayerNorm(size, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, size) -> (B, L, size)."""
        x = self.attention(x)
        inner = self.ffn_output(functional.gelu(self.ffn(x), approximate="tanh"))
        normal: Tensor = self.full_layer_layer_norm(x + inner)
        return normal


class AlbertGroup(nn.Module):
    """Holder that gives the layer its published name."""

    def __init__(self, size: int, inner: int, heads: int) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList([AlbertLayer(size, inner, heads)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, size) -> (B, L, size)."""
        changed: Tensor = self.albert_layers[0](x)
        return changed


class AlbertEncoder(nn.Module):
    """The shared layer, run ``depth`` times."""

    def __init__(self, embedded: int, size: int, inner: int, heads: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.embedding_hidden_mapping_in = nn.Linear(embedded, size)
        self.albert_layer_groups = nn.ModuleList([AlbertGroup(size, inner, heads)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, embedded) -> (B, L, size)."""
        x = self.embedding_hidden_mapping_in(x)
        for _ in range(self.depth):
            x = self.albert_layer_groups[0](x)
        return x


class Albert(nn.Module):
    """Phoneme-level language model that reads the sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = AlbertEmbeddings(128)
        self.encoder = AlbertEncoder(128, 768, 2048, 12, 12)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, L, 768)."""
        read: Tensor = self.encoder(self.embeddings(tokens))
        return read


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (B, C, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return functional.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta).transpose(1, 2)


class TextEncoder(nn.Module):
    """What each phoneme sounds like: three convolutions and a two-way LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, WIDTH)
        self.cnn = nn.ModuleList(
            nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 5, padding=2), ChannelNorm(WIDTH), nn.LeakyReLU(0.2))
            for _ in range(3)
        )
        self.lstm = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, 512, L)."""
        x = self.embedding(tokens).transpose(1, 2)
        for layer in self.cnn:
            x = layer(x)
        read: Tensor = self.lstm(x.transpose(1, 2))[0]
        return read.transpose(1, 2)


class StyleLayerNorm(nn.Module):
    """Layer norm whose scale and shift come from the style."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(STYLE_SIZE, 2 * WIDTH)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, L, 512), (B, 128) -> (B, L, 512)."""
        scale, shift = self.fc(style).unsqueeze(1).chunk(2, dim=2)
        return torch.addcmul(shift, functional.layer_norm(x, (WIDTH,)), 1 + scale)


class DurationEncoder(nn.Module):
    """Reads the sentence with the style beside each phoneme: LSTM and style norm in turn, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.lstms = nn.ModuleList()
        for _ in range(3):
            self.lstms.append(nn.LSTM(WIDTH + STYLE_SIZE, WIDTH // 2, batch_first=True, bidirectional=True))
            self.lstms.append(StyleLayerNorm())

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, L, 512), (B, 128) -> (B, L, 640)."""
        beside = style.unsqueeze(1).expand(-1, x.shape[1], -1)
        x = torch.cat([x, beside], dim=2)
        for recurrent, norm in zip(self.lstms[::2], self.lstms[1::2], strict=True):
            x = torch.cat([norm(recurrent(x)[0], style), beside], dim=2)
        return x


class DurationProjection(nn.Module):
    """Holder that gives the layer its published name."""

    def __init__(self) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(WIDTH, LONGEST_SOUND)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, 512) -> (B, L, 50)."""
        projected: Tensor = self.linear_layer(x)
        return projected


class ProsodyPredictor(nn.Module):
    """Durations, F0 and energy of a sentence in the style's second half."""

    def __init__(self) -> None:
        super().__init__()
        wide = WIDTH + STYLE_SIZE
        self.text_encoder = DurationEncoder()
        self.lstm = nn.LSTM(wide, WIDTH // 2, batch_first=True, bidirectional=True)
        self.duration_proj = DurationProjection()
        self.shared = nn.LSTM(wide, WIDTH // 2, batch_first=True, bidirectional=True)
        self.F0 = self._curve_blocks()
        self.N = self._curve_blocks()
        self.F0_proj = nn.Conv1d(WIDTH // 2, 1, 1)
        self.N_proj = nn.Conv1d(WIDTH // 2, 1, 1)

    @staticmethod
    def _curve_blocks() -> nn.ModuleList:
        half = WIDTH // 2
        return nn.ModuleList(
            [
                StyleBlock(WIDTH, WIDTH, STYLE_SIZE),
                StyleBlock(WIDTH, half, STYLE_SIZE, upsample=True),
                StyleBlock(half, half, STYLE_SIZE),
            ]
        )

    def durations(self, x: Tensor) -> Tensor:
        """(1, L, 640) -> (L,) text frames of each phoneme, at least one."""
        shares = torch.sigmoid(self.duration_proj(self.lstm(x)[0])).sum(2)
        return torch.round(shares).clamp(min=1).long()[0]

    def curves(self, x: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        """(1, T, 640), (1, 128) -> F0 in Hz and energy, both (1, 2T)."""
        shared = self.shared(x)[0].transpose(1, 2)
        pitch = energy = shared
        for pitch_block, energy_block in zip(self.F0, self.N, strict=True):
            pitch, energy = pitch_block(pitch, style), energy_block(energy, style)
        return self.F0_proj(pitch).squeeze(1), self.N_proj(energy).squeeze(1)


@dataclass(frozen=True)
class SpokenText:
    """A sentence before it gets a voice: text (1, 512, T), pitch in Hz and energy (1, 2T), 40 T a second."""

    text: Tensor
    pitch: Tensor
    energy: Tensor


class Kokoro(nn.Module):
    """The whole network. A style is 256 numbers: timbre for the decoder, then prosody for the predictor."""

    def __init__(self) -> None:
        super().__init__()
        self.bert = Albert()
        self.bert_encoder = nn.Linear(768, WIDTH)
        self.predictor = ProsodyPredictor()
        self.text_encoder = TextEncoder()
        self.decoder = Decoder(STYLE_SIZE)

    def read(self, tokens: Tensor, prosody: Tensor) -> SpokenText:
        """(1, L) tokens, (1, 128) -> timing, melody and energy of the sentence."""
        features = self.predictor.text_encoder(self.bert_encoder(self.bert(tokens)), prosody)
        durations = self.predictor.durations(features)
        pitch, energy = self.predictor.curves(features.repeat_interleave(durations, dim=1), prosody)
        text = self.text_encoder(tokens).repeat_interleave(durations, dim=2)
        return SpokenText(text, pitch, energy)

    def forget_text_half(self) -> None:
        """Give back the memory of all but the decoder, once ``read`` is no longer needed."""
        del self.bert, self.bert_encoder, self.predictor, self.text_encoder
