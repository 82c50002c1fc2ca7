"""Records as JSON lines."""

from __future__ import annotations

import json
import math
from typing import Any, Mapping

__all__ = ["line_of"]


def line_of(record: Mapping[str, Any]) -> str:
    """One line with its end; what is no number in JSON (NaN, infinity) becomes null."""
    try:
        return json.dumps(record, allow_nan=False, default=str) + "\n"
    except ValueError:
        return json.dumps(_finite(record), default=str) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
