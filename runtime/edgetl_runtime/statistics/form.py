"""The stored form of statistics: which arrays there are, of what shape, and every check on loading."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.errors import LabelError, StatisticsError
from edgetl_runtime.labels import checked_label, ordered_labels
from edgetl_runtime.numerics import pack_symmetric, unpack_symmetric
from edgetl_runtime.statistics.moments import Moments

__all__ = ["FORMAT", "check_form", "packed_moments", "unpacked_moments"]

FORMAT = 1

Array = NDArray[np.float64]


def check_form(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """Raises StatisticsError unless these are arrays and metadata as `Statistics` writes them."""
    problem = _problem_of_metadata(metadata)
    if problem is not None:
        raise StatisticsError(f"these are not statistics of format {FORMAT}: {problem}")
    dim, classes, q = metadata["dim"], metadata["classes"], metadata["target_count"]
    shapes: Dict[str, Tuple[int, ...]] = {"shift": (dim,)} if "shift" in arrays else {}
    if classes:
        shapes.update({name: (len(classes), dim) for name in ("sums", "squares", "directions")})
        shapes["counts"] = (len(classes),)
    packed = (dim * (dim + 1) // 2,)
    rows = {"count": (1,), "sum": (dim,), "gram": packed, "cubic": (dim,), "quartic": (1,)}
    for prefix, wanted in (("", metadata["labels"] is not None), ("unlabelled_", "unlabelled_count" in arrays)):
        if wanted:
            shapes.update({prefix + name: shape for name, shape in rows.items()})
    if q:
        shapes.update(target_sum=(q,), target_gram=(q, q), target_cross=(dim, q))
    _check_arrays(arrays, shapes)


def packed_moments(moments: Optional[Moments], prefix: str) -> Dict[str, Array]:
    """Named arrays of moments, none for None."""
    if moments is None:
        return {}
    return {
        prefix + "count": np.array([moments.count]),
        prefix + "sum": moments.sum.copy(),
        prefix + "gram": pack_symmetric(moments.gram),
        prefix + "cubic": moments.cubic.copy(),
        prefix + "quartic": np.array([moments.quartic]),
    }


def _problem_of_metadata(metadata: Mapping[str, Any]) -> Optional[str]:
    keys = {"format", "dim", "feature_space", "classes", "labels", "target_count"}
    if not isinstance(metadata, Mapping) or set(metadata) != keys:
        return f"the keys are not exactly {sorted(keys)}"
    dim, q, classes = metadata["dim"], metadata["target_count"], metadata["classes"]
    if metadata["format"] != FORMAT:
        return f"the format is {metadata['format']!r}"
    if type(dim) is not int or not 0 < dim < 2**20 or type(q) is not int or not 0 <= q < 2**20:
        return f"dim is {dim!r} and target_count {q!r}"
    if not (metadata["feature_space"] is None or isinstance(metadata["feature_space"], str)):
        return "feature_space is neither null nor a string"
    if metadata["labels"] not in (None, True, False) or (metadata["labels"] is None and (q or classes)):
        return f"labels is {metadata['labels']!r}"
    if not isinstance(classes, list) or (classes and not metadata["labels"]):
        return "classes is not a list, or there are classes without labels"
    try:
        if list(ordered_labels([checked_label(label) for label in classes])) != classes:
            return "classes are not distinct and in order"
    except LabelError as error:
        return str(error)
    return None


def _check_arrays(arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, Tuple[int, ...]]) -> None:
    if set(arrays) != set(shapes):
        raise StatisticsError(f"statistics need exactly the arrays {sorted(shapes)}; got {sorted(arrays)}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.dtype != np.float64 or array.shape != shape:
            raise StatisticsError(f"{name} must be float64 {shape}; got {array.dtype} {array.shape}")
        if not np.isfinite(array).all():
            raise StatisticsError(f"{name} holds NaN or infinite values")
    for name in ("counts", "count", "unlabelled_count", "squares", "quartic", "unlabelled_quartic"):
        if name in arrays and (arrays[name] < 0).any():
            raise StatisticsError(f"{name} holds negative values")
    if "counts" in arrays and abs(arrays["counts"].sum() - arrays["count"][0]) > 1e-6 * arrays["count"][0]:
        raise StatisticsError("the counts of the classes do not add up to the count of all samples")


def unpacked_moments(arrays: Mapping[str, NDArray[Any]], prefix: str, dim: int) -> Optional[Moments]:
    """The moments of `packed_moments`, None where there are none."""
    if prefix + "count" not in arrays:
        return None
    gram = unpack_symmetric(arrays[prefix + "gram"], dim)
    if (np.diagonal(gram) < 0).any():
        raise StatisticsError(f"{prefix}gram has negative squares on its diagonal")
    return Moments(
        float(arrays[prefix + "count"][0]),
        np.array(arrays[prefix + "sum"]),
        gram,
        np.array(arrays[prefix + "cubic"]),
        float(arrays[prefix + "quartic"][0]),
    )
