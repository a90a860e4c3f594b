"""Make modules/face/data/*.onnx anew from Google's TensorFlow Lite models: python tools/convert_face_models.py [FOLDER]

Build time only. Fetches the mediapipe 0.10.21 wheel (it carries the models, Apache-2.0) and the ai-edge-litert
wheel (it carries the flatbuffer schema) through pip, and needs the onnx package. Handles exactly the operations
of the two face models. The attention mesh has three custom operations, which become standard ones:
  Landmarks2TransformMatrix  the rotated square round some landmarks, as a matrix and a shift
  TransformTensorBilinear    a 16 x 16 bilinear crop of the feature map there (GridSample)
  TransformLandmarks         the same matrix applied to the points found in the crop
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from flatbuffers import flexbuffers
from onnx import TensorProto, helper, numpy_helper

DATA = Path(__file__).resolve().parent.parent / "modules" / "face" / "data"
PACKAGES = ("mediapipe==0.10.21", "ai-edge-litert==2.3.0")
MODELS = {
    "face_detector.onnx": "mediapipe/modules/face_detection/face_detection_short_range.tflite",
    "face_mesh.onnx": "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
}
SCHEMA = "ai_edge_litert/schema_py_generated.py"
OPSET, IR_VERSION = 16, 8
SAME_PADDING = 0
RELU, RELU6 = 1, 3
TYPES = {0: np.float32, 1: np.float16, 2: np.int32}
CROP = 16  # side of the crops that the attention mesh looks at closely


def fetch(folder: Path) -> tuple[dict[str, Path], ModuleType]:
    """The tflite files by the name of their ONNX counterpart, and the flatbuffer schema, unpacked into ``folder``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *PACKAGES]
    subprocess.run(command, check=True)
    wanted = {SCHEMA, *MODELS.values()}
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in wanted & set(archive.namelist()):
                archive.extract(name, folder)
    spec = importlib.util.spec_from_file_location("tflite_schema", folder / SCHEMA)
    assert spec is not None and spec.loader is not None
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    return {name: folder / path for name, path in MODELS.items()}, schema


def read_model(schema: ModuleType, path: Path) -> Any:
    """The model as the schema's object tree (ModelT)."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))


def operator_name(schema: ModuleType, model: Any, operator: Any) -> str:
    """The name of an operation, custom ones by their own name."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return str(code.customCode.decode())
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return next(name for name, value in vars(schema.BuiltinOperator).items() if value == number)


def custom_options(operator: Any) -> dict[str, Any]:
    """The options of a custom operation: for Landmarks2TransformMatrix its landmarks, level line and margins."""
    options: dict[str, Any] = flexbuffers.Loads(bytes(operator.customOptions))
    return options


