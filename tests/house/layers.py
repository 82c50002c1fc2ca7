"""The import rules of both packages, as tables and as functions from modules to complaints.

A new room of the runtime gets its level in LEVELS; an import between two rooms of one level is written into
SIDEWAYS, or refused.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator

from tests.house.source import Import, Module, called_name, dotted, room_of

LEVELS = {
    "errors": 0, "types": 0, "numerics": 0, "labels": 0, "documents": 0, "terminal": 0, "arguments": 0,
    "statistics": 1, "heads": 1, "adapt": 1, "drift": 1, "guard": 1, "preprocess": 1, "framing": 1,
    "reservoir": 1, "outliers": 1, "windows": 1, "smoothing": 1, "text": 1,
    "bundle": 2, "store": 2, "engines": 2, "sources": 2, "sinks": 2, "board": 2, "blas": 2, "installation": 2,
    "trust": 2, "extractor": 2, "learner": 2, "watchdog": 2, "out_files": 2,
    "session": 3, "live": 3, "opening": 3, "serving": 3, "bench": 3, "teaching": 3,
    "answering": 3, "merging": 3, "doctor": 3, "updating": 3, "observing": 3, "releases": 3, "switching": 3,
    "cli": 4, "__init__": 4,
}  # fmt: skip

SIDEWAYS = {
    ("labels", "errors"), ("labels", "types"),
    ("preprocess", "windows"), ("preprocess", "text"),
    ("heads", "statistics"), ("heads", "reservoir"), ("adapt", "statistics"), ("drift", "statistics"),
    ("guard", "statistics"),
    ("outliers", "statistics"), ("outliers", "heads"),
    ("drift", "heads"), ("drift", "outliers"), ("adapt", "heads"), ("adapt", "reservoir"), ("adapt", "drift"),
    ("sinks", "sources"), ("store", "bundle"), ("installation", "bundle"),
    ("trust", "bundle"), ("trust", "installation"),
    ("extractor", "bundle"), ("extractor", "engines"), ("learner", "bundle"),
    ("opening", "session"), ("opening", "serving"), ("opening", "updating"), ("session", "updating"),
    ("opening", "releases"), ("opening", "switching"), ("updating", "releases"), ("switching", "updating"),
    ("switching", "teaching"),
    ("observing", "teaching"), ("session", "observing"), ("opening", "observing"),
    ("updating", "teaching"), ("session", "teaching"), ("merging", "teaching"),
    ("session", "answering"), ("live", "session"), ("bench", "serving"), ("bench", "doctor"),
    ("cli", "__init__"),
}  # fmt: skip

# What the runtime may import beside the standard library: anywhere, or in one file only.
RUNTIME_THIRD_PARTY = {"numpy", "PIL", "safetensors"}
OWN_FILES = {
    "onnxruntime": {"edgetl_runtime.engines.onnxruntime_engine"},
    "openvino": {"edgetl_runtime.engines.openvino_engine"},
    "tensorrt": {"edgetl_runtime.engines.tensorrt_engine"},
    "cv2": {"edgetl_runtime.sources.opencv_feed"},
    "lz4": {"edgetl_runtime.sources.mcap_feed"},
    "mcap": {"edgetl_runtime.sources.mcap_feed", "edgetl_runtime.sinks.recorder"},
    "mcap_ros2": {
        "edgetl_runtime.sources.mcap_feed", "edgetl_runtime.sinks.recorder", "edgetl_runtime.sinks.decisions",
    },
    "paho": {"edgetl_runtime.sinks.mqtt"},
    "rclpy": {"edgetl_runtime.sinks.ros2_node"},
    "builtin_interfaces": {"edgetl_runtime.sinks.ros2_node"},
    "std_msgs": {"edgetl_runtime.sinks.ros2_node"},
    "vision_msgs": {"edgetl_runtime.sinks.ros2_node"},
    "rich": {"edgetl_runtime.cli.view"},
    "rosbags": {"edgetl_runtime.sources.bag_feed"},
    "serial": {"edgetl_runtime.sources.serial_port"},
    "tokenizers": {"edgetl_runtime.text.tokenizing"},
    "zstandard": {"edgetl_runtime.sources.mcap_feed"},
    "tomli": {"edgetl_runtime.sources.schema_files"},
    "cryptography": {"edgetl_runtime.bundle.signature"},
}
# Engines in the host: it runs extractors through the runtime's own adapters. Only a graph that is not one
# yet, a user's own before it is cut, is evaluated where it is taken apart.
HOST_ENGINES = {"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"}
# Its quantizer runs nothing on a device.
HOST_OWN_FILES = {
    "onnxruntime": {
        "edgetl.export.graph", "edgetl.features",
        "edgetl.quantize.graph", "edgetl.quantize.half", "edgetl.quantize.int8",
    },
}  # fmt: skip

# Costs a second or more to import: never as `import edgetl` or `edgetl --help` loads.
HEAVY = {
    "torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "sklearn", "scipy", "mlxtend",
    "matplotlib", "pandas", "nncf", "accelerate",
}  # fmt: skip

# A pure module sees no file, clock, thread, environment or global random state.
IMPURE_MODULES = {
    "asyncio", "concurrent", "ctypes", "datetime", "fcntl", "glob", "http", "io", "mmap", "multiprocessing",
    "os", "pathlib", "queue", "random", "secrets", "select", "shutil", "signal", "socket", "sqlite3",
    "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_NUMPY = {
    "fromfile", "genfromtxt", "load", "loadtxt", "memmap", "save", "savetxt", "savez", "savez_compressed",
}  # fmt: skip
PURE_RANDOM = {"BitGenerator", "Generator", "PCG64", "Philox", "SeedSequence", "default_rng"}

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "manager", "managers", "misc"}
MOST_LINES = 400


def known_names(modules: Iterable[Module]) -> frozenset[str]:
    return frozenset(module.name for module in modules)


def unregistered_rooms(modules: Iterable[Module]) -> list[str]:
    return [
        f"{module.name}: the room {module.room!r} has no level; give it one in LEVELS, tests/house/layers.py"
        for module in modules
        if module.package == "edgetl_runtime" and module.room not in LEVELS
    ]


def stale_grants(modules: list[Module]) -> list[str]:
    """What these lists allow is there: every room, every import sideways, every file that is named for a library."""
    known = known_names(modules)
    inside = [module for module in modules if module.package == "edgetl_runtime"]
    used = {(module.room, room_of(item.target)) for module in inside for item in module.imports(known)}
    complaints = [f"LEVELS: there is no room {room!r}" for room in set(LEVELS) - {module.room for module in inside}]
    complaints += [f"SIDEWAYS: {one} imports nothing of {other}" for one, other in SIDEWAYS - used]
    tops = {module.name: {item.top for item in module.imports(known)} for module in modules}
    owned = [(file, library) for rows in (OWN_FILES, HOST_OWN_FILES) for library in rows for file in rows[library]]
    return complaints + [f"{file} does not import {name}" for file, name in owned if name not in tops.get(file, ())]


def upward_imports(modules: list[Module]) -> list[str]:
    """In the runtime a room imports lower levels, itself, and what SIDEWAYS grants."""
    known = known_names(modules)
    return list(_upward_imports(modules, known))


def _upward_imports(modules: list[Module], known: frozenset[str]) -> Iterator[str]:
    for module in modules:
        for item in module.imports(known):
            if item.top != "edgetl_runtime" or module.package != "edgetl_runtime":
                continue
            room = room_of(item.target)
            if room == module.room or module.room == "__init__" or not {room, module.room} <= LEVELS.keys():
                continue
            mine, its = LEVELS[module.room], LEVELS[room]
            if its > mine or (its == mine and (module.room, room) not in SIDEWAYS):
                yield _at(
                    module, item, f"level {mine} imports {item.target} of level {its}; only lower levels, or SIDEWAYS"
                )


def sideways_cycles(edges: Iterable[tuple[str, str]] = SIDEWAYS) -> list[str]:
    """SIDEWAYS must stay an order, and inside one level."""
    edges = set(edges)
    complaints = [
        f"SIDEWAYS {one} -> {other} joins two levels" for one, other in edges if LEVELS[one] != LEVELS[other]
    ]
    reached = set(edges)
    while True:
        further = {(a, d) for a, b in reached for c, d in edges if b == c} - reached
        if not further:
            break
        reached |= further
    return complaints + [f"SIDEWAYS goes in a circle through {a}" for a, b in sorted(reached) if a == b]


def imports_against_the_stream(modules: list[Module]) -> list[str]:
    """The runtime never imports the host, and nobody but `__main__` imports a cli."""
    known = known_names(modules)
    complaints = []
    for module in modules:
        for item in module.imports(known):
            if module.package == "edgetl_runtime" and item.top == "edgetl":
                complaints.append(_at(module, item, "the runtime imports the host"))
            parts = item.target.split(".")
            if parts[0] in ("edgetl", "edgetl_runtime") and parts[1:2] == ["cli"]:
                inside = module.package == parts[0] and module.room in ("cli", "__main__")
                if not inside:
                    complaints.append(_at(module, item, "only __main__ imports a cli"))
    return complaints


def third_party_out_of_place(modules: list[Module], host_dependencies: set[str]) -> list[str]:
    """`host_dependencies` are the import names that the host's pyproject.toml declares."""
    complaints = []
    for module in modules:
        for item in module.imports():  # tomllib is Python's own from 3.11 on, and imported only there
            if item.top in sys.stdlib_module_names | {"tomllib"} or item.top in ("edgetl", "edgetl_runtime", ""):
                continue
            if module.package == "edgetl_runtime":
                allowed = item.top in RUNTIME_THIRD_PARTY or module.name in OWN_FILES.get(item.top, ())
                why = f"{item.top} is for {sorted(OWN_FILES.get(item.top, [])) or 'nobody in the runtime'}"
            elif item.top in HOST_ENGINES:
                allowed = module.name in HOST_OWN_FILES.get(item.top, ())
                why = f"engine {item.top} outside its own file: go through edgetl_runtime.engines"
            else:
                allowed = item.top in host_dependencies
                why = f"{item.top} is not a dependency that pyproject.toml declares"
            if not allowed:
                complaints.append(_at(module, item, why))
    return complaints


