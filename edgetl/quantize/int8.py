"""Post-training quantization by onnxruntime's quantizer: calibrate once, then write the graph as often as needed."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import QuantizeError
from edgetl.export.graph import finish
from edgetl.quantize.graph import entry_nodes, exit_nodes, in_order
from edgetl.quantize.recipes import Precision

if TYPE_CHECKING:
    import onnx

__all__ = ["CALIBRATION_SAMPLES", "Calibrated", "calibrate", "choose_calibration"]

logger = logging.getLogger(__name__)

# Measured by `make quantization`: beyond it the features come no nearer to those of float32.
CALIBRATION_SAMPLES = 100


def choose_calibration(labels: Sequence[str], count: int = CALIBRATION_SAMPLES, seed: int = 0) -> list[int]:
    """Positions of at most `count` of N samples, as many of each class as there are: the rare ones count too."""
    order = np.random.default_rng(seed).permutation(len(labels))
    seen: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for position in order:
        label = labels[position]
        seen[label] = seen.get(label, 0) + 1
        ranked.append((seen[label], len(ranked), int(position)))
    return sorted(position for _, _, position in sorted(ranked)[:count])


class Calibrated:
    """A prepared model and the range of each of its tensors; `graph` writes it as one recipe says."""

    def __init__(self, model: onnx.ModelProto, ranges: Any) -> None:
        self.model = model
        self._ranges = ranges
        self._outside = (*entry_nodes(model), *exit_nodes(model))

    def graph(
        self,
        recipe: Precision,
        keep_float: Collection[str] = (),
        biases: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> bytes:
        """The quantized graph, with the nodes named in `keep_float` in float32.

        `biases` take the place of those of the named nodes, unless they are kept in float32. Raises QuantizeError,
        or ExportError when a device would refuse the graph.
        """
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType

        kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
        if recipe.activations is None:
            raise QuantizeError(f"{recipe.name} is no INT8 recipe")
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        kept = {*self._outside, *keep_float}
        _put_biases(model, {name: bias for name, bias in (biases or {}).items() if name not in kept})
        options = {
            "ActivationSymmetric": recipe.activations == "int8",
            "WeightSymmetric": True,
            "QuantizeBias": recipe.int32_bias,
        }
        try:
            quantizer = QDQQuantizer(
                model, True, False, QuantType.QInt8, kinds[recipe.activations], self._ranges, [], sorted(kept),
                _operators(), options,
            )  # fmt: skip
            quantizer.quantize_model()
        except Exception as error:  # its own types, without a common root
            raise QuantizeError(f"onnxruntime cannot quantize the graph as {recipe.name}: {error}") from error
        return finish(in_order(quantizer.model.model), recipe.allowed)


def calibrate(model: onnx.ModelProto, tensors: Sequence[NDArray[Any]]) -> Calibrated:
    """Run the calibration tensors (each as the graph takes it, batch 1) and take each tensor's least and most.

    The plain range: percentiles and entropy took 20 to 100 times as long for features no nearer, on SqueezeNet
    farther. Raises QuantizeError.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

    if not tensors:
        raise QuantizeError("INT8 needs calibration samples; the training part has none")
    entry = model.graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The tensors, one by one."""

        def __init__(self) -> None:
            self._left = iter(tensors)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """The next feed, or None."""
            tensor = next(self._left, None)
            return None if tensor is None else {entry: tensor}

    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        try:
            calibrator = create_calibrator(
                path,
                _operators(),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(Reader())
            ranges = calibrator.compute_data()
        except Exception as error:  # as above
            raise QuantizeError(f"onnxruntime cannot calibrate the graph: {error}") from error
    return Calibrated(model, ranges)


def _operators() -> list[str]:
    """Everything that onnxruntime quantizes in QDQ form, but normalisation, whose weights are a vector a layer.

    With those in 8 bits onnxruntime 1.31 does not load a transformer: "attempt to replace the existing tensor".
    """
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QDQRegistry, *QLinearOpsRegistry} - {"LayerNormalization"})


def _put_biases(model: onnx.ModelProto, biases: Mapping[str, NDArray[np.float32]]) -> None:
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.name in biases and len(node.input) > 2:
            # A tensor of its own: two layers may share one.
            name = f"{node.name}_bias"
            if name not in tensors:
                model.graph.initializer.append(numpy_helper.from_array(biases[node.name], name))
                node.input[2] = name
