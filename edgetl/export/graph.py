"""Surgery on ONNX graphs: drop what is dead, fold what is constant, keep only what a device accepts.

A graph that leaves the host is one self-contained file: standard operators, no functions, no control
flow, no external data, IR version at most 10 and opset at most 21 (onnxruntime 1.19.2 of JetPack 5), and
without the bytes `location` anywhere, which the runtime takes as a sign of external data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.errors import ExportError
from edgetl.export.lint import lint, refuse

if TYPE_CHECKING:
    import onnx

__all__ = ["MAX_BYTES", "MAX_IR_VERSION", "MAX_OPSET", "OUTPUT", "declare_output", "finish", "fold", "load", "prune"]

MAX_IR_VERSION = 10
MAX_OPSET = 21
MAX_BYTES = 2**31 - 1  # of one protobuf message
OUTPUT = "features"
_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}
_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def load(graph: bytes) -> onnx.ModelProto:
    """The model in `graph`, functions inlined; raises ExportError when it is not ONNX or not self-contained."""
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_from_string(graph)
    except DecodeError as error:
        raise ExportError(f"not an ONNX graph, or a truncated one: {error}") from error
    if not model.graph.node:
        raise ExportError("not an ONNX graph: it has no node")
    for tensor in _all_tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ExportError(
                f"the graph keeps {tensor.name!r} in another file (external data), which devices refuse; "
                "save it as one file with onnx.save(onnx.load(path), path, save_as_external_data=False)"
            )
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def prune(model: onnx.ModelProto, outputs: Iterable[str]) -> None:
    """Keep only the nodes and initializers that `outputs` (tensor names) depend on, in place."""
    needed = _needed(model, outputs)
    _keep(model.graph.node, lambda node: bool(needed.intersection(node.output)))
    _keep(model.graph.initializer, lambda tensor: tensor.name in needed)
    del model.graph.value_info[:]


def fold(model: onnx.ModelProto) -> None:
    """Replace everything that does not depend on sample values by constants, in place.

    Input shapes must be static: then shape arithmetic is constant too. The values are computed by
    onnxruntime itself, on the same graph, so folding cannot change a result.
    """
    from onnx import numpy_helper


    graph = model.graph
    results = [tensor.name for tensor in graph.output]
    known = {tensor.name for tensor in graph.initializer}
    alias: dict[str, str] = {}
    foldable: set[str] = set()
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = alias.get(name, name)
        inputs = [name for name in node.input if name]
        if node.op_type == "Identity" and node.output[0] not in results:
            # Exporters name one shared weight many times so; folding it by value would store it as often.
            alias[node.output[0]] = inputs[0]
            continue
        constant = node.op_type in {"Shape", "Size"} or all(name in known for name in inputs)
        if constant and node.op_type not in _RANDOM | _CONTROL_FLOW and node.domain in ("", "ai.onnx"):
            known.update(node.output)
            foldable.update(node.output)
    for name in results:
        if name in known:
            raise ExportError(f"output {name!r} does not depend on the input: there is nothing to extract")
    alive = [node for node in graph.node if not {*node.output} <= foldable | alias.keys()]
    wanted = sorted({name for node in alive for name in node.input} & foldable)
    if wanted:
        values = _evaluate(model, wanted)
        _keep(graph.node, lambda node: not {*node.output} <= foldable)
        graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in wanted)
    prune(model, results)


def declare_output(model: onnx.ModelProto, batch: int, dim: int) -> None:
    """State that the one output is `features`, float32 (batch, dim), in place; `finish` checks that it is so."""
    from onnx import TensorProto, helper

    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [batch, dim]))


def finish(model: onnx.ModelProto, allowed: Collection[str] = ()) -> bytes:
    """The bytes of a checked graph that every device accepts; raises ExportError and says what stands in the way.

    `allowed` are rules of the lint that the devices it is for do not mind.
    """
    import onnx

    refuse(finding for finding in lint(model) if finding.rule not in allowed)
    standard = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not standard or standard[0].version > MAX_OPSET:
        model = _lower_opset(model)
        standard = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    _keep(model.opset_import, lambda entry: entry.domain in ("", "ai.onnx"))
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    _strip(model)
    size_bytes = model.ByteSize()
    if size_bytes > MAX_BYTES:
        raise ExportError(
            f"the graph is {size_bytes / 1e9:.1f} GB; one ONNX file holds at most {MAX_BYTES / 1e9:.1f} GB, "
            "and devices refuse external data: choose a smaller backbone"
        )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the graph is not valid ONNX: {error}") from error
    data = model.SerializeToString(deterministic=True)
    if b"location" in data:
        raise ExportError(
            "the graph holds the bytes 'location' where they cannot be renamed (an attribute or a weight), "
            "and devices take them for external data"
        )
    return bytes(data)


def _strip(model: onnx.ModelProto) -> None:
    """Remove what no engine reads: documentation, metadata, node names; rename what an engine stumbles over."""
    graph = model.graph
    model.doc_string = graph.doc_string = model.domain = ""
    del model.metadata_props[:]
    del graph.value_info[:], graph.metadata_props[:], graph.quantization_annotation[:]
    graph.name = "extractor"
    renamed: dict[str, str] = {}

    def short(name: str) -> str:
        return renamed.setdefault(name, f"renamed_{len(renamed)}") if "location" in name else name

    for i, node in enumerate(graph.node):
        node.name, node.doc_string = f"{node.op_type}_{i}", ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            if node.op_type == "Einsum" and attribute.name == "equation":
                attribute.s = _lower_case(attribute.s.decode()).encode()
        for names in (node.input, node.output):
            for j, name in enumerate(names):
                names[j] = short(name)
    for tensor in (*graph.initializer, *graph.input, *graph.output):
        tensor.name, tensor.doc_string = short(tensor.name), ""
        del tensor.metadata_props[:]


def _lower_case(equation: str) -> str:
    """The same Einsum equation in the lower-case letters that TensorRT's parser insists on."""
    letters = list(dict.fromkeys(filter(str.isalpha, equation)))
    if len(letters) > 26:
        return equation
    return equation.translate({ord(old): chr(ord("a") + i) for i, old in enumerate(letters)})


