"""Everything that is made of a safetensors file: heads, guard sets, golden samples, and what a state folder keeps."""

from __future__ import annotations

import contextlib
import functools
import json
from typing import Any, Callable, List, Tuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_all", "seeds"]

_DIM, _OUTPUTS = 6, 2
_LABELS = ("3", "5", "8")


def read_all() -> Callable[[bytes], object]:
    """A function that gives one file to every reader; one that refuses does not keep it from the others."""
    from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember
    from edgetl_runtime.bundle.tensors import unpack_tensors
    from edgetl_runtime.errors import EdgetlError
    from edgetl_runtime.learner import Learner
    from edgetl_runtime.observing import ObservePolicy
    from edgetl_runtime.observing.seen import Seen
    from edgetl_runtime.store import Folded
    from edgetl_runtime.teaching import unpack_sums
    from edgetl_runtime.teaching.fitted import unpack_fitted

    from tests.runtime.head_members import SPACE

    probe = np.ones((1, _DIM), np.float32)
    dims = {"main": _DIM}

    def head(data: bytes) -> None:
        member = HeadMember.unpack(data, "x", SPACE, _DIM)
        member.factory.decision(probe)
        with contextlib.suppress(TypeError, ValueError):  # as it promises; the golden samples tell it then
            Learner(member).check()

    def fitted(data: bytes) -> None:
        found = unpack_fitted(data, "x", SPACE, _DIM)
        found.head.decision(probe)
        found.outlier(probe)

    readers: List[Callable[[bytes], object]] = [
        head,
        fitted,
        lambda data: GuardSet.unpack(data, "x", dims, len(_LABELS)),
        lambda data: GuardSet.unpack(data, "x", dims, 0, _OUTPUTS),
        lambda data: GoldenSamples.unpack(data, "x", dims, len(_LABELS)),
        lambda data: unpack_sums(Folded(0, 0, state=data)),
        lambda data: Seen(_DIM, ObservePolicy()).unpack(data),
    ]

    def read(data: bytes) -> None:
        with contextlib.suppress(EdgetlError):
            unpack_tensors(data, "x")
            for reader in readers:
                with contextlib.suppress(EdgetlError):
                    reader(data)

    return read


def _samples() -> Tuple[NDArray[np.float32], List[str]]:
    """A few handwritten digits of three classes, features (N, D)."""
    from tests.runtime.head_members import digits

    features, labels = digits()
    rows = [row for row, label in enumerate(labels) if label in _LABELS][:24]
    return np.ascontiguousarray(features[rows][:, 18 : 18 + _DIM]), [labels[row] for row in rows]


@functools.lru_cache(maxsize=1)
def seeds() -> Tuple[bytes, ...]:
    """One file of every kind, small."""
    from edgetl_runtime.bundle.members import GoldenSamples, GuardSet
    from edgetl_runtime.bundle.tensors import pack_tensors
    from edgetl_runtime.labels import targets_text
    from edgetl_runtime.learner import Learner
    from edgetl_runtime.observing import ObservePolicy
    from edgetl_runtime.observing.seen import Seen
    from edgetl_runtime.teaching import pack_sums
    from edgetl_runtime.teaching.fitted import pack_fitted

    from tests.runtime.head_members import HEAD_NAMES, member, target_member

    features, labels = _samples()
    targets = np.stack([features[:, 0], features.sum(axis=1)], axis=1).astype(np.float64)
    found = [pack_tensors({"a": np.ones((2, 3), np.float32), "b": np.zeros((0, 5))}, {"x": [1, {"y": None}]})]
    members: List[Any] = [member(name, features, labels, room=24) for name in HEAD_NAMES]
    members += [target_member(name, features, targets) for name in ("ridge", "ridge_rp")]
    for one in members:
        learner = Learner(one)
        taught = labels if not one.target_count else [targets_text(row) for row in targets.tolist()]
        learner.add(features[:8], taught[:8])
        found += [one.pack(), pack_sums(learner.sums()), pack_fitted(learner.fit())]
    seen = Seen(_DIM, ObservePolicy())
    for number, row in enumerate(features[:6]):
        seen.add(row, 100.0 * number)
    indices = np.array([_LABELS.index(label) for label in labels[:4]], np.int64)
    some = {"main": features[:4]}
    found += [
        seen.pack(),
        GuardSet(some, indices).pack(),
        GuardSet(some, np.zeros(4, np.int64), targets[:4]).pack(),
        GoldenSamples(tuple(features[:4]), some, indices).pack(),
    ]
    assert all(json.loads(one[8 : 8 + int.from_bytes(one[:8], "little")]) for one in found)
    return tuple(found)