def heavy_imports_on_load(modules: list[Module]) -> list[str]:
    return [
        _at(module, item, f"{item.top} is imported as the module loads; import it where it is used")
        for module in modules
        if module.package == "edgetl"
        for item in module.imports()
        if item.eager and item.top in HEAVY
    ]


def eager_package_faces(modules: list[Module]) -> list[str]:
    """`edgetl/__init__` and `edgetl_runtime/__init__` load no module of theirs before it is asked for."""
    return [
        _at(module, item, "the package imports this as it loads; resolve it in __getattr__")
        for module in modules
        if module.room == "__init__"
        for item in module.imports()
        if item.eager and item.top in ("edgetl", "edgetl_runtime")
    ]


def impurities(modules: list[Module]) -> list[str]:
    complaints = []
    for module in modules:
        if module.package != "edgetl_runtime" or LEVELS.get(module.room, 9) > 1:
            continue
        for item in module.imports():
            if item.top in IMPURE_MODULES and not item.typing:
                complaints.append(_at(module, item, f"a pure module imports {item.top}"))
            if item.target == "numpy.random" and not item.typing:
                complaints.append(_at(module, item, "say np.random.Generator, so that this test sees it"))
        complaints += [
            f"{module.name}:{node.lineno}: a pure module uses {what}"
            for node in ast.walk(module.tree)
            if (what := _impurity(node))
        ]
    return complaints


