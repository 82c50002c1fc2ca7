"""What was learnt, put together again from the store: the sum of the oldest samples, and each of the others."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from numpy.typing import NDArray

from edgetl_runtime.bundle.members import HeadMember, SourceSamples
from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors
from edgetl_runtime.errors import EdgetlError, StateCorruptError
from edgetl_runtime.learner import Learner
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.store import TRAIN, Folded, Store

__all__ = ["Sum", "fold_oldest", "learner_of", "pack_sums", "unpack_sums"]

Sum = Union[Statistics, Reservoir]


def learner_of(
    store: Store, member: HeadMember, upto: int = 2**62, without: Sequence[int] = (),
    anchor: Optional[SourceSamples] = None,
) -> Tuple[Learner, int, int]:  # fmt: skip
    """A learner of every intact training sample with id <= `upto` except those; how many, and the last one's id.

    The folded sum is part of it whenever there is one. `anchor` as of `Learner`.
    """
    learner = Learner(member, anchor)
    folded = store.folded.get()
    count = last = 0
    if folded is not None:
        learner.add_sums(unpack_sums(folded))
        count, last = folded.samples, folded.upto
    for block in store.samples.load(upto=upto, without=without):
        part = block.only(TRAIN)
        if part.ids:
            learner.add(part.features, part.labels, part.ids)
            count, last = count + len(part.ids), max(last, part.ids[-1])
    return learner, count, last


def fold_oldest(store: Store, member: HeadMember, count: int) -> int:
    """Put about `count` of the oldest training samples into the sum and drop their features; how many.

    Exact for heads that come from sums alone: nothing that was learnt is lost, but one of those samples can no
    longer be forgotten alone.
    """
    before = store.folded.get() or Folded(0, 0)
    learner = Learner(member)
    if before.samples:
        learner.add_sums(unpack_sums(before))
    ids: List[int] = []
    labels = dict(before.labels)
    sources = set(before.sources)
    for block in store.samples.load():
        part = block.only(TRAIN)
        if part.ids:
            learner.add(part.features, part.labels, part.ids)
        for number, label, source in zip(part.ids, part.labels, part.sources):
            ids.append(number)
            kind = member.counted_as(label)
            labels[kind] = labels.get(kind, 0) + 1
            sources.add(source)
        if len(ids) >= count:
            break
    if not ids:
        return 0
    upto, space = max(ids[-1], before.upto), str(member.source.feature_space)
    folded = Folded(upto, before.samples + len(ids), labels, tuple(sources), space, pack_sums(learner.sums()))
    with store.change():
        store.folded.put(folded)
        store.samples.delete(ids)
    return len(ids)


def pack_sums(sums: Mapping[str, Sum]) -> bytes:
    """Safetensors of the sums of a learner."""
    tensors: Dict[str, NDArray[Any]] = {}
    for name, part in sums.items():
        tensors.update({f"{name}.{key}": array for key, array in part.state().items()})
    kinds = {name: isinstance(part, Reservoir) for name, part in sums.items()}
    return pack_tensors(tensors, {name: [kinds[name], part.metadata()] for name, part in sums.items()})


def unpack_sums(folded: Folded) -> Dict[str, Sum]:
    """The sums of a learner, as they were packed; raises StateCorruptError."""
    what = "the sum of the oldest samples"
    try:
        tensors, metadata = unpack_tensors(folded.state, what)
        sums: Dict[str, Sum] = {}
        for name, (samples, fields) in metadata.items():
            arrays = {key[len(name) + 1 :]: array for key, array in tensors.items() if key.startswith(f"{name}.")}
            sums[name] = Reservoir.from_state(arrays, fields) if samples else Statistics.from_state(arrays, fields)
    except (EdgetlError, AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise StateCorruptError(f"{what} cannot be read: {error}") from error
    return sums
