"""Our side of every parity pack, in the shape that the acceptance check calls.

For a pack P there are ``P(manifest)``, the module to be filled (or the module and callables for the methods that a case
names), and ``prep_P()``, a table of the functions named in the pack. The network is built to the manifest's
constructor: published packs come in a reduced size too.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

Table = dict[str, Callable[..., Any]]
Made = nn.Module | tuple[nn.Module, Table]

# --- musetalk_unet, musetalk_vae, whisper_tiny_encoder -----------------------------------------------------------


def musetalk_unet(manifest: dict[str, Any]) -> Made:
    """The generator; 'parity' is the way that Faces goes, with the time settled beforehand."""
    from modules.avatar.musetalk import network

    told = manifest["constructor"]
    generator = network.Generator(told["block_out_channels"], told["layers_per_block"], told["cross_attention_dim"])

    def parity(latents: Tensor, tokens: Tensor) -> Tensor:
        settled = deepcopy(generator)
        settled.settle()
        painted: Tensor = settled(latents, tokens + network.sinusoid())
        return painted

    return generator, {"parity": parity}


def musetalk_vae(manifest: dict[str, Any]) -> Made:
    """The autoencoder; 'encode_mean_decode' gives the mode of one picture and the picture of some latents."""
    from modules.avatar.musetalk import network

    vae = network.Autoencoder(
        manifest["constructor"]["block_out_channels"], manifest["constructor"]["layers_per_block"]
    )

    def encode_mean_decode(picture: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        return vae.encode(picture)[0], vae.decode(latents / network.LATENT_SCALE)

    return vae, {"encode_mean_decode": encode_mean_decode}


def whisper_tiny_encoder(manifest: dict[str, Any]) -> Made:
    """The whole published model; ``states`` gives what our Ear hears with its encoder."""
    from transformers import WhisperConfig, WhisperModel

    from modules.avatar.musetalk import network

    model = WhisperModel(WhisperConfig(**manifest["constructor"]))

    def states(mel: Tensor) -> Tensor:
        encoder = network.WhisperEncoder()
        encoder.load_state_dict(network.encoder_part(model.state_dict()), strict=True)
        return network.Ear(encoder.eval())(mel)

    return model, {"states": states}


def prep_whisper_tiny_encoder() -> Table:
    """Which steps belong to a frame, and the log-mel of one piece."""
    from modules.avatar.musetalk import features

    def musetalk_chunk_index(samples: int, rate: float, before: int, after: int) -> np.ndarray:
        # The published code cuts the rate to whole frames, and counts steps from 1: 0 is silence.
        whole, length = int(rate), samples // features.STEP_SAMPLES
        frames = np.arange(int(samples / features.SAMPLE_RATE * whole))
        steps = features.heard_steps(frames, whole, before, after)
        return np.where((steps >= 0) & (steps < length), steps + 1, 0)

    return {"musetalk_chunk_index": musetalk_chunk_index, "whisper_mel_30s": lambda wav: features.log_mel(wav)[0]}


# --- musetalk_pipeline -------------------------------------------------------------------------------------------


def prep_musetalk_pipeline() -> Table:
    """Crop boxes out of whole-body points, masks, and the published way of pasting with them."""
    from modules.avatar.musetalk import features

    def musetalk_bbox(points: np.ndarray, detected: np.ndarray, shift: int) -> np.ndarray:
        face = points[:, 23:91].astype(int)
        left, right, bottom = face[:, :, 0].min(1), face[:, :, 0].max(1), face[:, :, 1].max(1)
        found = features.crop_boxes(face[:, 29, 1] + shift, bottom, left, right)
        found[:, 1] = np.maximum(found[:, 1], 0)
        empty = (found[:, 2] <= found[:, 0]) | (found[:, 3] <= found[:, 1]) | (found[:, 0] < 0)
        return np.where(empty[:, None], detected, found)

    def musetalk_rt_blend(
        frame: np.ndarray, face: np.ndarray, box: np.ndarray, mask: np.ndarray, square: np.ndarray
    ) -> np.ndarray:
        painted = frame.copy()
        painted[box[1] : box[3], box[0] : box[2]] = face
        share = np.zeros((*frame.shape[:2], 1))
        (left, top), (right, bottom) = np.maximum(square[:2], 0), np.minimum(square[2:], frame.shape[1::-1])
        inside = mask[top - square[1] : bottom - square[1], left - square[0] : right - square[0]]
        share[top:bottom, left:right, 0] = inside / 255
        return np.round(frame + share * (painted.astype(float) - frame))

    def musetalk_blend(
        frame: np.ndarray, face: np.ndarray, box: np.ndarray, labels: np.ndarray, mode: features.Mode, cheek: int
    ) -> np.ndarray:
        mask = features.blend_mask(labels, box, mode, cheek, cheek, features.OFFLINE_BLUR)
        return musetalk_rt_blend(frame, face, box, mask, features.square_around(box))

    return {
        "musetalk_bbox": musetalk_bbox,
        "musetalk_blend": musetalk_blend,
        "musetalk_crop_box": lambda box, scale: features.square_around(box),
        "musetalk_parsing_mask": lambda labels, mode, cheek: features.parsed_mask(labels, mode, cheek, cheek),
        "musetalk_rt_blend": musetalk_rt_blend,
        "musetalk_rt_mask": lambda frame, box, labels, mode, cheek: features.blend_mask(
            labels, box, mode, cheek, cheek, features.REALTIME_BLUR
        ),
    }


# --- wav2lip96, wav2lip256, wav2lip384 ---------------------------------------------------------------------------


def wav2lip96(manifest: dict[str, Any]) -> Made:
    """The published 96 pixels."""
    return _wav2lip(96)


def wav2lip256(manifest: dict[str, Any]) -> Made:
    """LiveTalking's 256 pixels."""
    return _wav2lip(256)


