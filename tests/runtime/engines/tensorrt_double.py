"""A TensorRT without a GPU: exactly the names of one version's Python bindings, and real features by onnxruntime.

`tensorrt_names.json` holds what `dir()` said of the bindings of each version (its `source` says which wheel); a name
that is not there is an AttributeError, one that is there and that nobody needed yet a NotImplementedError. Device
memory is host memory; a stream does nothing before somebody waits for it, so a missing wait gives wrong features.
"""

from __future__ import annotations

import ctypes
import json
import types
from pathlib import Path
from typing import Any, Callable, Dict, List, Set

import numpy as np

NAMES: Dict[str, Dict[str, str]] = json.loads(Path(__file__).with_name("tensorrt_names.json").read_text())
VERSIONS = tuple(NAMES)
_MAGIC = b"PLAN OF THE DOUBLE "


class CudaDouble:
    """libcudart's functions on host memory. `left` counts what was not given back; `fail` names calls that fail."""

    def __init__(self, sm: str = "8.7", free_bytes: int = 8 << 30, integrated: bool = False) -> None:
        self.sm, self.available, self.integrated = sm, free_bytes, integrated
        self.memory: Dict[int, Any] = {}
        self.streams: Dict[int, List[Callable[[], None]]] = {}
        self.allocations = 0
        self.fail: Set[str] = set()
        self.cudaGetErrorString = _String()

    def _answer(self, name: str) -> int:
        return 2 if name in self.fail else 0

    def cudaStreamCreate(self, stream: Any) -> int:
        if self._answer("cudaStreamCreate"):
            return 2
        handle = 0x5000 + len(self.streams)
        self.streams[handle] = []
        stream._obj.value = handle
        STREAMS[handle] = self.streams[handle]
        return 0

    def cudaStreamDestroy(self, stream: Any) -> int:
        del self.streams[stream.value]
        return self._answer("cudaStreamDestroy")

    def cudaStreamSynchronize(self, stream: Any) -> int:
        queue = self.streams[stream.value]
        while queue:
            queue.pop(0)()
        return self._answer("cudaStreamSynchronize")

    def cudaMalloc(self, address: Any, size: Any) -> int:
        if self._answer("cudaMalloc"):
            return 2
        memory = ctypes.create_string_buffer(size.value)
        self.allocations += 1
        self.memory[ctypes.addressof(memory)] = memory
        address._obj.value = ctypes.addressof(memory)
        return 0

    def cudaFree(self, address: Any) -> int:
        del self.memory[address.value]
        return self._answer("cudaFree")

    def cudaMemcpyAsync(self, to: Any, source: Any, size: Any, way: Any, stream: Any) -> int:
        device = to if way.value == 1 else source
        assert device.value in self.memory and way.value in (1, 2)
        self.streams[stream.value].append(lambda: ctypes.memmove(to, source, size.value) and None)
        return self._answer("cudaMemcpyAsync")

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:
        free._obj.value, total._obj.value = self.available, 16 << 30
        return self._answer("cudaMemGetInfo")

    def cudaDeviceGetAttribute(self, value: Any, which: Any, device: Any) -> int:
        major, minor = self.sm.split(".")
        value._obj.value = {18: int(self.integrated), 75: int(major), 76: int(minor)}[which.value]
        return self._answer("cudaDeviceGetAttribute")


class _String:
    restype: Any = None

    def __call__(self, code: Any) -> bytes:
        return {2: b"out of memory"}.get(code.value, b"unknown")


STREAMS: Dict[int, List[Callable[[], None]]] = {}


