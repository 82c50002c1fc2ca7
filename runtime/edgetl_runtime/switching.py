"""Several bundles on one device: which state a bundle takes, and what it takes over.

Each feature space has a state of its own, so switching back finds all that was learnt there; so has a bundle of another
name on the same extractor that was told to leave what was learnt. An update with another extractor learns again from
the samples themselves, where they were kept; what was not is said and asked for.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.container import Bundle, read_bundle
from edgetl_runtime.errors import EdgetlError, LearntLeftError, SampleError
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.installation import installed_path
from edgetl_runtime.store import (
    TRAIN,
    Generation,
    NewSample,
    Pointer,
    Store,
    activate,
    active_space,
    list_spaces,
    new_space,
    open_space,
    open_store,
    peek,
    remove_space,
    space_folder,
)
from edgetl_runtime.teaching.fitted import is_anchored
from edgetl_runtime.updating import what_is_lost

__all__ = ["Installed", "States", "Taken", "bundle_name", "list_installed"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Installed:
    """A bundle that a state of the folder belongs to; `in_use` is the one that a session without a name opens."""

    name: str
    id: str
    in_use: bool


class Taken(NamedTuple):
    """One sample of another state, with its features (D,) by the extractor that takes it over."""

    id: int
    sample: NewSample
    features: NDArray[np.float32]
    wall_s: float


def list_installed(folder: Path) -> List[Installed]:
    """The bundle of every state in a folder, the first state's first; raises StateError."""
    active, found = active_space(folder), []
    for name in list_spaces(folder):
        facts = peek(space_folder(folder, name))
        if facts.get("bundle"):
            said = bundle_name(folder, facts) or "?"
            found.append(Installed(said, facts["bundle"], name == active))
    return found


def bundle_name(folder: Path, facts: Dict[str, str]) -> Optional[str]:
    """The name of the bundle that a state has installed; None where nobody knows."""
    if facts.get("name"):
        return facts["name"]
    try:
        return read_bundle(installed_path(folder, facts.get("bundle", ""))).manifest.name
    except EdgetlError:
        return None