def wav2lip384(manifest: dict[str, Any]) -> Made:
    """384 pixels with spatial attention."""
    return _wav2lip(384)


def _wav2lip(size: Literal[96, 256, 384]) -> Made:
    from modules.avatar.wav2lip.network import Wav2Lip

    return Wav2Lip(size)


def prep_wav2lip96() -> Table:
    """Mel, crop and the quirks of inference.py: boxes that run ahead, and a face pasted with its rectangle."""
    from modules.avatar.wav2lip import features
    from modules.avatar.wav2lip.network import seen

    def mel_chunk_starts(n_columns: int, fps: float) -> np.ndarray:
        return _starts_within(features.columns(np.arange(n_columns), fps), n_columns)

    def face_input(frame: np.ndarray, box: np.ndarray) -> Tensor:
        top, bottom, left, right = box
        return seen(torch.from_numpy(cv2.resize(frame[top:bottom, left:right], (96, 96)))[None])[0]

    def face_boxes(rects: np.ndarray, height: int, width: int, pads: np.ndarray, smooth: bool) -> np.ndarray:
        top, bottom, left, right = pads
        padded = rects + np.array([-left, -top, right, bottom])
        inside = np.clip(padded, 0, (width, height, width, height)).astype(int)
        if smooth:
            for number in range(len(inside)):
                # In place, so that late entries are means of means; cut to whole pixels.
                inside[number] = inside[min(number, len(inside) - 5) :][:5].mean(0)
        return inside[:, [1, 3, 0, 2]]

    def paste_back(frame: np.ndarray, drawn: np.ndarray, box: np.ndarray) -> np.ndarray:
        (top, bottom, left, right), pasted = box, frame.copy()
        picture = (drawn.transpose(1, 2, 0) * 255).astype(np.uint8)
        pasted[top:bottom, left:right] = cv2.resize(picture, (right - left, bottom - top))
        return pasted

    return {
        "mel_constant": features.log_mel,
        "mel_reflect": lambda samples: features.log_mel(samples, "reflect"),
        "mel_chunk_starts": mel_chunk_starts,
        "face_input": face_input,
        "face_boxes": face_boxes,
        "paste_back": paste_back,
    }


def prep_wav2lip256() -> Table:
    """How LiveTalking cuts live sound, and how it goes forth and back over the footage."""
    from modules.avatar.wav2lip import features

    piece = features.SAMPLE_RATE // 50

    def live_mel_chunks(pcm: np.ndarray, before: int, after: int, batch: int, fps: float) -> np.ndarray:
        kept, chunks = np.zeros((before + after) * piece, np.float32), []
        for step in pcm.reshape(-1, 2 * batch * piece):
            held = np.concatenate([kept, step])
            mel = features.log_mel(held)
            starts = features.columns(before * fps / 50 + np.arange(batch), fps)
            chunks.append(features.pieces_at(mel, np.minimum(starts, mel.shape[1] - features.HEARD)))
            kept = held[len(held) - len(kept) :]
        return np.concatenate(chunks)

    def mirror_index(size: int, indices: np.ndarray) -> np.ndarray:
        rounds, places = np.divmod(indices, size)
        return np.where(rounds % 2, size - 1 - places, places)

    return {"live_mel_chunks": live_mel_chunks, "mirror_index": mirror_index}


def prep_wav2lip384() -> Table:
    """The earlier start of its sound, its boxes that run six frames ahead, and its trail over the whole frame."""
    from modules.avatar.wav2lip import features

    def mel_chunk_starts_384(n_columns: int, fps: float) -> np.ndarray:
        earlier = np.arange(n_columns) + features.HEARINGS[384].shift
        return _starts_within(np.maximum(0, features.columns(earlier, fps)), n_columns)

    def smooth_boxes_triangular(boxes: np.ndarray, window: int) -> np.ndarray:
        weights = 1 - abs(np.arange(window) - window / 2) / (window / 2)
        firsts = np.minimum(np.arange(len(boxes)), len(boxes) - window)
        return np.array([np.average(boxes[first : first + window], 0, weights) for first in firsts]).astype(int)

    def frame_smoother(frames: np.ndarray) -> np.ndarray:
        shown: list[np.ndarray] = []
        for frame in frames.astype(np.float32):
            soft = 0.9 * frame + 0.1 * cv2.GaussianBlur(frame, (3, 3), 1.5)
            shown.append(0.9 * soft + 0.1 * shown[-1] if shown else soft)
        return np.array(shown).astype(np.uint8)

    return {
        "mel_chunk_starts_384": mel_chunk_starts_384,
        "smooth_boxes_triangular": smooth_boxes_triangular,
        "frame_smoother": frame_smoother,
    }