def tensorrt(version: str, **behaviour: Any) -> Any:
    """The module of that version. `unreadable` plans deserialize to None, `build` replaces what a build gives."""
    names = NAMES[version]
    module = types.SimpleNamespace(__version__=version + ".0")
    allowed = set(names["module"].split())

    def limited(name: str, kind: type) -> Any:
        """The class with the bindings' names and no other; what a user's subclass adds is its own."""
        listed = set(names[name].split())

        class Limited(kind):  # type: ignore[misc, valid-type]
            def __getattribute__(self, attribute: str) -> Any:
                if not attribute.startswith("_") and attribute not in listed and type(self) is Limited:
                    raise AttributeError(f"TensorRT {version}: {name} has no {attribute!r}")
                try:
                    return super().__getattribute__(attribute)
                except AttributeError:
                    if attribute in listed:
                        raise NotImplementedError(f"{name}.{attribute} is real, the double has none") from None
                    raise

            def __setattr__(self, attribute: str, value: Any) -> None:
                if type(self) is Limited and not attribute.startswith("_") and attribute not in listed:
                    raise AttributeError(f"TensorRT {version}: {name} has no {attribute!r} to set")
                super().__setattr__(attribute, value)

        Limited.__name__ = name
        return Limited

    def enum(name: str) -> Any:
        members = [n for n in names[name].split() if n not in ("name", "value")]
        return types.SimpleNamespace(**{member: _Member(member, i) for i, member in enumerate(members)})

    def offer(name: str, value: Any) -> None:
        if name in allowed:
            setattr(module, name, value)

    for name in ("NetworkDefinitionCreationFlag", "BuilderFlag", "MemoryPoolType", "TensorIOMode", "DataType"):
        offer(name, enum(name))

    class Log:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self, *args: Any) -> None:
            pass

    logs = limited("ILogger", Log)
    offer("ILogger", logs)
    offer("Logger", logs)
    if "IProgressMonitor" in names:
        offer("IProgressMonitor", limited("IProgressMonitor", type("Monitor", (), {})))

    class Layer:
        def __init__(self, name: str) -> None:
            self.name = name

    class Network:
        def __init__(self, flags: int) -> None:
            self._flags, self._graph, self._layers = flags, b"", ()

        num_layers = property(lambda self: len(self._layers))

        def get_layer(self, index: int) -> Any:
            return layers(self._layers[index])

    class Fault:
        def __init__(self, said: str) -> None:
            self._said = said

        def desc(self) -> str:
            return self._said

        def node(self) -> int:
            return 3

        def node_name(self) -> str:
            return "Conv_3"

        def node_operator(self) -> str:
            return "Conv"

    class Parser:
        def __init__(self, network: Any, logger: Any) -> None:
            self._network, self._faults = network, []

        num_errors = property(lambda self: len(self._faults))

        def get_error(self, index: int) -> Any:
            return self._faults[index]

        def parse(self, model: bytes) -> bool:
            kinds = module.NetworkDefinitionCreationFlag
            if version.startswith("8.") and not self._network._flags >> kinds.EXPLICIT_BATCH.value & 1:
                self._faults = [faults("this parser only supports explicit batch")]
            try:
                _session(model)
            except Exception as error:
                self._faults = [faults(str(error))]
            self._network._graph, self._network._layers = model, ("Conv_3", "Relu_4")
            return not self._faults

    class Cache:
        def __init__(self, contents: bytes) -> None:
            self._contents = contents

        def serialize(self) -> bytes:
            return self._contents

    class Config:
        def __init__(self) -> None:
            self._set: Set[str] = {"TF32"}
            self._cache: Any = None
            self._pools: Dict[str, int] = {}

        def set_flag(self, flag: Any) -> None:
            self._set.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self._set.discard(flag.name)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self._pools[pool.name] = pool_size

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            return caches(serialized_timing_cache)

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            assert ignore_mismatch is False, "a timing cache of another GPU must never be forced"
            if not cache._contents.startswith(b"timing") and cache._contents:
                return False
            self._cache = cache
            return True

        def get_timing_cache(self) -> Any:
            return caches(self._cache._contents or b"timing of " + version.encode())

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int = 0) -> Any:
            kinds = module.NetworkDefinitionCreationFlag
            known = [getattr(kinds, n).value for n in vars(kinds)]
            assert all(bit in known for bit in range(8) if flags >> bit & 1)
            module.last_flags = [n for n in vars(kinds) if flags >> getattr(kinds, n).value & 1]
            return networks(flags)

        def create_builder_config(self) -> Any:
            return configs()

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            module.last_config = config
            monitor = config.__dict__.get("progress_monitor")
            if monitor:
                monitor.phase_start("Building engine", None, 3)
                for step in range(3):
                    if not monitor.step_complete("Building engine", step):
                        return None
                monitor.phase_finish("Building engine")
            if "build" in behaviour:
                return behaviour["build"](self._logger)
            return _MAGIC + version.encode() + b"\n" + network._graph

    class Runtime:
        def __init__(self, logger: Any) -> None:
            pass

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            head, _, graph = bytes(serialized_engine).partition(b"\n")
            module.read = getattr(module, "read", 0) + 1
            if head != _MAGIC + version.encode() or module.read <= behaviour.get("unreadable", 0):
                return None
            return engines(graph)

    class CudaEngine:
        def __init__(self, graph: bytes) -> None:
            self._session = _session(graph)
            self._nodes = {n.name: (n, "INPUT") for n in self._session.get_inputs()}
            self._nodes.update({n.name: (n, "OUTPUT") for n in self._session.get_outputs()})

        num_io_tensors = property(lambda self: len(self._nodes))

        def get_tensor_name(self, index: int) -> str:
            return str(list(self._nodes)[index])

        def get_tensor_mode(self, name: str) -> Any:
            return getattr(module.TensorIOMode, self._nodes[name][1])

        def get_tensor_shape(self, name: str) -> Any:
            return tuple(self._nodes[name][0].shape)

        def get_tensor_dtype(self, name: str) -> Any:
            kind = self._nodes[name][0].type
            return getattr(module.DataType, {"tensor(float)": "FLOAT", "tensor(uint8)": "UINT8"}[kind])

        def create_execution_context(self) -> Any:
            return None if behaviour.get("no_context") else contexts(self)

    class Context:
        def __init__(self, engine: Any) -> None:
            self._engine, self._addresses = engine, {}

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._addresses[name] = memory
            return name in self._engine._nodes

        def execute_async_v3(self, stream_handle: int) -> bool:
            if behaviour.get("execution_fails"):
                return False
            STREAMS[stream_handle].append(self._compute)
            return True

        def _compute(self) -> None:
            feeds = {}
            for name, (node, mode) in self._engine._nodes.items():
                if mode == "INPUT":
                    dtype = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}[node.type]
                    size = int(np.prod(node.shape)) * np.dtype(dtype).itemsize
                    held = ctypes.string_at(self._addresses[name], size)
                    feeds[name] = np.frombuffer(held, dtype).reshape(node.shape)
            results = self._engine._session.run(None, feeds)
            for node, result in zip(self._engine._session.get_outputs(), results):
                ctypes.memmove(self._addresses[node.name], result.ctypes.data, result.nbytes)

    layers, networks = limited("ILayer", Layer), limited("INetworkDefinition", Network)
    faults = limited("ParserError", Fault)
    caches, configs = limited("ITimingCache", Cache), limited("IBuilderConfig", Config)
    engines, contexts = limited("ICudaEngine", CudaEngine), limited("IExecutionContext", Context)
    offer("Builder", limited("Builder", Builder))
    offer("OnnxParser", limited("OnnxParser", Parser))
    offer("Runtime", limited("Runtime", Runtime))
    return module


class _Member:
    """One member of a pybind11 enumeration."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value

    def __int__(self) -> int:
        return self.value


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
