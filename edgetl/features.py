"""The extractor as the host holds it, and the features it is defined by.

An `Extractor` is a frozen backbone with everything that turns a raw sample into a feature vector of D
float32: what the runtime does before the graph (`preprocess`), what the graph does first (`mean`,
`scale`), and the network itself, as a torch module or as a user's own ONNX graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.errors import SampleError
from edgetl_runtime.preprocess import ImagePreprocess, Preprocess
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Extractor", "normalised_input", "reference_features", "run_graph"]

_CHUNK = 32


@dataclass(frozen=True, eq=False)
class Extractor:
    """One sample -> (D,) float32. Built by `edgetl.backbones`, never changed afterwards.

    `mean` and `scale` are in pixel units and in the channel order of the network, one figure a channel
    (or a single one): network input = (pixel - mean) * scale. `module` takes the normalised input, float32
    N C H W for images and (N, *shape) for arrays, and gives (N, D). A user's own ONNX has `graph`, its
    bytes, and `output`, the tensor that is the feature, in place of `module`. `provenance` is plain data:
    origin and sha256 of the weights, and the keys that were missing or left over.
    """

    name: str
    preprocess: Preprocess
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    dim: int
    module: torch.nn.Module | None = None
    graph: bytes | None = None
    output: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def reference_features(extractor: Extractor, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Features (N, D) float32 of tensors as `preprocess.apply` gives them, computed where the extractor comes from.

    `batch` is uint8 (N, H, W, C), or float32 (N, *shape) for arrays. A torch module runs in torch, a
    user's ONNX runs whole and as it was given in onnxruntime with the normalisation done in NumPy, so an
    exported graph can be judged against it. Raises SampleError for another dtype or shape.
    """
    spec = extractor.preprocess.input
    if batch.dtype != np.dtype(spec.dtype) or batch.shape[1:] != spec.shape[1:]:
        raise SampleError(
            f"{extractor.name} takes {spec.dtype} (N, {', '.join(map(str, spec.shape[1:]))}); "
            f"got {batch.dtype} {batch.shape}. Pass what `extractor.preprocess.apply` returns"
        )
    features = np.empty((len(batch), extractor.dim), np.float32)
    for start in range(0, len(batch), _CHUNK):
        part = batch[start : start + _CHUNK]
        features[start : start + _CHUNK] = (
            _torch_features(extractor, extractor.module, part)
            if extractor.module is not None
            else _onnx_features(extractor, part)
        )
    return features


def _torch_features(
    extractor: Extractor, module: torch.nn.Module, batch: NDArray[Any]
) -> NDArray[np.float32]:
    import torch

    module.eval()
    with torch.inference_mode():
        # A copy: torch refuses to promise that it will not write into a read-only array.
        inputs = normalised_input(extractor, torch.from_numpy(np.array(batch))).contiguous()
        features: NDArray[np.float32] = module(inputs).flatten(1).float().numpy()
    return features


def normalised_input(extractor: Extractor, batch: torch.Tensor) -> torch.Tensor:
    """What `module` takes, float32, on the device of `batch` (N, *shape), which is as `preprocess.apply` gives it."""
    import torch

    mean, scale = (batch.new_tensor(side, dtype=torch.float32) for side in (extractor.mean, extractor.scale))
    inputs = (batch.to(torch.float32) - mean) * scale
    return inputs.permute(0, 3, 1, 2) if isinstance(extractor.preprocess, ImagePreprocess) else inputs


def _onnx_features(extractor: Extractor, batch: NDArray[Any]) -> NDArray[np.float32]:
    if extractor.graph is None or extractor.output is None:
        raise ValueError(f"extractor {extractor.name!r} has neither a module nor a graph with an output")
    session = _whole_graph(extractor.graph, extractor.output)
    declared = session.get_inputs()[0]
    inputs = batch
    if declared.type != "tensor(uint8)":
        mean, scale = np.asarray(extractor.mean, np.float32), np.asarray(extractor.scale, np.float32)
        inputs = (batch.astype(np.float32) - mean) * scale
        inputs = inputs.astype(np.float16 if declared.type == "tensor(float16)" else np.float32)
    if isinstance(extractor.preprocess, ImagePreprocess) and declared.shape[3] != batch.shape[3]:
        inputs = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))
    # One by one: the batch of a user's graph may be fixed.
    outputs = [run_graph(extractor.graph, extractor.output, sample[None]) for sample in inputs]
    return np.concatenate([np.asarray(o, np.float32).reshape(1, -1) for o in outputs])


def run_graph(graph: bytes, output: str, inputs: NDArray[Any]) -> NDArray[Any]:
    """Tensor `output` of a user's own graph for `inputs`, in the layout and dtype of that graph."""
    session = _whole_graph(graph, output)
    result: NDArray[Any] = session.run([output], {session.get_inputs()[0].name: inputs})[0]
    return result


@lru_cache(maxsize=2)
def _whole_graph(graph: bytes, output: str) -> Any:
    """A session on the user's own graph, only with `output` made visible."""
    import onnx
    import onnxruntime

    model = onnx.load_from_string(graph)
    if output not in {tensor.name for tensor in model.graph.output}:
        model.graph.output.append(onnx.ValueInfoProto(name=output))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
