"""What an ONNX graph may hold before any engine parses it: checked on the bytes, the same for every version.

Old onnxruntime versions read any file that a graph names, run endless loops and fold constants of any size.
A walk over the protobuf wire format (protobuf.dev/programming-guides/encoding) that knows only the fields that
matter (onnx/onnx `onnx.proto`); an engine still checks all the rest.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Tuple, Union

from edgetl_runtime.errors import EngineError

__all__ = ["MAX_NODES", "OPERATORS", "check_graph"]

MAX_NODES = 100_000
MAX_ELEMENTS = 1 << 28  # of one constant, or of what is made from a constant shape
_STANDARD = (b"", b"ai.onnx")

# Ordinary arithmetic on tensors. No control flow, sequences, text, randomness, training, or another vendor's.
OPERATORS = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "CastLike", "Ceil",
    "Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "CumSum",
    "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand",
    "EyeLike", "Flatten", "Floor", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
    "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "GridSample",
    "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "IsInf",
    "IsNaN", "LRN", "LSTM", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax",
    "LpNormalization", "LpPool", "MatMul", "Max", "MaxPool", "Mean", "MeanVarianceNormalization", "Min", "Mish",
    "Mod", "Mul", "Neg", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "RNN", "Range",
    "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "Round",
    "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax",
    "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "ThresholdedRelu",
    "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Upsample", "Where", "Xor",
})  # fmt: skip

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_Value = Union[int, memoryview]


def check_graph(graph: bytes) -> None:
    """Raises EngineError unless the graph is a plain one: one file, standard operators, no control flow, no bombs."""
    bodies = []
    try:
        for field, value in _fields(memoryview(graph)):
            if field in (20, 25):
                raise EngineError("the graph holds functions or training steps, which devices refuse")
            if field == 7:
                bodies.append(value)
        if len(bodies) != 1:
            raise ValueError(f"{len(bodies)} graphs in one model")
        _check_body(_bytes(bodies[0]))
    except (ValueError, IndexError) as error:
        raise EngineError(f"not an ONNX graph, or a damaged one: {error}; build the bundle again") from error


def _check_body(body: memoryview) -> None:
    sizes: Dict[bytes, int] = {}  # how many elements a constant shape asks for
    nodes = []
    for field, value in _fields(body):
        if field == 1:
            nodes.append(_bytes(value))
            if len(nodes) > MAX_NODES:
                raise EngineError(f"the graph has more than {MAX_NODES} nodes")
        elif field == 5:
            name, wanted = _check_tensor(_bytes(value))
            sizes[name] = wanted
        elif field == 15:
            raise EngineError("the graph holds sparse constants, which devices refuse")
    for node in nodes:
        _check_node(node, sizes)


def _check_node(node: memoryview, sizes: Dict[bytes, int]) -> None:
    operator = name = domain = b""
    inputs: List[bytes] = []
    outputs: List[bytes] = []
    wanted = 0
    for field, value in _fields(node):
        if field == 1:
            inputs.append(bytes(_bytes(value)))
        elif field == 2:
            outputs.append(bytes(_bytes(value)))
        elif field == 3:
            name = bytes(_bytes(value))
        elif field == 4:
            operator = bytes(_bytes(value))
        elif field == 5:
            wanted = max(wanted, _check_attribute(_bytes(value)))
        elif field == 7:
            domain = bytes(_bytes(value))
    what = f"{operator[:40].decode('ascii', 'replace')} {name[:80].decode('ascii', 'replace')!r}"
    if domain not in _STANDARD or operator.decode("ascii", "replace") not in OPERATORS:
        whose = f" of {domain[:40].decode('ascii', 'replace')!r}" if domain else ""
        raise EngineError(
            f"the graph has the operator {what}{whose}, which devices refuse: replace it, or cut the graph before it"
        )
    if operator == b"Constant":
        sizes.update(dict.fromkeys(outputs, wanted))
    if operator in (b"ConstantOfShape", b"Expand", b"Tile", b"Pad", b"Resize", b"Upsample", b"Range", b"OneHot"):
        most = max((sizes.get(tensor, 0) for tensor in inputs), default=0)
        if most > MAX_ELEMENTS:
            raise EngineError(f"the graph makes a tensor of {most:,} elements by {what}; at most {MAX_ELEMENTS:,} are")


def _check_attribute(attribute: memoryview) -> int:
    wanted = 0
    for field, value in _fields(attribute):
        if field in (6, 11, 21, 22, 23):
            raise EngineError("the graph holds a graph within a graph, or sparse constants, which devices refuse")
        if field in (5, 10):
            wanted = max(wanted, _check_tensor(_bytes(value))[1])
    return wanted


def _check_tensor(tensor: memoryview) -> Tuple[bytes, int]:
    """Name of a constant, and how many elements it asks for when it is taken for a shape."""
    elements, kind, name = 1, 0, b""
    listed: List[int] = []
    raw = memoryview(b"")
    for field, value in _fields(tensor):
        if field in (13, 14) and value != 0:
            raise EngineError("the graph refers to external data, which devices refuse; build the bundle again")
        if field == 1:
            for side in _integers(value):
                elements *= side
        elif field == 2 and isinstance(value, int):
            kind = value
        elif field == 7:
            listed += _integers(value)
        elif field == 8:
            name = bytes(_bytes(value))
        elif field == 9:
            raw = _bytes(value)
    if not 0 <= elements <= MAX_ELEMENTS:
        raise EngineError(f"a constant of the graph has {elements:,} elements; at most {MAX_ELEMENTS:,} are read")
    if kind != 7 or elements > 64:  # int64, which shapes are
        return name, 0
    listed += [int.from_bytes(raw[i : i + 8], "little", signed=True) for i in range(0, len(raw) - 7, 8)]
    wanted = 1
    for side in listed:
        wanted *= max(abs(side), 1)
    return name, wanted


def _fields(data: memoryview) -> Iterator[Tuple[int, _Value]]:
    """Number and value of every field of a message; ValueError when it is not one."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield field, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if size > end - at:
            raise ValueError("a field is longer than its message")
        yield field, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
        if shift > 63:
            raise ValueError("an endless number")


def _integers(value: _Value) -> List[int]:
    """A repeated int64, one at a time or packed."""
    if isinstance(value, int):
        numbers = [value]
    else:
        numbers, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            numbers.append(number)
    return [number - (1 << 64) if number >> 63 else number for number in numbers]


def _bytes(value: _Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return value
