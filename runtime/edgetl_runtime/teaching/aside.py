"""Forgetting in the states of a folder that are not in use: what a person wants gone is gone from all of them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edgetl_runtime.errors import UnknownSampleError
from edgetl_runtime.store import TRAIN, Generation, Pointer, Store, list_spaces, open_space, space_folder
from edgetl_runtime.teaching.fitted import is_anchored
from edgetl_runtime.teaching.forgetting import refuse_folded

__all__ = ["StatesAside"]


class StatesAside:
    """The other states of the folder that `store` lies in, opened to forget in; to be closed.

    Raises StateError when one of them cannot be opened: then nothing was forgotten anywhere.
    """

    def __init__(self, store: Store) -> None:
        self._stores: List[Store] = []
        try:
            for name in list_spaces(store.root):
                folder = space_folder(store.root, name)
                if folder != store.database.folder and (folder / store.path.name).exists():
                    self._stores.append(open_space(store.root, name))
        except BaseException:
            self.close()
            raise

    def find(
        self, sample_id: Optional[int], label: Optional[str], source: Optional[str]
    ) -> List[Tuple[Store, List[int]]]:
        """Which samples of which states the one of the three selects; raises FoldedSampleError."""
        found = []
        for store in self._stores:
            folded = store.folded.get()
            if folded is not None:
                refuse_folded(store, folded, sample_id, label, source)
            with contextlib.suppress(UnknownSampleError):
                found.append((store, store.samples.find(sample_id=sample_id, label=label, source=source)))
        return found

    def forget(self, found: Sequence[Tuple[Store, List[int]]], detail: Dict[str, Any]) -> None:
        """Delete them durably, with every generation that knew them."""
        for store, ids in found:
            _forget(store, ids, detail)

    def close(self) -> None:
        """Let go of them."""
        for store in self._stores:
            store.close()


def _forget(store: Store, ids: List[int], detail: Dict[str, Any]) -> None:
    chosen = set(ids)
    taught = [sample.id for sample in store.samples.listed() if sample.id in chosen and sample.role == TRAIN]
    oldest = min(taught) if taught else 2**62
    gone = [made.number for made in store.generations.listed() if made.upto >= oldest]
    left = [number for number in store.generations.numbers() if number not in gone]
    pointer = store.pointer
    live = store.generations.get(pointer.active) if pointer.active in gone else None
    folded = store.folded.get()
    made: Optional[Generation] = None
    if pointer.active in gone:
        parent = max((number for number in left if number < pointer.active), default=0)
        if live is not None and (folded is None or folded.upto <= live.upto):
            # Fitted from what is left when its bundle is used again.
            made = Generation(
                pointer.newest + 1, parent, "forgotten", live.upto, 0, live.feature_space,
                {**detail, "anchored": is_anchored(live)},
            )  # fmt: skip
        active = parent if made is None else made.number
        pointer = Pointer(active, parent, max(pointer.newest, active), pointer.starts, 0, "")
    else:
        pointer = replace(pointer, previous=0 if pointer.previous in gone else pointer.previous, guard="", since=0)
    with store.change():
        store.samples.delete(ids)
        store.generations.delete(gone)
        if made is not None:
            store.generations.add(made)
        store.generations.point(pointer)
        store.facts.log(pointer.active, "forget", {**detail, "count": len(ids), "generations_removed": gone})
    store.wipe_journal()