def _evaluate(model: onnx.ModelProto, names: list[str]) -> dict[str, Any]:
    """Values of the tensors `names`, which depend on input shapes only."""
    import onnx
    import onnxruntime

    needed = _needed(model, names)
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "constants"
    part.graph.node.extend(node for node in model.graph.node if needed.intersection(node.output))
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    part.graph.input.extend(tensor for tensor in model.graph.input if tensor.name in needed)
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    zeros = {
        i.name: np.zeros(i.shape, {"uint8": np.uint8, "float16": np.float16}.get(i.type[7:-1], np.float32))
        for i in session.get_inputs()
    }
    return dict(zip(names, session.run(names, zeros), strict=True))


def _lower_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import version_converter

    try:
        return version_converter.convert_version(model, 17)
    except Exception as error:  # the converter raises RuntimeError and its own ConvertError
        raise ExportError(
            f"the graph needs a newer opset than {MAX_OPSET}, the newest of onnxruntime 1.19 (JetPack 5), and does "
            f"not convert: {error}. Export it with opset 17"
        ) from error


def _needed(model: onnx.ModelProto, outputs: Iterable[str]) -> set[str]:
    """Names of `outputs` and of every tensor that they depend on."""
    needed = set(outputs)
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name)
            needed.update(_captured(node))
    return needed


def _captured(node: onnx.NodeProto) -> set[str]:
    """Names that the subgraphs of a control-flow node take from outside."""
    from onnx import AttributeProto

    names: set[str] = set()
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs)
        for graph in graphs:
            for inner in graph.node:
                names.update(inner.input)
                names.update(_captured(inner))
            names.update(tensor.name for tensor in graph.output)
    return names


def _all_tensors(graph: onnx.GraphProto) -> Iterable[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _all_tensors(inner)


def _keep(repeated: Any, wanted: Callable[[Any], bool]) -> None:
    """Drop what is not wanted from a protobuf repeated field, without copying the weights in the rest."""
    for i in reversed(range(len(repeated))):
        if not wanted(repeated[i]):
            del repeated[i]
