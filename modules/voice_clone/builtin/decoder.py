"""The sound half of Kokoro: StyleTTS 2's decoder with an iSTFTNet generator.

Maths from Li et al., "StyleTTS 2" (2023) and Kaneko et al., "iSTFTNet" (2022); parameter names follow
the published Kokoro-82M checkpoint with weight norm folded into plain weights and without the affine
pair of InstanceNorm, which is the identity there. Shapes: B batch, C channels, T frames.
Sounds are 24 kHz; text frames are 40 a second, F0 and energy 80 a second.

The generator, where nearly all the time goes, works on (B, C, 1, T) with the channels last in memory: so the same sums
take half as long on a processor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 24000
NORM_EPSILON = 1e-5
HARMONICS = 9
SINE_LEVEL = 0.1
VOICED_ABOVE_HZ = 10.0
FFT_SIZE = 20
FFT_HOP = 5
SAMPLES_A_PITCH_FRAME = 300


class _StyledSnake(torch.autograd.Function):
    """Instance norm, style scale and shift, then Snake, keeping one tensor for the way back.

    Written out by hand because enrolment differentiates through some fifty of these on long tensors:
    autograd would keep about eight of them each, which is most of the memory of enrolment.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, scale: Tensor, shift: Tensor, alpha: Tensor) -> Tensor:
        mean = _mean(x)
        centred = x - mean
        variance = _mean(centred.square())  # torch.var_mean takes ten times as long
        inverse = torch.rsqrt(variance + NORM_EPSILON)
        context.save_for_backward(x, mean, inverse, scale, shift, alpha)
        styled = torch.addcmul(shift, centred, scale * inverse)
        return styled.addcdiv_(torch.mul(styled, alpha, out=centred).sin_().square_(), alpha)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, mean, inverse, scale, shift, alpha = context.saved_tensors
        normal = (x - mean).mul_(inverse)
        slope = torch.addcmul(shift, normal, scale).mul_(2 * alpha).sin_().add_(1).mul_(gradients[0])
        frames = x.shape[3]
        mean_scale, mean_shift = _mean(slope * normal), _mean(slope)
        inside = slope.sub_(mean_shift).addcmul_(normal, -mean_scale)
        return inside.mul_(scale * inverse), mean_scale * frames, mean_shift * frames, None


def _mean(x: Tensor) -> Tensor:
    """(B, C, 1, T) -> (B, C, 1, 1)."""
    return x.mean((2, 3), keepdim=True)


class StyleNorm(nn.Module):
    """Adaptive instance norm: the style decides scale and shift of each channel."""

    def __init__(self, style_size: int, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style_size, 2 * channels)

    def scale_and_shift(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """(B, style) -> two (B, C, 1)."""
        scale, shift = self.fc(style).unsqueeze(2).chunk(2, dim=1)
        return 1 + scale, shift

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, C, T), (B, style) -> (B, C, T)."""
        scale, shift = self.scale_and_shift(style)
        return torch.addcmul(shift, functional.instance_norm(x, eps=NORM_EPSILON), scale)


def styled_snake(x: Tensor, norm: StyleNorm, style: Tensor, alpha: Tensor) -> Tensor:
    """Style norm of x (B, C, 1, T), then Snake: y + sin(alpha y)^2 / alpha."""
    scale, shift = norm.scale_and_shift(style)
    y: Tensor = _StyledSnake.apply(x, scale.unsqueeze(3), shift.unsqueeze(3), alpha.unsqueeze(3))
    return y


class StyleBlock(nn.Module):
    """Residual block of two convolutions with style norms; may double the frame rate."""

    def __init__(self, inputs: int, outputs: int, style_size: int, upsample: bool = False) -> None:
        super().__init__()
        self.upsample = upsample
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=1)
        self.norm1 = StyleNorm(style_size, inputs)
        self.norm2 = StyleNorm(style_size, outputs)
        self.conv1x1 = nn.Conv1d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        self.pool: nn.Module = nn.Identity()
        if upsample:
            self.pool = nn.ConvTranspose1d(inputs, inputs, 3, 2, padding=1, output_padding=1, groups=inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, inputs, T) -> (B, outputs, T or 2T)."""
        straight = functional.interpolate(x, scale_factor=2) if self.upsample else x
        y = self.pool(functional.leaky_relu(self.norm1(x, style), 0.2))
        y = self.conv2(functional.leaky_relu(self.norm2(self.conv1(y), style), 0.2))
        summed: Tensor = (y + self.conv1x1(straight)) * 0.5**0.5
        return summed


