"""One state from several: what each device learnt, put together exactly, in any order.

Every sample keeps its label and source, so what came from one device can be forgotten again. Learning is a
sum over samples, so the merged head is the one that a single device would have after meeting them all. Live is
what was live on each device; what a guard has not let through there is judged again here.

The folders come from other devices, so all that is taken of them is checked as if it were learnt here; one sample that
no device could have learnt, and nothing is merged. What it cannot see is a wrong label: merge whom you believe.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Dict, List, Sequence, Tuple, Union

import numpy as np

from edgetl_runtime.bundle.container import Bundle, sync_folder
from edgetl_runtime.bundle.members import HeadMember, read_head
from edgetl_runtime.errors import EdgetlError, LabelError, StateError, StateMismatchError
from edgetl_runtime.extractor import MAX_FEATURE
from edgetl_runtime.installation import adopt_bundle, make_state_folder, named_files
from edgetl_runtime.labels import parsed_targets, plain_text
from edgetl_runtime.learner import Learner
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.store import GUARD, TRAIN, Block, Folded, Generation, NewSample, Pointer, Store, open_store
from edgetl_runtime.store.faults import state_os_error
from edgetl_runtime.teaching import Sum, pack_sums, unpack_sums
from edgetl_runtime.teaching.fitted import is_anchored

__all__ = ["merge_states"]

# What Python makes of values that no device writes, wherever it meets them.
_NOT_OURS = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)


def merge_states(sources: Sequence[Union[str, Path]], out: Union[str, Path]) -> Dict[str, int]:
    """Make a new state folder of what those folders learnt; the number of samples by source folder.

    All must have the same bundle installed, or one of the same feature space: StateMismatchError otherwise.
    `out` must hold no state yet. Bundle and trusted keys are taken from the first folder, and the bundle is
    verified and its golden samples run when `out` is opened, as ever. The sources are only read. Raises StateError for
    one that holds what no device can have learnt; then there is no new state.
    """
    if len(sources) < 2:
        raise StateError("name at least two state folders to merge")
    target = make_state_folder(out)
    if named_files(target, "*"):
        raise StateError(f"{target} is not empty; merge into a new folder, nothing was changed")
    # Made beside it and renamed when whole: half a merge would serve as if it were one.
    made = target.absolute().with_name(f".{target.absolute().name}.merging")
    shutil.rmtree(str(made), ignore_errors=True)
    try:
        counts = _merge(sources, make_state_folder(made))
        made.replace(target)
        sync_folder(target.absolute().parent)
    except OSError as error:
        raise state_os_error(error, target) from error
    except _NOT_OURS as error:
        raise StateError(
            f"one of {', '.join(map(str, sources))} does not hold what a device writes ({type(error).__name__}:"
            f" {str(error)[:200]!r}); nothing was changed"
        ) from error
    finally:
        shutil.rmtree(str(made), ignore_errors=True)
    return counts


def _merge(sources: Sequence[Union[str, Path]], target: Path) -> Dict[str, int]:
    with contextlib.ExitStack() as opened:
        stores = []
        for folder in sources:
            stores.append(open_store(Path(folder), read_only=True, foreign=True))
            opened.callback(stores[-1].close)
            opened.enter_context(stores[-1].view())  # its owner may go on learning meanwhile
        space, dim = _common_space(stores, sources)
        merged = open_store(target)
        opened.callback(merged.close)
        bundle = adopt_bundle(Path(sources[0]), target, stores[0].meta("bundle"))
        member = _member_of(bundle, space, dim)
        merged.bind(space, dim)
        counts = dict(zip(map(str, sources), _copy_all(stores, merged, space, member)))
        merged.set_meta(bundle=bundle.id, feature_space=space, dim=str(dim))
        merged.log_event("merge", samples=counts)
    return counts


def _common_space(stores: Sequence[Store], sources: Sequence[Union[str, Path]]) -> Tuple[str, int]:
    first = (stores[0].meta("feature_space"), stores[0].meta("dim"))
    for store, folder in zip(stores, sources):
        if store.meta("feature_space") is None or store.meta("dim") is None:
            raise StateError(f"{folder} has no bundle installed; there is nothing to merge from it")
        if (store.meta("feature_space"), store.meta("dim")) != first:
            raise StateMismatchError(
                f"{folder} and {sources[0]} were learnt with different extractors: their features mean different"
                " things and cannot be merged; nothing was changed"
            )
    for store in stores:
        store.bind(str(first[0]), int(str(first[1])))
    return str(first[0]), int(str(first[1]))


def _member_of(bundle: Bundle, space: str, dim: int) -> HeadMember:
    for variant in bundle.manifest.variants:
        if (variant.feature_space, variant.dim) == (space, dim):
            return read_head(bundle, variant)
    raise StateMismatchError(
        f"the bundle {bundle.manifest.name!r} has no variant of the features that were learnt; nothing was changed"
    )


def _copy_all(stores: Sequence[Store], merged: Store, space: str, member: HeadMember) -> List[int]:
    """What was live on its device first, so that it can be live at once; then what waited to be judged there."""
    pointers = [store.pointer for store in stores]
    found = [store.generations.get(pointer.active) for store, pointer in zip(stores, pointers)]
    uptos = [0 if generation is None else generation.upto for generation in found]
    folded = [store.folded.get() for store in stores]
    counts = [0 if one is None else one.samples for one in folded]
    known = sum(counts)
    for store, one in zip(stores, folded):
        if one is not None:
            _check_folded(store, one, member)
    if known:
        merged.folded.put(_folded_together([one for one in folded if one is not None], space))
    for number, (store, upto) in enumerate(zip(stores, uptos)):
        copied = _copy(store, merged, 0, upto, TRAIN, member)
        counts[number] += copied
        known += copied
    # A sum that was not live as a whole cannot be told apart from what was: then all of it waits.
    waits = any(one is not None and one.upto > upto for one, upto in zip(folded, uptos))
    if known and not waits:
        last = merged.samples.last_id()
        # A head of anchored ones is anchored too, to the factory head of the bundle that they have in common.
        kind = {"anchored": any(one is not None and is_anchored(one) for one in found)}
        merged.generations.add(Generation(1, 0, "merged", last, known, space, kind))
        merged.generations.point(Pointer(active=1, newest=1, since=last))
    for number, (store, upto) in enumerate(zip(stores, uptos)):
        counts[number] += _copy(store, merged, upto, 2**62, TRAIN, member)
        counts[number] += _copy(store, merged, 0, 2**62, GUARD, member)
    return counts


def _copy(store: Store, merged: Store, since: int, upto: int, role: str, member: HeadMember) -> int:
    count = 0
    for block in store.samples.load(since, upto):
        part = block.only(role)
        _check_samples(store, part, member)
        # How they were judged was about another head.
        rows = [NewSample(label, source, role) for label, source in zip(part.labels, part.sources)]
        merged.samples.add(rows, part.features, 0)
        count += len(rows)
    return count


def _check_samples(store: Store, part: Block, member: HeadMember) -> None:
    """A row that matches its hash was written whole, by whomever."""
    usable = np.all(np.abs(part.features) <= MAX_FEATURE, axis=1)  # NaN is not either
    for position, (number, label, source) in enumerate(zip(part.ids, part.labels, part.sources)):
        try:
            if not usable[position]:
                raise LabelError(f"its features hold NaN, infinite values or values beyond {MAX_FEATURE:g}")
            _check_words([label], [source], member)
        except LabelError as error:
            raise _refused(store, f"sample {number}", error) from error


def _check_folded(store: Store, folded: Folded, member: HeadMember) -> None:
    try:
        sums = unpack_sums(folded)
        Learner(member).add_sums(sums)
        learnt = sums["learnt"]
        assert isinstance(learnt, Statistics)
        if sum(folded.labels.values()) != folded.samples or abs(learnt.count - folded.samples) > 1e-6 * folded.samples:
            raise ValueError(f"it is of {learnt.count:g} samples and says {folded.samples}")
        if not member.target_count:
            _check_words([*folded.labels, *learnt.classes], folded.sources, member)
    except (EdgetlError, KeyError, TypeError, ValueError) as error:
        raise _refused(store, "the sum of its oldest samples", error) from error


def _check_words(labels: Sequence[object], sources: Sequence[str], member: HeadMember) -> None:
    for label in labels:
        parsed_targets(str(label), member.target_count) if member.target_count else plain_text(label)
    for source in sources:
        if source:
            plain_text(source, "source")


def _refused(store: Store, what: str, error: Exception) -> StateError:
    return StateError(
        f"{store.path}: {what} is nothing that a device writes: {error}. Leave that folder out; nothing was changed"
    )


def _added(one: Sum, other: Sum) -> Sum:
    if isinstance(one, Statistics) and isinstance(other, Statistics):
        return one + other
    raise StateError(
        "the quota has made a sum of old samples in more than one of these states, and their head learns from stored"
        " samples, which do not add up; nothing was changed. Merge before that, with a larger quota_bytes"
    )


def _folded_together(parts: Sequence[Folded], space: str) -> Folded:
    sums = unpack_sums(parts[0])
    labels = dict(parts[0].labels)
    for part in parts[1:]:
        sums = {name: _added(sums[name], other) for name, other in unpack_sums(part).items()}
        for label, count in part.labels.items():
            labels[label] = labels.get(label, 0) + count
    total = sum(part.samples for part in parts)
    sources = {source for part in parts for source in part.sources}
    return Folded(total, total, labels, tuple(sorted(sources)), space, pack_sums(sums))