def _starts_within(starts: np.ndarray, columns: int) -> np.ndarray:
    """Those of ``starts`` with a whole piece behind them, and the last whole piece once."""
    last = columns - 16
    return np.append(starts[starts <= last], last)


# --- bisenet_faceparse -------------------------------------------------------------------------------------------


def bisenet_faceparse() -> Made:
    """The parsing network with all three heads."""
    from modules.face.parsing import BiSeNet

    return BiSeNet()


def prep_bisenet_faceparse() -> Table:
    """Masks out of labels."""
    from modules.avatar.musetalk import features

    return {"parse_mask": features.parsed_mask}


# --- s3fd: the boxes that published crops were made with ---------------------------------------------------------


def prep_s3fd() -> Table:
    """The published detector's input and what it makes of its network's outputs; the studio has a tracker of its own.

    Zhang et al., "S3FD: Single Shot Scale-invariant Face Detector" (2017), as in face-alignment (BSD-3-Clause).
    """
    enough, candidate, most_overlap = 0.5, 0.05, 0.3

    def input_from_bgr_frames(frames: np.ndarray) -> np.ndarray:
        # The colours are turned round, their means are not: so it was published.
        means = np.array([104.0, 117.0, 123.0], np.float32)
        return (frames[:, :, :, ::-1].astype(np.float32) - means).transpose(0, 3, 1, 2)[:, :, ::4, ::4]

    def candidates(level: int, scores: np.ndarray, moves: np.ndarray) -> np.ndarray:
        stride = 4 * 2**level
        face = 1 / (1 + np.exp(scores[0] - scores[1]))
        rows, columns = np.nonzero(face > candidate)
        side, move = 4.0 * stride, moves[:, rows, columns]
        centre = np.stack([columns, rows]) * stride + stride / 2 + 0.1 * side * move[:2]
        reach = side * np.exp(0.2 * move[2:]) / 2
        return np.concatenate([centre - reach, centre + reach, face[None, rows, columns]]).T

    def boxes_from_outputs(*given: Any) -> tuple[np.ndarray, np.ndarray]:
        *outputs, number = given
        pairs = zip(outputs[::2], outputs[1::2], strict=True)
        found = np.concatenate(
            [candidates(level, *(array[number] for array in pair)) for level, pair in enumerate(pairs)]
        )
        waiting, kept = found[np.argsort(-found[:, 4], kind="stable")], []
        while len(waiting):
            best, rest = waiting[0], waiting[1:]
            kept.append(best)
            common = np.minimum(best[2:4], rest[:, 2:4]) - np.maximum(best[:2], rest[:, :2]) + 1
            shared = np.maximum(common, 0).prod(1)
            sizes = (waiting[:, 2:4] - waiting[:, :2] + 1).prod(1)
            waiting = rest[shared <= most_overlap * (sizes[0] + sizes[1:] - shared)]
        boxes = np.array([box for box in kept if box[4] > enough])
        return boxes, np.maximum(boxes[0, :4], 0).astype(int)

    return {"input_from_bgr_frames": input_from_bgr_frames, "boxes_from_outputs": boxes_from_outputs}


# --- syncnet_s ---------------------------------------------------------------------------------------------------


def syncnet_s(manifest: dict[str, Any]) -> Made:
    """SyncNet; its methods have the names of the cases."""
    from modules.avatar.metrics.network import SyncNet

    return SyncNet()


def prep_syncnet_s() -> Table:
    """What SyncNet hears, and how its embeddings are scored."""
    from modules.avatar.metrics import features

    def sync_scores(lips: np.ndarray, sound: np.ndarray, reach: int) -> tuple[Any, ...]:
        scores = features.sync_scores(lips, sound, reach)
        return scores.offset, scores.lse_c, scores.lse_d, features.distances(lips, sound, reach)

    return {"mfcc": features.mfcc, "sync_scores": sync_scores}


# --- ultralight_hubert, ultralight_wenet -------------------------------------------------------------------------


def ultralight_hubert(manifest: dict[str, Any]) -> Made:
    """The older layout of keys, as the pack has it."""
    from modules.avatar.ultralight.network import Ultralight

    return Ultralight("hubert")


def ultralight_wenet(manifest: dict[str, Any]) -> Made:
    """The newer layout of keys, as the pack has it."""
    from modules.avatar.ultralight.network import Ultralight

    return Ultralight("wenet", nested=False)


def prep_ultralight_hubert() -> Table:
    """Crops of the face and windows of sound."""
    from modules.avatar.ultralight import features

    return {
        "live_feature_rows": features.live_rows,
        "hubert_cuts": features.hubert_cuts,
        "face_box_from_landmarks": features.published_box,
        "crop168_area": features.crop_face,
        "face_input": features.face_input,
        "paste_back": features.paste_face,
        "audio_window_zero_pad": features.sound_window,
    }
