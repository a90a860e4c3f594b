"""Who is speaking: the GE2E speaker encoder (Wan et al. 2018) with Resemblyzer's published weights.

Differentiable, because enrolment climbs its similarity; works on 24 kHz sound, whose 25 ms windows
give the same mel bands as the 16 kHz ones it was trained with once the power is scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from modules.errors import StudioError

WEIGHTS_FILE = "pretrained.pt"
SAMPLE_RATE = 24000
MEL_BANDS = 40
WINDOW = 600
HOP = 240
HIGHEST_HZ = 8000.0
# (600 / 400) squared: power of the longer window against the 400 samples at 16 kHz.
POWER_SCALE = 2.25
LEVEL = 10 ** (-30 / 20)
PARTIAL_FRAMES = 160
PARTIAL_STEP = 40


def mel_filters(sample_rate: int, fft_size: int, bands: int, highest: float) -> Tensor:
    """(bands, fft_size // 2 + 1) triangular filters on Slaney's mel scale, each of unit area."""
    linear_hz, log_step = 1000.0, torch.log(torch.tensor(6.4)).item() / 27

    def to_mel(hz: float) -> float:
        if hz < linear_hz:
            return hz * 3 / 200
        return 15 + torch.log(torch.tensor(hz / linear_hz)).item() / log_step

    mels = torch.linspace(0, to_mel(highest), bands + 2, dtype=torch.float64)
    edges = torch.where(mels < 15, mels * 200 / 3, linear_hz * torch.exp(log_step * (mels - 15)))
    bins = torch.linspace(0, sample_rate / 2, fft_size // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


class SpeakerEncoder(nn.Module):
    """Sound to a unit vector of 256 numbers; the cosine of two tells how alike the voices are."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MEL_BANDS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        self.register_buffer("filters", mel_filters(SAMPLE_RATE, WINDOW, MEL_BANDS, HIGHEST_HZ), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.filters: Tensor
        self.window: Tensor

    def forward(self, sound: Tensor) -> Tensor:
        """(samples,) at 24 kHz -> (256,) unit vector: the mean over windows of 1.6 s, 0.4 s apart."""
        return self.each([sound])[0]

    def each(self, sounds: Sequence[Tensor]) -> Tensor:
        """Several sounds, each (samples,) at 24 kHz -> (sounds, 256) unit vectors.

        All windows go through the network together: the LSTM reads its weights at every frame, and that costs
        about as much for one window as for twenty.
        """
        windows = [self._windows(sound) for sound in sounds]
        state = self.lstm(torch.cat(windows))[1][0][-1]
        found = nn.functional.normalize(torch.relu(self.linear(state)), dim=1).split([len(some) for some in windows])
        return nn.functional.normalize(torch.stack([one.mean(0) for one in found]), dim=1)

    def _windows(self, sound: Tensor) -> Tensor:
        """(samples,) -> (windows, 160 frames, 40 mel bands) at an even level."""
        sound = sound * (LEVEL / (sound.square().mean().sqrt() + 1e-9))
        spectrum = torch.stft(sound, WINDOW, HOP, window=self.window, pad_mode="constant", return_complex=True)
        mel = (self.filters @ (spectrum.abs().square() / POWER_SCALE)).T
        if len(mel) < PARTIAL_FRAMES:
            mel = nn.functional.pad(mel, (0, 0, 0, PARTIAL_FRAMES - len(mel)))
        starts = list(range(0, len(mel) - PARTIAL_FRAMES + 1, PARTIAL_STEP))
        if starts[-1] + PARTIAL_FRAMES < len(mel):
            starts.append(len(mel) - PARTIAL_FRAMES)
        return torch.stack([mel[start : start + PARTIAL_FRAMES] for start in starts])


def load_speaker_encoder(folder: Path) -> SpeakerEncoder:
    """The encoder with the published weights in ``folder``, frozen.

    Raises StudioError('weights_broken') when the file cannot be read or is another model.
    """
    path = folder / WEIGHTS_FILE
    encoder = SpeakerEncoder()
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        encoder.load_state_dict({name: value for name, value in stored.items() if name.startswith(("lstm", "linear"))})
    except Exception as error:
        raise StudioError("weights_broken", name="Resemblyzer", file=path.name) from error
    return encoder.requires_grad_(False).eval()
