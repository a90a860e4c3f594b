"""The two networks of Stable Diffusion 1.x that MuseTalk is made of, with the keys of the published files.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022). Names of layers are those of
the diffusers library, which wrote the files. Written here because importing that library takes longer, and more
memory, than everything else before the first frame.

Shapes: B pictures, C channels, H by W places; T tokens of sound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.avatar.musetalk.attention import attend

GROUPS = 32
HEADS = 8
GENERATOR_EPSILON, PLAIN_EPSILON = 1e-5, 1e-6


def _wide(given: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(given, out, 3, padding=1)


# --- blocks of both ------------------------------------------------------------------------------


class Residual(nn.Module):
    """Two convolutions beside a short way: (B, ``given``, H, W) -> (B, ``out``, H, W).

    time: the width of the clock that is heard between them; 0 without one.
    """

    def __init__(self, given: int, out: int, epsilon: float, time: int = 0) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, given, epsilon), _wide(given, out)
        self.time_emb_proj = nn.Linear(time, out) if time else None
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, out, epsilon), _wide(out, out)
        self.conv_shortcut = nn.Conv2d(given, out, 1) if given != out else None

    def forward(self, seen: Tensor, clock: Tensor | None = None) -> Tensor:
        """clock: (1 or B, time), already through SiLU; None where it is settled or there is none."""
        now: Tensor = self.conv1(functional.silu(self.norm1(seen)))
        if clock is not None and self.time_emb_proj is not None:
            now = now + self.time_emb_proj(clock)[:, :, None, None]
        now = self.conv2(functional.silu(self.norm2(now)))
        return now + (seen if self.conv_shortcut is None else self.conv_shortcut(seen))

    def settle(self, clock: Tensor) -> None:
        """Add what ``clock`` (1, time) always adds to the first convolution's bias, and forget how."""
        if self.time_emb_proj is not None and self.conv1.bias is not None:
            self.conv1.bias = nn.Parameter(self.conv1.bias + self.time_emb_proj(clock)[0], requires_grad=False)
            self.time_emb_proj = None


class Downsampler(nn.Module):
    """Half the size: (B, C, H, W) -> (B, C, H / 2, W / 2). even: the border is added on all sides, not behind only."""

    def __init__(self, channels: int, even: bool) -> None:
        super().__init__()
        self.even = even
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1 if even else 0)

    def forward(self, seen: Tensor) -> Tensor:
        halved: Tensor = self.conv(seen if self.even else functional.pad(seen, (0, 1, 0, 1)))
        return halved


class Upsampler(nn.Module):
    """Twice the size: (B, C, H, W) -> (B, C, 2 H, 2 W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _wide(channels, channels)

    def forward(self, seen: Tensor) -> Tensor:
        doubled: Tensor = self.conv(functional.interpolate(seen, scale_factor=2.0, mode="nearest"))
        return doubled


def _as_tokens(seen: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C)."""
    return seen.permute(0, 2, 3, 1).flatten(1, 2)


def _as_picture(tokens: Tensor, like: Tensor) -> Tensor:
    """(B, H W, C) -> (B, C, H, W), H and W of ``like``."""
    return tokens.unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)


# --- the generator -------------------------------------------------------------------------------


