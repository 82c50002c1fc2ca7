"""The golden bundle with two variants and a plan, and engines that misbehave on purpose."""

from __future__ import annotations

import dataclasses
import sys
import types
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import numpy as np
from edgetl_runtime.bundle import EngineChoice
from edgetl_runtime.bundle.manifest import Variant
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember
from edgetl_runtime.engines import ENGINES, EngineRow, open_engine
from edgetl_runtime.heads import load_head
from edgetl_runtime.statistics import Statistics

from tests.runtime import boards, golden

MANIFEST = golden.bundle().manifest
FIRST = MANIFEST.variants[0]
SECOND = dataclasses.replace(
    FIRST,
    name="other",
    extractor="extractor.other.onnx",
    head="head.other.safetensors",
    feature_space="cd" * 32,
)
BOARD = "jetson-orin-nano-8gb"


def plan(*rows: Sequence[Any]) -> List[EngineChoice]:
    """Rows of (variant, engine), or (variant, engine, options), or (variant, engine, options, tolerance)."""
    choices = []
    for row in rows:
        variant, engine, options, tolerance = [*row, *({}, None)[len(row) - 2 :]]
        choices.append(EngineChoice(variant, engine, "for a test", dict(options), tolerance))
    return choices


def two_variants(path: Path, plans: Mapping[str, Sequence[EngineChoice]], **golden_features: Any) -> Path:
    """A bundle at `path` of variants `FIRST` and `SECOND`: one graph, two feature spaces.

    `golden_features` change the expected features (N, D) of a variant, by its name.
    """
    members = dict(golden.bundle().members)
    name, guard = "golden.safetensors", "guard.safetensors"
    samples = GoldenSamples.unpack(members[name], name, {FIRST.name: FIRST.dim}, len(MANIFEST.classes))
    kept = GuardSet.unpack(members[guard], guard, {FIRST.name: FIRST.dim}, len(MANIFEST.classes))
    features = {variant.name: samples.features[FIRST.name] for variant in (FIRST, SECOND)}
    features.update(golden_features)
    changed = {
        SECOND.extractor: members[FIRST.extractor],
        SECOND.head: _moved(members[FIRST.head], SECOND),
        name: dataclasses.replace(samples, features=features).pack(),
        guard: dataclasses.replace(kept, features=dict.fromkeys(features, kept.features[FIRST.name])).pack(),
    }
    plans = {key: tuple(rows) for key, rows in plans.items()}
    return golden.changed_bundle(path, changed, variants=(FIRST, SECOND), plans=plans)


def golden_features() -> Any:
    """Expected features (N, D) of the golden samples."""
    name = "golden.safetensors"
    data = golden.bundle().members[name]
    return GoldenSamples.unpack(data, name, {FIRST.name: FIRST.dim}, len(MANIFEST.classes)).features[FIRST.name]


def _moved(data: bytes, variant: Variant) -> bytes:
    member = HeadMember.unpack(data, FIRST.head, FIRST.feature_space, FIRST.dim)
    space = variant.feature_space
    source = Statistics.from_state(member.source.state(), {**member.source.metadata(), "feature_space": space})
    factory = load_head(member.factory.state(), {**member.factory.metadata(), "feature_space": space})
    return dataclasses.replace(member, source=source, factory=factory).pack()


def orin(root: Path) -> Path:
    """The files of a Jetson Orin Nano under `root`."""
    return boards.lay_out(root, boards.BOARDS["orin nano"])


class Double:
    """The features of onnxruntime, changed on purpose. It knows when it was closed."""

    def __init__(self, graph: bytes, description: str, change: Callable[[Any], Any] = np.asarray) -> None:
        self._engine = open_engine("onnxruntime", graph, threads=1)
        self._change = change
        self.inputs, self.outputs, self.description = self._engine.inputs, self._engine.outputs, description
        self.closed = 0

    def run(self, tensors: Dict[str, Any]) -> Dict[str, Any]:
        return {name: self._change(np.asarray(value)) for name, value in self._engine.run(tensors).items()}

    def close(self) -> None:
        self.closed += 1
        self._engine.close()


def register(monkeypatch: Any, name: str, load: Callable[..., Any], needs: str = "numpy") -> None:
    """Put an engine of that name into the table; `load` is that of its module."""
    module = types.ModuleType(f"double_engine_{name}")
    module.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(ENGINES, name, EngineRow(module.__name__, needs, f"pip install {needs}"))


def fixed(
    monkeypatch: Any, name: str, change: Callable[[Any], Any] = np.asarray, error: Optional[Exception] = None
) -> List[Double]:
    """An engine that changes features in one way, or fails to load; what was opened of it."""
    opened: List[Double] = []

    def load(graph: bytes, threads: Any, *, cache_dir: Any = None, progress: Any = None) -> Any:
        if error is not None:
            raise error
        opened.append(Double(graph, f"{name} 1.0", change))
        return opened[-1]

    register(monkeypatch, name, load)
    return opened
