"""What one board can prove, as one JSON object to send back: no host name, no user, no path is in it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import time
from typing import Any, Dict, Iterable, List, Mapping, Sequence, Tuple

from edgetl_runtime.bench.rows import BenchRow
from edgetl_runtime.board import BoardFacts
from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.doctor import Diagnosis

__all__ = ["REPORT_VERSION", "device_report", "without_paths"]

REPORT_VERSION = 1
# A path in running text: words of fractions and ids (p3767-0000/-0002, OpenVINO/CPU) are none.
_PATH = re.compile(r"(?<![\w<])~?/(?:[^\s'\"`:;,()\[\]]+)")


def device_report(
    diagnosis: Diagnosis,
    bundle: Bundle,
    rows: Sequence[BenchRow],
    contract: Mapping[str, Any],
    before: BoardFacts,
    after: BoardFacts,
) -> Dict[str, Any]:
    """Board, software, golden parity and latency of every way, the contract of every engine, heat and power."""
    manifest, board = bundle.manifest, diagnosis.board
    report: Dict[str, Any] = without_paths(
        {
            "report": REPORT_VERSION,
            "day": time.strftime("%Y-%m-%d", time.gmtime()),
            "edgetl_runtime": _version(),
            "board": {
                "profile": board.identity.board,
                "because": board.identity.because,
                "model": board.identity.model,
                "compatible": list(board.identity.compatible),
                "soc": board.identity.soc,
                "jetpack": board.release.jetpack if board.release else None,
                "jetson_linux": board.release.jetson_linux if board.release else None,
                "memory_bytes": board.memory_bytes,
                "cores": board.cores,
                "online_cores": board.online_cores,
                "power_mode": board.power.current if board.power else None,
                "unread": list(board.unread),
            },
            "software": {
                "python": diagnosis.python,
                "machine": diagnosis.machine,
                "glibc": diagnosis.glibc,
                "sqlite": diagnosis.sqlite,
                "libraries": {library.name: library.version for library in diagnosis.libraries if library.found},
                "engines": [dataclasses.asdict(engine) for engine in diagnosis.engines],
            },
            "findings": [f"{finding.severity}: {finding.what}" for finding in diagnosis.findings],
            "bundle": {
                "name": manifest.name,
                "id": bundle.id,
                "format": list(manifest.format),
                "size_bytes": bundle.size_bytes,
                "variants": [
                    {"name": v.name, "precision": v.precision, "dim": v.dim, "input": list(v.input.shape)}
                    for v in manifest.variants
                ],
            },
            "ways": [{**dataclasses.asdict(row), "passed": row.passed} for row in rows],
            "contract": {engine: _contract(said) for engine, said in contract.items()},
            "temperatures": {"before": _celsius(before), "after": _celsius(after)},
            "power_mode_after": after.power.current if after.power else None,
        }
    )
    return report


def without_paths(value: Any) -> Any:
    """The same data with `<path>` for every path in its texts: they tell of users, machines and projects."""
    if isinstance(value, str):
        return _PATH.sub("<path>", value)
    if isinstance(value, Mapping):
        return {without_paths(str(key)): without_paths(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(inner) for inner in value]
    return value


def _contract(said: Mapping[str, Any]) -> Dict[str, Any]:
    if "checks" not in said:
        return {"error": said.get("error", "")}
    failed: List[Tuple[str, str]] = [(c["name"], c["complaint"]) for c in said["checks"] if not c["passed"]]
    return {"checks": len(said["checks"]), "failed": dict(failed)}


def _celsius(board: BoardFacts) -> Dict[str, Any]:
    zones: Iterable[Any] = board.zones
    return {
        zone.name: {"celsius": zone.celsius, "trips": {trip.kind: trip.celsius for trip in zone.trips}}
        for zone in zones
    }


def _version() -> str:
    try:
        return importlib.metadata.version("edgetl-runtime")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
