"""Exporters: a table of target -> (module, third-party import, how to get it). Adding one is a row and a file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from edgetl.errors import ExportError, MissingPackageError

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["EXPORTERS", "export", "export_onnx"]


class _Exporter(Protocol):
    def export(self, extractor: Extractor, batch: int) -> bytes: ...


# target -> (module with `export`, third-party import, how to get it)
EXPORTERS: dict[str, tuple[str, str, str]] = {
    "onnx": ("edgetl.export.onnx", "onnx", 'pip install "edgetl"'),
}


def export(extractor: Extractor, target: str = "onnx", batch: int = 1) -> bytes:
    """The extractor as bytes for `target`, with a static batch of N samples; raises ExportError."""
    if target not in EXPORTERS:
        raise ExportError(f"no exporter for {target!r}; there are {sorted(EXPORTERS)}")
    module, package, get = EXPORTERS[target]
    try:
        exporter = cast(_Exporter, importlib.import_module(module))
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"exporting to {target} needs {error.name}: {get}") from error
    return exporter.export(extractor, batch)


def export_onnx(extractor: Extractor, batch: int = 1) -> bytes:
    """One self-contained ONNX graph: uint8 (N, H, W, C) or float32 (N, *shape) -> `features` float32 (N, D)."""
    return export(extractor, "onnx", batch)