class FlatConv(nn.Conv2d):
    """A convolution over T of (B, C, 1, T), with the weights (outputs, inputs, kernel) of one over (B, C, T)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1):
        super().__init__(inputs, outputs, (1, kernel), (1, stride), (0, padding), (1, dilation))
        self.register_load_state_dict_pre_hook(_widen)


class FlatTranspose(nn.ConvTranspose2d):
    """The transposed convolution over T of (B, C, 1, T), with the weights of one over (B, C, T)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int):
        super().__init__(inputs, outputs, (1, kernel), (1, stride), (0, padding))
        self.register_load_state_dict_pre_hook(_widen)


def _widen(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give weights of three dimensions the fourth."""
    name = f"{prefix}weight"
    if name in weights and weights[name].ndim == 3:
        weights[name] = weights[name].unsqueeze(2)


class SnakeBlock(nn.Module):
    """Three dilated residual pairs with style norms and Snake (Ziyin et al. 2020) in between."""

    def __init__(self, channels: int, kernel: int, style_size: int) -> None:
        super().__init__()
        dilations = (1, 3, 5)
        self.convs1 = nn.ModuleList(
            FlatConv(channels, channels, kernel, padding=kernel // 2 * d, dilation=d) for d in dilations
        )
        self.convs2 = nn.ModuleList(FlatConv(channels, channels, kernel, padding=kernel // 2) for _ in dilations)
        self.adain1 = nn.ModuleList(StyleNorm(style_size, channels) for _ in dilations)
        self.adain2 = nn.ModuleList(StyleNorm(style_size, channels) for _ in dilations)
        self.alpha1 = nn.ParameterList(torch.ones(1, channels, 1) for _ in dilations)
        self.alpha2 = nn.ParameterList(torch.ones(1, channels, 1) for _ in dilations)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """(B, C, 1, T) -> (B, C, 1, T)."""
        pairs = zip(self.convs1, self.convs2, self.adain1, self.adain2, self.alpha1, self.alpha2, strict=True)
        for conv1, conv2, norm1, norm2, alpha1, alpha2 in pairs:
            y = conv1(styled_snake(x, norm1, style, alpha1))
            x = x + conv2(styled_snake(y, norm2, style, alpha2))
        return x


class HarmonicSource(nn.Module):
    """Nine sines at multiples of F0, mixed to one; silent where unvoiced. Without the training noise."""

    def __init__(self) -> None:
        super().__init__()
        self.l_linear = nn.Linear(HARMONICS, 1)

    def forward(self, pitch: Tensor) -> Tensor:
        """(B, T) Hz at 80 a second -> (B, 300 T) samples."""
        harmonics = pitch.unsqueeze(1) * torch.arange(1, HARMONICS + 1, dtype=pitch.dtype, device=pitch.device).view(
            1, -1, 1
        )
        turns = (harmonics / SAMPLE_RATE) % 1
        phase = torch.cumsum(turns, dim=2) * (2 * torch.pi * SAMPLES_A_PITCH_FRAME)
        phase = functional.interpolate(phase, scale_factor=SAMPLES_A_PITCH_FRAME, mode="linear")
        voiced = (pitch > VOICED_ABOVE_HZ).to(pitch.dtype).repeat_interleave(SAMPLES_A_PITCH_FRAME, dim=1)
        sines = torch.sin(phase) * SINE_LEVEL * voiced.unsqueeze(1)
        return torch.tanh(self.l_linear(sines.transpose(1, 2))).squeeze(2)


class Generator(nn.Module):
    """Features and F0 to sound: two upsamplings, then a 20-point inverse STFT."""

    def __init__(self, style_size: int) -> None:
        super().__init__()
        kernels = (3, 7, 11)
        bins = FFT_SIZE // 2 + 1
        self.m_source = HarmonicSource()
        self.ups = nn.ModuleList(
            [FlatTranspose(512, 256, 20, 10, padding=5), FlatTranspose(256, 128, 12, 6, padding=3)]
        )
        self.noise_convs = nn.ModuleList([FlatConv(2 * bins, 256, 12, 6, padding=3), FlatConv(2 * bins, 128, 1)])
        self.noise_res = nn.ModuleList([SnakeBlock(256, 7, style_size), SnakeBlock(128, 11, style_size)])
        self.resblocks = nn.ModuleList(SnakeBlock(size, k, style_size) for size in (256, 128) for k in kernels)
        self.conv_post = FlatConv(128, 2 * bins, 7, padding=3)
        self.register_buffer("window", torch.hann_window(FFT_SIZE), persistent=False)
        self.window: Tensor

    def source_spectrum(self, pitch: Tensor) -> Tensor:
        """(B, T) Hz -> (B, 22, 60 T + 1): magnitude and phase of the harmonic source."""
        sound = self.m_source(pitch)
        spectrum = torch.stft(sound, FFT_SIZE, FFT_HOP, window=self.window, pad_mode="reflect", return_complex=True)
        return torch.cat([spectrum.abs(), spectrum.angle()], dim=1)

    def forward(self, x: Tensor, style: Tensor, pitch: Tensor) -> Tensor:
        """(B, 512, T), (B, style), (B, T) Hz -> (B, 300 T) samples."""
        source, x = (_flat(given) for given in (self.source_spectrum(pitch), x))
        for stage, up in enumerate(self.ups):
            excitation = self.noise_res[stage](self.noise_convs[stage](source), style)
            x = up(functional.leaky_relu(x, 0.1))
            if stage == len(self.ups) - 1:
                x = torch.cat([x[..., 1:2], x], dim=3)
            x = x + excitation
            blocks = self.resblocks[3 * stage : 3 * stage + 3]
            first, second, third = (block(x, style) for block in blocks)
            x = (first + second + third) / 3
        magnitude, phase = self.conv_post(functional.leaky_relu(x, 0.01)).squeeze(2).chunk(2, dim=1)
        spectrum = torch.polar(torch.exp(magnitude), torch.sin(phase))
        return torch.istft(spectrum, FFT_SIZE, FFT_HOP, window=self.window)


def _flat(x: Tensor) -> Tensor:
    """(B, C, T) -> (B, C, 1, T) with the channels last in memory."""
    return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


class Decoder(nn.Module):
    """Aligned text features, F0 and energy to sound in the voice of the style's first half."""

    def __init__(self, style_size: int = 128) -> None:
        super().__init__()
        wide = 1024 + 2 + 64
        self.encode = StyleBlock(512 + 2, 1024, style_size)
        self.decode = nn.ModuleList(
            [
                *(StyleBlock(wide, 1024, style_size) for _ in range(3)),
                StyleBlock(wide, 512, style_size, upsample=True),
            ]
        )
        self.F0_conv = nn.Conv1d(1, 1, 3, 2, padding=1)
        self.N_conv = nn.Conv1d(1, 1, 3, 2, padding=1)
        self.asr_res = nn.Sequential(nn.Conv1d(512, 64, 1))
        self.generator = Generator(style_size)

    def forward(self, text: Tensor, pitch: Tensor, energy: Tensor, style: Tensor) -> Tensor:
        """(B, 512, T), (B, 2T) Hz, (B, 2T), (B, 128) -> (B, 600 T) samples."""
        slow_pitch = self.F0_conv(pitch.unsqueeze(1))
        slow_energy = self.N_conv(energy.unsqueeze(1))
        narrow_text = self.asr_res(text)
        x = self.encode(torch.cat([text, slow_pitch, slow_energy], dim=1), style)
        for block in self.decode:
            x = block(torch.cat([x, narrow_text, slow_pitch, slow_energy], dim=1), style)
        sound: Tensor = self.generator(x, style, pitch)
        return sound
