"""An extractor as one ONNX graph: uint8 N H W C (or float32 N, *shape) in, `features` float32 (N, D) out.

Layout and normalisation are its first nodes (Cast, Sub, Mul, Transpose), so a device hands over what a
camera gives after resizing. The torch side uses the tracing exporter: opset 17 and IR 8 load on every
JetPack from 5 on (TensorRT 8.5 reads opset 17 at most), where the dynamo exporter starts at opset 18 and
its conversion down fails for Pad and ReduceMean; tracing is also 5 to 20 times faster.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any, cast

from edgetl_runtime.preprocess import ImagePreprocess

from edgetl.errors import ExportError
from edgetl.export.graph import MAX_BYTES, OUTPUT, declare_output, finish, fold, load
from edgetl.export.wrap import wrap

if TYPE_CHECKING:
    import onnx
    import torch

    from edgetl.features import Extractor

__all__ = ["files", "trace"]

OPSET = 17


def files(graph: bytes) -> dict[str, bytes]:
    """The graph itself."""
    return {".onnx": graph}


def trace(extractor: Extractor, batch: int = 1) -> bytes:
    """Bytes of one self-contained graph with static `batch`; raises ExportError.

    The input is named as `extractor.preprocess.input`, the output `features`, float32 (batch, D).
    """
    if batch < 1:
        raise ExportError(f"batch must be at least 1, got {batch}")
    if extractor.module is not None:
        model = _trace(extractor, extractor.module, batch)
    elif extractor.graph is not None:
        model = wrap(extractor, extractor.graph, batch)
    else:
        raise ExportError(f"extractor {extractor.name!r} has neither a torch module nor an ONNX graph")
    fold(model)
    declare_output(model, batch, extractor.dim)
    return finish(model)


def _trace(extractor: Extractor, module: torch.nn.Module, batch: int) -> onnx.ModelProto:
    import torch

    spec = extractor.preprocess.input
    mean, scale = torch.tensor(extractor.mean), torch.tensor(extractor.scale)
    image = isinstance(extractor.preprocess, ImagePreprocess)

    class Whole(torch.nn.Module):
        """Raw tensor -> features: what the device runs."""

        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, raw: torch.Tensor) -> torch.Tensor:
            inputs: torch.Tensor = (raw.to(torch.float32) - mean) * scale
            if image:
                inputs = inputs.permute(0, 3, 1, 2)
            features: torch.Tensor = self.network(inputs)
            return features if features.ndim == 2 else features.flatten(1)

    size_bytes = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    if size_bytes > MAX_BYTES:
        raise ExportError(
            f"{extractor.name} holds {size_bytes / 1e9:.1f} GB of weights; one ONNX file holds at most "
            f"{MAX_BYTES / 1e9:.1f} GB and devices refuse external data: choose a smaller backbone"
        )
    raw = torch.zeros((batch, *spec.shape[1:]), dtype=getattr(torch, spec.dtype))
    buffer = io.BytesIO()
    module.eval()
    # Attention that is frozen and in eval mode takes a fused path that has no ONNX form.
    frozen = [p for p in module.parameters() if p.is_floating_point() and not p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # shapes become constants, as they should: they are static
            torch.onnx.export(
                Whole().eval(),
                (raw,),
                cast(Any, buffer),  # a stream is taken, though the annotation says a path
                dynamo=False,
                opset_version=OPSET,
                input_names=[spec.name],
                output_names=[OUTPUT],
            )
    except Exception as error:  # the exporter raises whatever the traced code raises
        raise ExportError(f"torch cannot export {extractor.name} to ONNX opset {OPSET}: {error}") from error
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    return load(buffer.getvalue())