class Attention(nn.Module):
    """Attention of tokens (B, N, ``width``) to others (B, T, ``heard``)."""

    def __init__(self, width: int, heard: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = nn.Linear(heard, width, bias=False), nn.Linear(heard, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, tokens: Tensor, others: Tensor) -> Tensor:
        found: Tensor = self.to_out(attend(self.to_q(tokens), self.to_k(others), self.to_v(others), HEADS))
        return found


class _Gated(nn.Module):
    """GEGLU (Shazeer, "GLU Variants Improve Transformer", 2020): (..., ``given``) -> (..., ``out``)."""

    def __init__(self, given: int, out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(given, 2 * out)

    def forward(self, tokens: Tensor) -> Tensor:
        value, gate = self.proj(tokens).chunk(2, -1)
        gated: Tensor = value * functional.gelu(gate)
        return gated


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        # The place between the two is that of a dropout in the files.
        self.net = nn.Sequential(_Gated(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        given: Tensor = self.net(tokens)
        return given


class _Listening(nn.Module):
    """Tokens (B, N, ``width``) look at each other, then at the sound (B, T, ``heard``)."""

    def __init__(self, width: int, heard: int) -> None:
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(width), Attention(width, width)
        self.norm2, self.attn2 = nn.LayerNorm(width), Attention(width, heard)
        self.norm3, self.ff = nn.LayerNorm(width), _FeedForward(width)

    def forward(self, tokens: Tensor, heard: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.attn1(normed, normed)
        tokens = tokens + self.attn2(self.norm2(tokens), heard)
        grown: Tensor = tokens + self.ff(self.norm3(tokens))
        return grown


class Transformer(nn.Module):
    """One layer of attention over all places: (B, C, H, W), (B, T, heard) -> (B, C, H, W)."""

    def __init__(self, channels: int, heard: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, PLAIN_EPSILON)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([_Listening(channels, heard)])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        tokens = _as_tokens(self.proj_in(self.norm(seen)))
        for block in self.transformer_blocks:
            tokens = block(tokens, heard)
        given: Tensor = self.proj_out(_as_picture(tokens, seen)) + seen
        return given


class _Level(nn.Module):
    """Residual blocks of one size, each with a transformer behind it where the level listens."""

    def __init__(self, resnets: Sequence[Residual], transformers: Sequence[Transformer]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if transformers:
            self.attentions = nn.ModuleList(transformers)

    def step(self, place: int, seen: Tensor, heard: Tensor, clock: Tensor | None) -> Tensor:
        """One residual block and what is behind it."""
        now: Tensor = self.resnets[place](seen, clock)
        return self.attentions[place](now, heard) if hasattr(self, "attentions") else now


class _Down(_Level):
    """A level on the way down."""

    def forward(self, seen: Tensor, heard: Tensor, clock: Tensor | None) -> list[Tensor]:
        """What is seen after each residual block, and last after halving, where this level does."""
        passed: list[Tensor] = []
        for place in range(len(self.resnets)):
            passed.append(self.step(place, passed[-1] if passed else seen, heard, clock))
        for smaller in getattr(self, "downsamplers", ()):
            passed.append(smaller(passed[-1]))
        return passed


class _Up(_Level):
    """A level on the way up."""

    def forward(self, seen: Tensor, passed: list[Tensor], heard: Tensor, clock: Tensor | None) -> Tensor:
        """Takes of ``passed``, from behind, what the way down saw."""
        now = seen
        for place in range(len(self.resnets)):
            now = self.step(place, torch.cat([now, passed.pop()], 1), heard, clock)
        for larger in getattr(self, "upsamplers", ()):
            now = larger(now)
        return now


class _Middle(_Level):
    """A transformer between two residual blocks."""

    def forward(self, seen: Tensor, heard: Tensor, clock: Tensor | None) -> Tensor:
        given: Tensor = self.resnets[1](self.step(0, seen, heard, clock), clock)
        return given


class _Clock(nn.Module):
    """A timestep as ``width`` numbers."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.given = given
        self.linear_1, self.linear_2 = nn.Linear(given, width), nn.Linear(width, width)

    def forward(self, timestep: Tensor) -> Tensor:
        """(B,) -> (B, width): cosines, then sines, of rising wavelengths, through two layers."""
        half = self.given // 2
        rates = torch.exp(torch.arange(half, device=timestep.device) * (-math.log(10000.0) / half))
        angles = timestep.float()[:, None] * rates
        waves = torch.cat([angles.cos(), angles.sin()], 1).to(self.linear_1.weight.dtype)
        told: Tensor = self.linear_2(functional.silu(self.linear_1(waves)))
        return told


class Generator(nn.Module):
    """The U-Net: latents, a timestep and sound in, latents out.

    channels: of each level, the finest first; all but the coarsest listen. layers: residual blocks of a level on the
    way down (one more on the way up). heard: the width of a token of sound.
    """

    def __init__(
        self,
        channels: Sequence[int] = (320, 640, 1280, 1280),
        layers: int = 2,
        heard: int = 384,
        given: int = 8,
        out: int = 4,
    ) -> None:
        super().__init__()
        time = 4 * channels[0]

        def parts(sides: Sequence[tuple[int, int]], listens: bool) -> tuple[list[Residual], list[Transformer]]:
            resnets = [Residual(before, after, GENERATOR_EPSILON, time) for before, after in sides]
            return resnets, [Transformer(after, heard) for _, after in sides] if listens else []

        self.conv_in = _wide(given, channels[0])
        self.time_embedding = _Clock(channels[0], time)
        self.down_blocks = nn.ModuleList()
        now, last = channels[0], len(channels) - 1
        passed = [now]
        for number, width in enumerate(channels):
            down = _Down(*parts([(now if place == 0 else width, width) for place in range(layers)], number < last))
            passed += [width] * layers
            if number < last:
                down.downsamplers = nn.ModuleList([Downsampler(width, even=True)])
                passed.append(width)
            self.down_blocks.append(down)
            now = width
        middle = [Residual(now, now, GENERATOR_EPSILON, time) for _ in range(2)]
        self.mid_block = _Middle(middle, [Transformer(now, heard)])
        self.up_blocks = nn.ModuleList()
        for number, width in reversed(list(enumerate(channels))):
            sides = [((now if place == 0 else width) + passed.pop(), width) for place in range(layers + 1)]
            up = _Up(*parts(sides, number < last))
            if number:
                up.upsamplers = nn.ModuleList([Upsampler(width)])
            self.up_blocks.append(up)
            now = width
        self.conv_norm_out = nn.GroupNorm(GROUPS, now, GENERATOR_EPSILON)
        self.conv_out = _wide(now, out)

    def forward(self, latents: Tensor, heard: Tensor, timestep: Tensor | None = None) -> Tensor:
        """(B, given, H, W), (B, T, heard), (1 or B,) -> (B, out, H, W). timestep: None when the clock is settled."""
        clock = None if timestep is None else functional.silu(self.time_embedding(timestep))
        passed = [self.conv_in(latents)]
        for block in self.down_blocks:
            passed += block(passed[-1], heard, clock)
        now = self.mid_block(passed[-1], heard, clock)
        for block in self.up_blocks:
            now = block(now, passed, heard, clock)
        painted: Tensor = self.conv_out(functional.silu(self.conv_norm_out(now)))
        return painted

    @torch.no_grad()
    def settle(self) -> None:
        """Work out once and for all what timestep 0 does: the only one that is ever asked for."""
        weight = self.conv_in.weight
        clock = functional.silu(self.time_embedding(torch.zeros(1, device=weight.device)))
        for module in self.modules():
            if isinstance(module, Residual):
                module.settle(clock)
        del self.time_embedding


# --- the autoencoder -----------------------------------------------------------------------------


class _PlainAttention(nn.Module):
    """Attention of all places to each other, with one head: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(GROUPS, channels, PLAIN_EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, seen: Tensor) -> Tensor:
        tokens = _as_tokens(self.group_norm(seen))
        found = self.to_out(attend(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), heads=1))
        return seen + _as_picture(found, seen)


class _PlainLevel(nn.Module):
    """Residual blocks of one size and the way to the next; between two of them attention, where it is asked for."""

    def __init__(self, sides: Sequence[tuple[int, int]], attends: bool = False) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Residual(before, after, PLAIN_EPSILON) for before, after in sides])
        if attends:
            self.attentions = nn.ModuleList([_PlainAttention(sides[0][1])])

    def forward(self, seen: Tensor) -> Tensor:
        now: Tensor = self.resnets[0](seen)
        for attention in getattr(self, "attentions", ()):
            now = attention(now)
        for block in self.resnets[1:]:
            now = block(now)
        for name in ("downsamplers", "upsamplers"):
            for other in getattr(self, name, ()):
                now = other(now)
        return now


class Encoder(nn.Module):
    """(B, 3, 8 H, 8 W) -> (B, 2 latents, H, W): means and ln variances, of four levels."""

    def __init__(self, channels: Sequence[int], layers: int, latents: int) -> None:
        super().__init__()
        self.conv_in = _wide(3, channels[0])
        self.down_blocks = nn.ModuleList()
        now = channels[0]
        for number, width in enumerate(channels):
            block = _PlainLevel([(now if place == 0 else width, width) for place in range(layers)])
            if number < len(channels) - 1:
                block.downsamplers = nn.ModuleList([Downsampler(width, even=False)])
            self.down_blocks.append(block)
            now = width
        self.mid_block = _PlainLevel([(now, now)] * 2, attends=True)
        self.conv_norm_out = nn.GroupNorm(GROUPS, now, PLAIN_EPSILON)
        self.conv_out = _wide(now, 2 * latents)

    def forward(self, seen: Tensor) -> Tensor:
        now = self.conv_in(seen)
        for block in self.down_blocks:
            now = block(now)
        given: Tensor = self.conv_out(functional.silu(self.conv_norm_out(self.mid_block(now))))
        return given


class Decoder(nn.Module):
    """(B, latents, H, W) -> (B, 3, 8 H, 8 W), from -1 to 1."""

    def __init__(self, channels: Sequence[int], layers: int, latents: int) -> None:
        super().__init__()
        now = channels[-1]
        self.conv_in = _wide(latents, now)
        self.mid_block = _PlainLevel([(now, now)] * 2, attends=True)
        self.up_blocks = nn.ModuleList()
        for number, width in reversed(list(enumerate(channels))):
            block = _PlainLevel([(now if place == 0 else width, width) for place in range(layers + 1)])
            if number:
                block.upsamplers = nn.ModuleList([Upsampler(width)])
            self.up_blocks.append(block)
            now = width
        self.conv_norm_out = nn.GroupNorm(GROUPS, now, PLAIN_EPSILON)
        self.conv_out = _wide(now, 3)

    def forward(self, latents: Tensor) -> Tensor:
        now = self.mid_block(self.conv_in(latents))
        for block in self.up_blocks:
            now = block(now)
        given: Tensor = self.conv_out(functional.silu(self.conv_norm_out(now)))
        return given


class Autoencoder(nn.Module):
    """Pictures and their latents. channels: of each level, the finest first; layers: residual blocks of a level."""

    def __init__(self, channels: Sequence[int] = (128, 256, 512, 512), layers: int = 2, latents: int = 4) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(channels, layers, latents), Decoder(channels, layers, latents)
        self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1)
        self.post_quant_conv = nn.Conv2d(latents, latents, 1)

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, 8 H, 8 W) RGB from -1 to 1 -> means and deviations of the latents, each (B, latents, H, W)."""
        means, variances = self.quant_conv(self.encoder(pictures)).chunk(2, 1)
        return means, (variances.clamp(-30, 20) / 2).exp()

    def decode(self, latents: Tensor) -> Tensor:
        """(B, latents, H, W) -> (B, 3, 8 H, 8 W) RGB, about -1 to 1."""
        pictures: Tensor = self.decoder(self.post_quant_conv(latents))
        return pictures