class States:
    """The open state of a folder, `store`; and `origin`, the one in use until a bundle of other features is."""

    def __init__(self, folder: Path, read_only: bool) -> None:
        self._folder, self._read_only = folder, read_only
        self._name = active_space(folder)
        self.store = open_store(folder, read_only=read_only)
        self.origin: Optional[Store] = None
        self._made: Optional[str] = None

    def follow(self) -> None:
        """Open the one that is in use now, if that is another."""
        name = active_space(self._folder)
        if name != self._name:
            self.store.close()
            self._name, self.store = name, open_store(self._folder, read_only=self._read_only)

    def take(self, bundle: Bundle, discard: bool, leave: bool) -> None:
        """Open the state that the bundle belongs to, which `settle` makes the one in use.

        A bundle of another name on the same extractor goes on with what was learnt, unless that is to be left with the
        bundle before (`leave`), or was once. Raises LearntLeftError when it is an update that could not take over all
        that was learnt, unless that may be left, or deleted (`discard`); StateError. Then nothing was changed.
        """
        known = self.store.meta("feature_space")
        wanted = {variant.feature_space for variant in bundle.manifest.variants}
        if self._read_only or known is None or self.store.meta("bundle") == bundle.id:
            return
        if known in wanted and self._is_update(bundle):
            return
        name = self._parked(wanted, bundle.manifest.name)
        if name is None and not leave:
            if known in wanted:
                return
            name = self._parked(wanted)
        if name is None:
            if discard or not self.store.holds_samples:
                return
            if not leave and self._is_update(bundle):
                self._ask(bundle)
            self._made = name = new_space(self._folder)
        other = open_space(self._folder, name)
        self._name, self.origin, self.store = name, self.store, other

    def taken(self, bundle: Bundle, extractor: Extractor) -> List[Taken]:
        """What an update takes over: every sample kept in the other state that this one lacks, extracted anew."""
        origin = self.origin
        if origin is None or not origin.raw.exists or not self._is_update(bundle):
            return []
        have = {sample.id for sample in self.store.samples.listed()}
        when = {sample.id: sample.wall_s for sample in origin.samples.listed()}
        kept, found = set(origin.raw.ids()) - have, []
        origin.samples.dim = int(origin.meta("dim") or 0)
        for block in origin.samples.load():
            for number, label, source, role in zip(block.ids, block.labels, block.sources, block.roles):
                if number not in kept:
                    continue
                try:
                    features = extractor.features(origin.raw.get(number))
                except (KeyError, SampleError) as error:
                    logger.warning("sample %d is not taken over: %s", number, error)
                    continue
                # How it was judged was about another head.
                found.append(Taken(number, NewSample(label, source, role), features, when[number]))
        return found

    def put(self, taken: List[Taken], feature_space: str) -> None:
        """Store them, inside `change`: what was live in the other state is live in this one."""
        origin, store = self.origin, self.store
        if origin is None:
            return
        store.samples.begin_after(origin.samples.last_id())
        for number, sample, features, wall_s in taken:
            store.samples.put(number, sample, features, wall_s)
            store.raw.insert_intact(origin.raw.row(number))
        live = origin.generations.get(origin.pointer.active) if origin.pointer.active else None
        known = sum(1 for one in taken if one.sample.role == TRAIN and live is not None and one.id <= live.upto)
        if live is not None and known:
            pointer, last = store.pointer, store.samples.last_id()
            here = store.generations.get(pointer.active) if pointer.active else None
            upto = max(live.upto, here.upto if here is not None else 0)
            number = pointer.newest + 1
            evidence = {"anchored": is_anchored(live)}
            store.generations.add(Generation(number, pointer.active, "extracted", upto, known, feature_space, evidence))
            store.generations.point(Pointer(active=number, previous=pointer.active, newest=number, since=last))
        if taken:
            store.log_event("extracted", samples=len(taken), left=origin.meta("bundle") or "")

    def settle(self) -> None:
        """From now on `store` is the one in use; raises StateError, and then the other one stays."""
        if self.origin is not None:
            self.origin.insist(lambda: activate(self._folder, self._name))
            self.origin.close()
            self.origin = self._made = None

    def close(self) -> None:
        """Release what is open; a state that was made for a bundle which then was refused goes."""
        self.store.close()
        if self._made is not None:
            remove_space(self._folder, self._made)
        if self.origin is not None:
            self.origin.close()

    # -- inside

    def _parked(self, wanted: Set[str], of: Optional[str] = None) -> Optional[str]:
        """The state, not in use, that has features of one of those spaces, and a bundle of the name `of`."""
        for name in list_spaces(self._folder):
            facts = peek(space_folder(self._folder, name)) if name != self._name else {}
            if facts.get("feature_space") in wanted and of in (None, bundle_name(self._folder, facts)):
                return name
        return None

    def _is_update(self, bundle: Bundle) -> bool:
        """Whether it is a release of what was in use; also where nobody knows what that was."""
        store = self.store if self.origin is None else self.origin
        facts = {key: store.meta(key) or "" for key in ("name", "bundle")}
        return bundle_name(self._folder, facts) in (None, bundle.manifest.name)

    def _ask(self, bundle: Bundle) -> None:
        store = self.store
        kept = set(store.raw.ids())
        folded = store.folded.get()
        numbers = [sample.id for sample in store.samples.listed()]
        without = sum(number not in kept for number in numbers) + (folded.samples if folded is not None else 0)
        if not without:
            return
        total = len(numbers) + (folded.samples if folded is not None else 0)
        raise LearntLeftError(
            f"this release of {bundle.manifest.name!r} has other features, and {without} of {total} samples learnt"
            f" here were not kept themselves (learn --keep-raw), so it cannot learn them again."
            f" --leave-learnt leaves them with the bundle before, where they serve again when it is used again;"
            f" --discard-learnt deletes {what_is_lost(store)}; or use another state folder (--state)."
            " Nothing was changed"
        )
