"""The ways to serve a bundle on a board, in the order in which they are to be tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from edgetl_runtime.board import BoardRow
from edgetl_runtime.bundle.manifest import Manifest, Variant
from edgetl_runtime.bundle.plans import ANY_DEVICE, EngineChoice
from edgetl_runtime.errors import EngineError

__all__ = ["Way", "list_ways", "meanwhile"]

EVERYWHERE = "onnxruntime"
# What a variant is called -> what TensorRT before strong typing must be allowed. Whatever else there is is quantized.
_TENSORRT_PRECISIONS = {"float32": "fp32", "fp32": "fp32", "float16": "fp16", "fp16": "fp16"}


@dataclass(frozen=True)
class Way:
    """A variant in an engine with the engine's options, and how far its golden features may be off."""

    variant: Variant
    engine: str
    feature_tolerance: float
    options: Dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = "".join(f" {name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.variant.name} in {self.engine}{told}"


def list_ways(
    manifest: Manifest,
    board: Optional[BoardRow] = None,
    *,
    engine: Optional[str] = None,
    variant: Optional[str] = None,
    options: Optional[Mapping[str, Any]] = None,
    held: Optional[Variant] = None,
) -> Tuple[Way, ...]:
    """The bundle's plan for that board (None: one that no profile has), or for any.

    `engine` (with its `options`) and `variant` are the user's own choice and leave nothing else; `held` is the
    variant whose features a state holds, which takes the place of those that a plan would rather have. Raises
    BundleFormatError for a variant that the bundle has not, EngineError for options of no engine.
    """
    if options and engine is None:
        raise EngineError(f"options {sorted(options)} are of an engine: say of which one, such as engine='onnxruntime'")
    choices = list(manifest.plan(ANY_DEVICE if board is None else board.id))
    engines = list(dict.fromkeys([choice.engine for choice in choices] + [EVERYWHERE]))
    if not choices:  # format 1.0: the host measured on onnxruntime alone
        engines += [name for name in (board.engines if board else ()) if name not in engines]
        choices = [EngineChoice(manifest.variants[0].name, name, "no plan") for name in engines]
    wanted = variant or (held.name if held is not None else None)
    if wanted is not None:
        manifest.variant(wanted)
        planned = [choice for choice in choices if choice.variant == wanted]
        choices = planned + [
            EngineChoice(wanted, name, "not in the plan")
            for name in engines
            if name not in [choice.engine for choice in planned]
        ]
    if engine is not None:
        asked = EngineChoice(choices[0].variant, engine, "asked for")
        choices = [choice for choice in choices if choice.engine == engine] or [asked]
    ways: List[Way] = []
    for choice in choices:
        way = _way(manifest.variant(choice.variant), choice, board, options or {})
        if way not in ways:
            ways.append(way)
    return tuple(ways)


def meanwhile(way: Way, ways: Tuple[Way, ...]) -> Tuple[Way, ...]:
    """The ways to serve the same features while `way` is being built: those that are listed, else `EVERYWHERE`."""
    listed = tuple(other for other in ways if other.variant == way.variant and other.engine != way.engine)
    return listed or (Way(way.variant, EVERYWHERE, way.variant.feature_tolerance),)


def _way(variant: Variant, choice: EngineChoice, board: Optional[BoardRow], own: Mapping[str, Any]) -> Way:
    options: Dict[str, Any] = {}
    if choice.engine == "tensorrt":
        options["precision"] = _TENSORRT_PRECISIONS.get(variant.precision, "int8")
        if board is not None and board.workspace_bytes is not None:
            options["workspace_bytes"] = board.workspace_bytes
    tolerance = variant.feature_tolerance if choice.feature_tolerance is None else choice.feature_tolerance
    return Way(variant, choice.engine, tolerance, {**options, **choice.options, **own})