class Converter:
    """Turns one tflite graph into ONNX; pictures run channels-first, everything else keeps its layout."""

    def __init__(self, schema: ModuleType, model: Any) -> None:
        self._schema = schema
        self._model = model
        self._graph = model.subgraphs[0]
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._constants: dict[int, np.ndarray] = {}  # what DEQUANTIZE made of half-precision weights
        self._values: dict[int, Any] = {}  # name, or (matrix, shift) names, of each tensor
        self._is_picture: dict[int, bool] = {}

    def convert(self) -> onnx.ModelProto:
        """The ONNX model; inputs (1, 3, H, W), outputs named and shaped as in the original."""
        start = int(self._graph.inputs[0])
        self._put(start, "input", picture=True)
        for operator in self._graph.operators:
            self._operation(operator)
        outputs = []
        for index in map(int, self._graph.outputs):
            tensor = self._graph.tensors[index]
            name = tensor.name.decode()
            self._nodes.append(helper.make_node("Identity", [self._plain(index)], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [int(side) for side in tensor.shape]))
        _, height, width, _ = (int(side) for side in self._graph.tensors[start].shape)
        entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])
        graph = helper.make_graph(self._nodes, "face", [entry], outputs, self._initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        made.ir_version = IR_VERSION
        onnx.checker.check_model(made)
        return made

    def _operation(self, operator: Any) -> None:
        name = operator_name(self._schema, self._model, operator)
        inputs, result = [int(index) for index in operator.inputs], int(operator.outputs[0])
        options = operator.builtinOptions
        simple: dict[str, Callable[[], None]] = {
            "DEQUANTIZE": lambda: self._constants.update({result: self._constant(inputs[0]).astype(np.float32)}),
            "CONV_2D": lambda: self._convolution(inputs, result, options, depthwise=False),
            "DEPTHWISE_CONV_2D": lambda: self._convolution(inputs, result, options, depthwise=True),
            "PRELU": lambda: self._prelu(inputs, result),
            "RELU": lambda: self._relu(inputs, result),
            "ADD": lambda: self._arithmetic("Add", inputs, result, options),
            "MUL": lambda: self._multiply(inputs, result, options),
            "MAX_POOL_2D": lambda: self._max_pool(inputs, result, options),
            "PAD": lambda: self._pad(inputs, result),
            "RESHAPE": lambda: self._put(result, self._node("Reshape", [self._plain(inputs[0]), self._shape(result)])),
            "CONCATENATION": lambda: self._put(
                result, self._node("Concat", [self._values[index] for index in inputs], axis=options.axis)
            ),
            "STRIDED_SLICE": lambda: self._slice(inputs, result, options),
            "Landmarks2TransformMatrix": lambda: self._crop_matrix(inputs, result, custom_options(operator)),
            "TransformTensorBilinear": lambda: self._crop_features(inputs, result),
            "TransformLandmarks": lambda: self._place_landmarks(inputs, result),
        }
        simple[name]()

    def _constant(self, index: int) -> np.ndarray | None:
        if index in self._constants:
            return self._constants[index]
        tensor = self._graph.tensors[index]
        content = self._model.buffers[tensor.buffer].data
        if content is None or len(content) == 0:
            return None
        return np.frombuffer(bytes(content), TYPES[tensor.type]).reshape([int(side) for side in tensor.shape])

    def _put(self, index: int, value: Any, picture: bool = False) -> None:
        self._values[index], self._is_picture[index] = value, picture

    def _name(self, start: str) -> str:
        return f"{start}_{len(self._nodes) + len(self._initializers)}"

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = self._name("t")
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _given(self, values: Any) -> str:
        """A constant; large ones that half precision holds exactly (as the originals do) are stored so."""
        array = np.ascontiguousarray(values)
        name = self._name("c")
        half = array.astype(np.float16) if array.dtype == np.float32 and array.size > 64 else None
        if half is not None and np.array_equal(half.astype(np.float32), array):
            self._initializers.append(numpy_helper.from_array(half, name + "_half"))
            self._nodes.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
        else:
            self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def _plain(self, index: int) -> str:
        """A tensor in the original's layout."""
        value: str = self._values[index]
        return self._node("Transpose", [value], perm=[0, 2, 3, 1]) if self._is_picture[index] else value

    def _shape(self, index: int) -> str:
        return self._given(np.array([int(side) for side in self._graph.tensors[index].shape], np.int64))

    def _activated(self, value: str, function: int) -> str:
        if function == RELU:
            return self._node("Relu", [value])
        if function == RELU6:
            return self._node("Clip", [value, self._given(np.float32(0)), self._given(np.float32(6))])
        return value

    def _convolution(self, inputs: list[int], result: int, options: Any, depthwise: bool) -> None:
        kernel = self._constant(inputs[1]).transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        output = self._node(
            "Conv",
            [self._values[inputs[0]], self._given(kernel), self._given(self._constant(inputs[2]))],
            kernel_shape=list(kernel.shape[2:]),
            strides=[options.strideH, options.strideW],
            group=kernel.shape[0] if depthwise else 1,
            auto_pad="SAME_UPPER" if options.padding == SAME_PADDING else "VALID",
        )
        self._put(result, self._activated(output, options.fusedActivationFunction), picture=True)

    def _prelu(self, inputs: list[int], result: int) -> None:
        slope = self._given(self._constant(inputs[1]).reshape(-1, 1, 1))
        self._put(result, self._node("PRelu", [self._values[inputs[0]], slope]), picture=True)

    def _relu(self, inputs: list[int], result: int) -> None:
        self._put(result, self._node("Relu", [self._values[inputs[0]]]), self._is_picture[inputs[0]])

    def _arithmetic(self, kind: str, inputs: list[int], result: int, options: Any) -> None:
        known = [index for index in inputs if self._constant(index) is not None]
        if known:
            other = next(index for index in inputs if index not in known)
            self._put(result, self._node(kind, [self._plain(other), self._given(self._constant(known[0]))]))
            return
        output = self._node(kind, [self._values[index] for index in inputs])
        function = options.fusedActivationFunction if options else 0
        self._put(result, self._activated(output, function), self._is_picture[inputs[0]])

    def _multiply(self, inputs: list[int], result: int, options: Any) -> None:
        shape = [int(side) for side in self._graph.tensors[result].shape]
        if shape[1:] != [4, 4]:
            self._arithmetic("Mul", inputs, result, options)
            return
        # A 4 x 4 transform matrix brought to another scale, element by element; ours are (2 x 2, shift).
        known = next(index for index in inputs if self._constant(index) is not None)
        factor = self._constant(known)[0]
        matrix, shift = self._values[next(index for index in inputs if index != known)]
        scaled = self._node("Mul", [matrix, self._given(factor[:2, :2].T)])
        moved = self._node("Mul", [shift, self._given(factor[:2, 3][None])])
        self._put(result, (scaled, moved))

    def _max_pool(self, inputs: list[int], result: int, options: Any) -> None:
        output = self._node(
            "MaxPool",
            [self._values[inputs[0]]],
            kernel_shape=[options.filterHeight, options.filterWidth],
            strides=[options.strideH, options.strideW],
            auto_pad="SAME_UPPER" if options.padding == SAME_PADDING else "VALID",
        )
        self._put(result, output, picture=True)

    def _pad(self, inputs: list[int], result: int) -> None:
        sides = self._constant(inputs[1])[[0, 3, 1, 2]]
        pads = np.concatenate([sides[:, 0], sides[:, 1]]).astype(np.int64)
        self._put(result, self._node("Pad", [self._values[inputs[0]], self._given(pads)]), picture=True)

    def _slice(self, inputs: list[int], result: int, options: Any) -> None:
        begin, end, stride = (self._constant(index).astype(np.int64) for index in inputs[1:4])
        axes = np.arange(len(begin))
        begin = np.where((options.beginMask >> axes) & 1, 0, begin)
        end = np.where((options.endMask >> axes) & 1, 2**31 - 1, end)
        given = [self._given(values.astype(np.int64)) for values in (begin, end, axes, stride)]
        self._put(result, self._node("Slice", [self._plain(inputs[0]), *given]))

    def _crop_matrix(self, inputs: list[int], result: int, options: dict[str, Any]) -> None:
        """The level box round a subset of landmarks, as what row vectors of crop pixels are multiplied by."""
        subset = np.array(options["subset_idxs"], np.int64)
        left, right = options["left_rotation_idx"], options["right_rotation_idx"]
        margins = np.array([options["scale_x"], options["scale_y"]], np.float32)
        numbers = [self._given(np.array([value], np.int64)) for value in (0, 1, 2, left, right)]
        zero, one, two, first, second = numbers
        flat = self._node("Slice", [self._values[inputs[0]], zero, two, two])  # (1, 468, 2)
        ends = [self._node("Gather", [flat, number], axis=1) for number in (second, first)]
        line = self._node("Reshape", [self._node("Sub", ends), two])
        length = self._node("Sqrt", [self._node("ReduceSum", [self._node("Mul", [line, line])], keepdims=1)])
        unit = self._node("Div", [line, length])  # cosine and sine of the line's angle
        cosine, sine = (self._node("Gather", [unit, number]) for number in (zero, one))
        entries = self._node("Concat", [cosine, self._node("Neg", [sine]), sine, cosine], axis=0)
        to_level = self._node("Reshape", [entries, self._given(np.array([2, 2], np.int64))])
        back = self._node("Transpose", [to_level], perm=[1, 0])
        points = self._node("MatMul", [self._node("Gather", [flat, self._given(subset)], axis=1), to_level])
        high = self._node("ReduceMax", [points], axes=[1], keepdims=0)
        low = self._node("ReduceMin", [points], axes=[1], keepdims=0)
        middle = self._node("Mul", [self._node("Add", [high, low]), self._given(np.float32(0.5))])
        center = self._node("MatMul", [middle, back])
        pixel = self._node("Mul", [self._node("Sub", [high, low]), self._given(margins / CROP)])
        matrix = self._node("Mul", [self._node("Transpose", [pixel], perm=[1, 0]), back])
        half = self._given(np.array([[CROP / 2, CROP / 2]], np.float32))
        self._put(result, (matrix, self._node("Sub", [center, self._node("MatMul", [half, matrix])])))

    def _crop_features(self, inputs: list[int], result: int) -> None:
        matrix, shift = self._values[inputs[1]]
        y, x = np.mgrid[0:CROP, 0:CROP].astype(np.float32) + 0.5
        places = self._given(np.stack([x, y], -1).reshape(1, CROP * CROP, 2))
        source = self._node("Add", [self._node("MatMul", [places, matrix]), shift])
        side = float(self._graph.tensors[inputs[0]].shape[1])
        scaled = self._node("Mul", [source, self._given(np.float32(2 / side))])
        grid = self._node("Add", [scaled, self._given(np.float32(-1))])
        shaped = self._node("Reshape", [grid, self._given(np.array([1, CROP, CROP, 2], np.int64))])
        crop = self._node(
            "GridSample",
            [self._values[inputs[0]], shaped],
            mode="bilinear",
            padding_mode="zeros",
            align_corners=0,
        )
        self._put(result, crop, picture=True)

    def _place_landmarks(self, inputs: list[int], result: int) -> None:
        matrix, shift = self._values[inputs[1]]
        self._put(result, self._node("Add", [self._node("MatMul", [self._values[inputs[0]], matrix]), shift]))


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    with tempfile.TemporaryDirectory() as scratch:
        files, schema = fetch(Path(scratch))
        for name, path in files.items():
            converted = Converter(schema, read_model(schema, path)).convert()
            onnx.save(converted, str(target / name))
            print(target / name, (target / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
