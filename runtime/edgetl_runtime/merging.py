"""One state from several: what each device learnt, put together exactly, in any order.

Every sample keeps its label and source, so what came from one device can be forgotten again. Learning is a
sum over samples, so the merged head is the one that a single device would have after meeting them all.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from pathlib import Path
from typing import Dict, Sequence, Tuple, Union

from edgetl_runtime.bundle.container import sync_folder
from edgetl_runtime.errors import StateError, StateMismatchError
from edgetl_runtime.installation import adopt_bundle, make_state_folder
from edgetl_runtime.store import Store, open_store
from edgetl_runtime.store.faults import state_os_error

__all__ = ["merge_states"]


def merge_states(sources: Sequence[Union[str, Path]], out: Union[str, Path]) -> Dict[str, int]:
    """Make a new state folder of what those folders learnt; the number of samples by source folder.

    All must have the same bundle installed, or one of the same feature space: StateMismatchError otherwise.
    `out` must hold no state yet. Bundle and trusted keys are taken from the first folder, and the bundle is
    verified and its golden samples run when `out` is opened, as ever. The sources are only read.
    """
    if len(sources) < 2:
        raise StateError("name at least two state folders to merge")
    target = make_state_folder(out)
    if any(target.iterdir()):
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
    finally:
        shutil.rmtree(str(made), ignore_errors=True)
    return counts


def _merge(sources: Sequence[Union[str, Path]], target: Path) -> Dict[str, int]:
    counts: Dict[str, int] = {}
    with contextlib.ExitStack() as opened:
        stores = []
        for folder in sources:
            stores.append(open_store(Path(folder), read_only=True))
            opened.callback(stores[-1].close)
            opened.enter_context(stores[-1].view())  # its owner may go on learning meanwhile
        space, dim = _common_space(stores, sources)
        bundle_id = adopt_bundle(Path(sources[0]), target, stores[0].meta("bundle"))
        merged = open_store(target)
        opened.callback(merged.close)
        merged.bind(space, dim)
        for folder, store in zip(sources, stores):
            counts[str(folder)] = _copy(store, merged)
        merged.set_meta(bundle=bundle_id, feature_space=space, dim=str(dim))
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


def _copy(store: Store, merged: Store) -> int:
    count = 0
    for labels, features, origins in store.load():
        start = 0
        for origin, run in itertools.groupby(origins):
            end = start + len(list(run))
            merged.add(labels[start:end], features[start:end], origin)
            start = end
        count += len(labels)
    return count
