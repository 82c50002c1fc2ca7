"""A user's own ONNX graph, with the name of the tensor that is the feature."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.preprocess import ArrayPreprocess, Preprocess

from edgetl.backbones.request import ImageDefaults, Request, image_declaration, per_channel
from edgetl.errors import BackboneError
from edgetl.export.graph import load
from edgetl.export.wrap import network_input
from edgetl.features import Extractor, run_graph

if TYPE_CHECKING:
    import onnx

__all__ = ["build"]

_SHOWN = 8


def build(request: Request) -> Extractor:
    """Extractor of "onnx:<path>"; raises BackboneError, or ExportError when no device could take the graph."""
    path = Path(request.name.partition(":")[2])
    if not path.is_file():
        raise BackboneError(f"no ONNX file {path}")
    if request.weights is not None:
        raise BackboneError(f"an ONNX graph holds its own weights; leave `weights` out (got {request.weights!r})")
    graph = path.read_bytes()
    model = load(graph)
    output = _feature_tensor(model, request)
    entry = network_input(model)
    dtype = _dtype(entry)
    dims = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]  # 0 where dynamic
    preprocess, mean, scale = _declaration(request, dims)
    if dtype == np.uint8 and (request.mean is not None or request.scale is not None):
        raise BackboneError(f"{path.name} takes uint8 and normalises by itself; leave mean and scale out")
    shape = list(preprocess.input.shape)
    if isinstance(preprocess, ArrayPreprocess):
        wanted = shape
    else:
        wanted = shape if dims[3] == shape[3] else [1, shape[3], shape[1], shape[2]]
    for have, want in zip(dims[1:], wanted[1:], strict=True):
        if have not in (0, want):
            raise BackboneError(
                f"{path.name} takes samples of shape {dims[1:]} (0: any), which is not the size asked for: {wanted[1:]}"
            )
    wanted[0] = max(1, dims[0])
    try:
        features = run_graph(graph, output, np.zeros(wanted, dtype))
    except Exception as error:  # onnxruntime has a dozen exceptions of its own
        raise BackboneError(f"{path.name} does not run on an input of shape {wanted}: {error}") from error
    if features.ndim < 2 or features.shape[0] != wanted[0] or features.dtype.kind != "f":
        raise BackboneError(
            f"{output!r} of {path.name} is {features.dtype} {features.shape}; a feature tensor is floating point "
            f"with the batch ({wanted[0]}) first. Others: {', '.join(_candidates(model))}"
        )
    return Extractor(
        name=f"onnx:{path.name}",
        preprocess=preprocess,
        mean=mean,
        scale=scale,
        dim=int(np.prod(features.shape[1:])),
        graph=graph,
        output=output,
        provenance={
            "source": "onnx",
            "weights": "file",
            "file": path.name,
            "sha256": hashlib.sha256(graph).hexdigest(),
        },
    )


def _feature_tensor(model: onnx.ModelProto, request: Request) -> str:
    results = [tensor.name for tensor in model.graph.output]
    made = [name for node in model.graph.node for name in node.output if name]
    if request.output in made:
        return str(request.output)
    if request.output is None and len(results) == 1:
        return str(results[0])
    near = difflib.get_close_matches(str(request.output), made, n=3) if request.output else []
    names = ", ".join(dict.fromkeys([*near, *_candidates(model)]))
    asked = f"has no tensor {request.output!r}" if request.output else "has more than one output; say which by `output`"
    raise BackboneError(f"{request.name} {asked}. Tensors that may be the feature: {names}")


def _candidates(model: onnx.ModelProto) -> list[str]:
    """Outputs first, then the last tensors of the graph."""
    results = [tensor.name for tensor in model.graph.output]
    last = [name for node in reversed(model.graph.node) for name in node.output if name and node.op_type != "Constant"]
    return list(dict.fromkeys([*results, *last]))[:_SHOWN]


def _dtype(entry: onnx.ValueInfoProto) -> Any:
    from onnx import TensorProto, helper

    kind = entry.type.tensor_type.elem_type
    if kind not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8):
        said = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else f"of kind {kind}"
        raise BackboneError(f"input {entry.name!r} is {said}; an extractor takes FLOAT, FLOAT16 or UINT8")
    return helper.tensor_dtype_to_np_dtype(kind)


def _declaration(
    request: Request, dims: list[int]
) -> tuple[Preprocess, tuple[float, ...], tuple[float, ...]]:
    """An image when the graph takes N C H W or N H W C with 3 or 1 channels, else an array of its shape."""
    if len(dims) == 4 and request.channels != "array":
        for channel, (h, w) in ((1, (2, 3)), (3, (1, 2))):
            if dims[channel] in (1, 3):
                if request.size is None and 0 in (dims[h], dims[w]):
                    raise BackboneError(f"{request.name} takes any height and width: say which by size=(height, width)")
                # The graph says nothing about resizing: without `resize` the whole frame is stretched.
                default = ImageDefaults(dims[h] or 1, dims[w] or 1, channels="RGB" if dims[channel] == 3 else "L")
                return image_declaration(request, default)
    shape = tuple(dims[1:])
    if request.size is not None:
        shape = (request.size,) if isinstance(request.size, int) else tuple(request.size)
    if not shape or 0 in shape or len(shape) != len(dims) - 1:
        raise BackboneError(
            f"{request.name} takes samples of shape {dims[1:]}, 0 being any: say which by size=(...), without the batch"
        )
    mean = 0.0 if request.mean is None else request.mean
    scale = 1.0 if request.scale is None else request.scale
    try:
        preprocess = ArrayPreprocess(shape)
    except ValueError as error:
        raise BackboneError(f"{request.name}: {error}") from error
    return preprocess, per_channel("mean", mean, shape[-1]), per_channel("scale", scale, shape[-1])