def _impurity(node: ast.AST) -> str:
    if isinstance(node, ast.Call):
        name = called_name(node)
        if name in ("open", "print", "input") or name.endswith("Image.open"):
            return f"{name}()"
        if name.endswith("random.default_rng") and not (node.args or node.keywords):
            return "default_rng() without a seed"
        if isinstance(node.func, ast.Attribute) and node.func.attr == "tofile":
            return "tofile()"
    if isinstance(node, ast.Attribute):
        name = dotted(node)
        for prefix in ("np", "numpy"):
            if name.startswith(f"{prefix}.random.") and name.split(".")[2] not in PURE_RANDOM:
                return f"{name}: global random state; take a Generator"
            if name in {f"{prefix}.{reader}" for reader in IMPURE_NUMPY}:
                return name
    return ""


def prints(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}:{node.lineno}: print() outside a cli; log, raise or return"
        for module in modules
        if module.room != "cli"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and called_name(node) == "print"
    ]


def vague_names(names: Iterable[str]) -> list[str]:
    return [
        f"{name}: a module is named for what it does, not {part!r}"
        for name in names
        for part in name.split(".")
        if part.lstrip("_") in VAGUE_NAMES
    ]


def long_files(sizes: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{name}: {lines} lines; at most {MOST_LINES}" for name, lines in sizes if lines > MOST_LINES]


def _at(module: Module, item: Import, why: str) -> str:
    return f"{module.name}:{item.line}: {why}"
