"""The precisions that a variant may have, a row each: how it is quantized, and for which engines.

INT8 has two recipes, because no one of them is fast everywhere (`make quantization` measures it): TensorRT parses
symmetric int8 only, and onnxruntime on x86 runs symmetric int8 slower than float32 and uint8 activations faster.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgetl.errors import QuantizeError

__all__ = ["FP16", "FP32", "INT8", "PRECISIONS", "S8S8", "U8S8", "Precision", "recipes_of"]


@dataclass(frozen=True)
class Precision:
    """One row. `name` is that of the variant and of `devices/*.toml`, `kind` what the manifest says.

    `activations` are "uint8" (any zero point) or "int8" (symmetric) and None where nothing is quantized; weights
    are always int8, symmetric, with a scale for each output channel. `int32_bias`: TensorRT parses none, and without
    it onnxruntime up to 1.20 fuses no layer. `allowed` are rules of the lint that its engines do not mind.
    """

    name: str
    kind: str
    member: str
    activations: str | None = None
    int32_bias: bool = False
    allowed: tuple[str, ...] = ()


FP32 = Precision("fp32", "float32", "extractor.onnx")
FP16 = Precision("fp16", "float16", "extractor.fp16.onnx")
S8S8 = Precision("s8s8", "int8", "extractor.s8s8.onnx", "int8")
U8S8 = Precision("u8s8", "int8", "extractor.u8s8.onnx", "uint8", True, ("int32-dequantize", "zero-point"))

PRECISIONS = {row.name: row for row in (FP32, FP16, S8S8, U8S8)}
INT8 = "int8"  # either recipe, whichever is for the engine


def recipes_of(name: str) -> tuple[str, ...]:
    """The rows that a user means by that name; raises QuantizeError, which lists the names."""
    if name == INT8:
        return (S8S8.name, U8S8.name)
    if name not in PRECISIONS:
        raise QuantizeError(f"there is no precision {name!r}; there are {[*PRECISIONS, INT8]}")
    return (name,)
