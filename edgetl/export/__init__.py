"""Exporters: a table of target -> (module, third-party import, how to get it). Adding one is a row and a file.

Every target starts from the one ONNX graph that devices run, so what is checked there holds for all.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from edgetl_runtime.errors import SourceError

from edgetl.errors import ExportError, MissingPackageError

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["EXPORTERS", "export", "export_onnx", "save"]


class _Exporter(Protocol):
    def files(self, graph: bytes) -> dict[str, bytes]:
        """What `target` needs of an ONNX graph: the contents of each file, by its suffix."""


# target -> (module with `files`, third-party import, how to get it)
EXPORTERS: dict[str, tuple[str, str, str]] = {
    "onnx": ("edgetl.export.onnx", "onnx", 'pip install "edgetl"'),
    "openvino": ("edgetl.export.openvino", "openvino", 'pip install "edgetl[openvino]"'),
    "tensorrt": ("edgetl.export.tensorrt", "onnx", 'pip install "edgetl"'),
}


def export(source: Extractor | bytes, target: str = "onnx", batch: int = 1) -> dict[str, bytes]:
    """Files for `target` by their suffix, of an extractor with a static batch of N samples or of an ONNX graph.

    "onnx": the graph. "openvino": `.xml` and `.bin`, its own IR. "tensorrt": the graph, and how each JetPack builds
    its plan of it. Raises ExportError.
    """
    if target not in EXPORTERS:
        raise ExportError(f"no exporter for {target!r}; there are {sorted(EXPORTERS)}")
    module, package, get = EXPORTERS[target]
    if importlib.util.find_spec(package) is None:
        raise MissingPackageError(f"exporting to {target} needs {package}: {get}")
    exporter = cast(_Exporter, importlib.import_module(module))
    return exporter.files(source if isinstance(source, bytes) else export_onnx(source, batch))


def export_onnx(extractor: Extractor, batch: int = 1) -> bytes:
    """One self-contained ONNX graph: uint8 (N, H, W, C) or float32 (N, *shape) -> `features` float32 (N, D)."""
    from edgetl.export.onnx import trace

    return trace(extractor, batch)


def save(source: Extractor | bytes, folder: str | Path, target: str = "onnx", name: str = "extractor") -> list[Path]:
    """`export` into a folder that exists, as `name` and the suffix of each file; raises ExportError, SourceError."""
    paths = []
    for suffix, contents in export(source, target).items():
        path = Path(folder) / f"{name}{suffix}"
        try:
            path.write_bytes(contents)
        except OSError as error:
            raise SourceError(f"cannot write {path}: {error.strerror or error}") from error
        paths.append(path)
    return paths
