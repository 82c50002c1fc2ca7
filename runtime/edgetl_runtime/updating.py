"""Another bundle under what a device has learnt: refused, on trial, confirmed, or gone back from.

The facts are rows of `meta`, changed in one transaction with the pointer: a cut leaves the old bundle or the new one.
`confirmed NAME` is the highest sequence that answered here, and its bundle; `trial` the bundle that has not yet, with
what to go back to; `before` the one that is kept beside it; `reverted` the one that was gone back from.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from edgetl_runtime.bundle.container import Bundle, read_bundle
from edgetl_runtime.bundle.manifest import Variant
from edgetl_runtime.bundle.members import HeadMember, read_guard
from edgetl_runtime.errors import (
    EdgetlError,
    StateError,
    StateMismatchError,
)
from edgetl_runtime.installation import copy_words, installed_path, open_installed, remove_others
from edgetl_runtime.releases import confirmed, confirmed_key, sequence_of
from edgetl_runtime.store import (
    Generation,
    Pointer,
    Store,
    activate,
    list_spaces,
    open_space,
    open_store,
    peek,
    space_folder,
    turn_of,
)
from edgetl_runtime.teaching.fitted import is_anchored, pack_fitted
from edgetl_runtime.teaching.lineage import FAILED_STARTS
from edgetl_runtime.teaching.relearning import learner_of

__all__ = ["BundleTrial", "begin_start", "note_answer", "switch_bundle", "what_is_lost"]

logger = logging.getLogger(__name__)

_FACTS = ("verified", "feature_space", "variant", "dim", "before", "space")


def begin_start(store: Store, folder: Path, trusted: Optional[Dict[str, bytes]], allow_unsigned: bool) -> None:
    """Count a start of a bundle on trial before anything of it is touched; after three that failed, go back.

    Only the writer may.
    """
    trial = _read_trial(store)
    if trial is None:
        return
    if trial.starts < FAILED_STARTS:
        _try(store, lambda: store.set_meta(trial=_text(replace(trial, starts=trial.starts + 1))))
        return
    try:
        before = open_installed(folder, trial.before, trusted, allow_unsigned)
    except EdgetlError as error:
        logger.error("bundle %s does not start, and there is no way back: %s", trial.bundle[:12], error)
        return
    why = f"{trial.starts} starts in a row of bundle {trial.bundle[:12]} ended before a first answer"
    logger.error("state %s: %s; %s, which was before it, serves", store.path, why, before.id[:12])
    if "space" in trial.facts:
        _try(store, lambda: _leave(store, folder, trial, why))
    else:
        _try(store, lambda: _go_back(store, trial, reverted=trial.bundle, reason=why))


def switch_bundle(
    store: Store, folder: Path, bundle: Bundle, variant: Variant, member: HeadMember, verified: str, engine: str,
    *, again: bool = False, chosen: bool = True, origin: Optional[Store] = None,
) -> None:  # fmt: skip
    """Make a bundle, whose copy is kept and whose golden samples passed, the one of its state: durably, all or nothing.

    What was learnt stays: where the head member is another, the live head is fitted again on it from what is stored,
    as a generation of its own. What was learnt in another feature space is discarded; the caller has asked. `again`
    begins the trial of this very bundle anew; one that nobody chose, because the installed one is damaged, is on no
    trial. `origin` is the state of other features that was in use before this one: its bundle is what a trial that
    fails goes back to. Raises StateError, StateMismatchError; then nothing was changed.
    """
    old, known = store.meta("bundle"), store.meta("feature_space")
    copy = copy_words(folder, bundle)
    trial = _read_trial(store)
    same = (old, known, store.meta("verified")) == (bundle.id, variant.feature_space, verified)
    idle = same and store.meta("kept") == copy and not (again and trial is not None and trial.starts > 1)
    if idle and origin is None:
        return
    discarded = known not in (None, variant.feature_space) and store.holds_samples and old != bundle.id
    base = trial if trial is not None and trial.bundle == old else None
    if base is not None and base.before == bundle.id and "space" not in base.facts:
        _go_back(store, base, reverted="", reason="it was installed again" if chosen else "the other is damaged")
        old, base, trial = bundle.id, None, None
    is_update = bool(old) and old != bundle.id
    made = _refitted(store, folder, base, bundle, variant, member) if is_update and not discarded else None
    facts = {
        "bundle": bundle.id, "verified": verified, "feature_space": variant.feature_space, "variant": variant.name,
        "dim": str(variant.dim), "kept": copy, "name": bundle.manifest.name,
    }  # fmt: skip
    if origin is not None:
        facts.update(_switched(store, origin, bundle.id, made))
        facts.update({} if chosen else {"trial": ""})
    elif is_update and not chosen:
        facts.update(trial="")
    elif is_update and old is not None:
        trial = _new_trial(store, old, base, bundle.id, made, discarded)
        facts.update(trial=_text(trial), before=trial.before, reverted="")
    elif again and trial is not None:
        facts.update(trial=_text(replace(trial, starts=1)))
    with store.change():
        if discarded:
            _discard(store)
        if made is not None:
            _put(store, made, base)
        store.facts.put(facts)
        if origin is not None:
            store.generations.point(replace(store.pointer, starts=0))  # of another time
            store.log_event("switched", bundle=bundle.id, name=bundle.manifest.name, left=origin.meta("bundle"))
        if not same:
            store.log_event(
                "install", bundle=bundle.id, name=bundle.manifest.name, variant=variant.name,
                feature_space=variant.feature_space, dim=variant.dim, engine=engine,
            )  # fmt: skip
    if discarded:
        store.wipe_journal()
    if is_update and chosen:
        _remove_unused(store, folder, [bundle.id, facts.get("before") or store.meta("before") or ""])


def what_is_lost(store: Store) -> str:
    """In words: what was learnt in this state, which a bundle of another feature space cannot use."""
    counts = store.samples.counts()
    folded = store.folded.get()
    samples = sum(counts.values()) + (folded.samples if folded is not None else 0)
    generations = len(store.generations.numbers(good=False))
    return f"{samples} learnt samples and {generations} generations"


def _reversal_words(store: Store) -> Optional[str]:
    """Which bundle was gone back from and is not tried again by itself; None where none was."""
    reverted = store.meta("reverted")
    if not reverted:
        return None
    return (
        f"bundle {reverted[:12]} was gone back from: {FAILED_STARTS} starts in a row ended before a first answer."
        f" {(store.meta('bundle') or '')[:12]} serves; `edgetl-runtime install` gives the other another try"
    )


class BundleTrial:
    """Whether the bundle of a session has answered; `recovered` says why another one than was meant serves."""

    def __init__(self, store: Store, bundle: Bundle) -> None:
        self._store = store
        self._id, self._name, self._sequence = bundle.id, bundle.manifest.name, bundle.manifest.sequence
        self._signed = bundle.signed_by is not None
        self.recovered = _reversal_words(store)
        trial = _read_trial(store)
        self._trial = trial if trial is not None and trial.bundle == bundle.id else None
        self._pending = bool(self._answered())

    @property
    def pending(self) -> bool:
        """Whether a first answer is still to be noted."""
        return self._store.writable and self._pending

    def facts(self) -> Dict[str, object]:
        """For `status`."""
        return {"sequence": self._sequence, "confirmed": self._trial is None}

    def confirm(self) -> None:
        """It has answered: no older one of its name is taken any more, and nothing goes back by itself. StateError."""
        if not self.pending:
            return
        _confirm(self._store, self._answered(), self._id, self._name, self._sequence)
        self._trial, self._pending = None, False

    def end(self) -> None:
        """An orderly end without an answer is no failed start. Raises StateError."""
        if self.pending and self._trial is not None and self._trial.starts:
            self._trial = replace(self._trial, starts=0)
            self._store.set_meta(trial=_text(self._trial))

    def _answered(self) -> Dict[str, str]:
        return _answered(self._store, self._id, self._name, self._sequence, self._signed)


def note_answer(folder: Path, bundle: Mapping[str, Any]) -> None:
    """For a session that only reads and has answered, with the bundle of its `status`: what a first answer confirms.

    Where another process writes, that one will; nothing is opened for writing unless something is to be noted.
    """
    name, sequence, signed = str(bundle["name"]), int(bundle["sequence"]), bundle["signed_by"] is not None
    with contextlib.suppress(StateError):
        for read_only in (True, False):
            with contextlib.closing(open_store(folder, read_only=read_only)) as store:
                facts = _answered(store, bundle["id"], name, sequence, signed)
                if store.meta("bundle") != bundle["id"] or not facts:
                    return
                if not read_only:
                    _confirm(store, facts, bundle["id"], name, sequence)


def _answered(store: Store, identity: str, name: str, sequence: int, signed: bool) -> Dict[str, str]:
    """The facts that an answer of that bundle changes; {} when it has answered before."""
    trial, known = _read_trial(store), confirmed(store, name)
    facts = {"trial": ""} if trial is not None and trial.bundle == identity else {}
    if signed and (known is None or known[0] < sequence):
        facts[confirmed_key(name)] = f"{sequence} {identity}"
    return facts


def _confirm(store: Store, facts: Mapping[str, str], identity: str, name: str, sequence: int) -> None:
    with store.change():
        store.facts.put(facts)
        if "trial" in facts:
            store.log_event("confirmed", bundle=identity, name=name, sequence=sequence)


# -- the trial


@dataclass(frozen=True)
class _Trial:
    """`bundle` after `before`, whose facts they are. `active` was live then, `made` took its place (0: nothing did)."""

    bundle: str
    before: str
    facts: Dict[str, str]
    active: int
    previous: int
    made: int
    starts: int


def _text(trial: _Trial) -> str:
    return json.dumps(asdict(trial), sort_keys=True)


def _read_trial(store: Store) -> Optional[_Trial]:
    text = store.meta("trial")
    if not text:
        return None
    try:
        fields = json.loads(text)
        numbers = {name: int(fields[name]) for name in ("active", "previous", "made", "starts")}
        facts = {key: str(value) for key, value in fields["facts"].items() if key in _FACTS}
        return _Trial(str(fields["bundle"]), str(fields["before"]), facts, **numbers)
    except (AttributeError, KeyError, TypeError, ValueError):
        logger.error("state %s: the note of the bundle on trial is damaged; it counts as confirmed", store.path)
        return None


def _new_trial(
    store: Store, old: str, base: Optional[_Trial], bundle: str, made: Optional[Generation], discarded: bool
) -> _Trial:
    """Back from an unconfirmed bundle leads to the one before it."""
    if base is None:
        facts = {key: value for key, value in ((key, store.meta(key)) for key in _FACTS) if value is not None}
        pointer = store.pointer
        base = _Trial(bundle, old, facts, pointer.active, pointer.previous, 0, 0)
    trial = replace(base, bundle=bundle, made=made.number if made is not None else base.made, starts=1)
    return replace(trial, active=0, previous=0, made=0) if discarded else trial


def _go_back(store: Store, trial: _Trial, reverted: str, reason: str) -> None:
    def move() -> None:
        with store.change():
            store.facts.put({**trial.facts, "bundle": trial.before, "reverted": reverted, "trial": "", "kept": ""})
            pointer = store.generations.pointer()
            if pointer is not None and trial.made and pointer.active == trial.made:
                store.generations.point(
                    replace(
                        pointer, active=trial.active, previous=trial.previous, starts=0, guard="",
                        since=store.samples.last_id(),
                    )
                )  # fmt: skip
                store.generations.delete([trial.made])
            elif pointer is not None and pointer.starts:
                store.generations.point(replace(pointer, starts=0))
            store.log_event("reverted", bundle=trial.before, left=trial.bundle, reason=reason)

    store.insist(move)


def _leave(store: Store, folder: Path, trial: _Trial, reason: str) -> None:
    """Use the state again that was in use before this bundle came; all that was learnt in this one stays in it."""
    name = trial.facts["space"]
    with contextlib.closing(open_space(folder, name)) as other:
        with other.change():
            other.facts.put({"reverted": trial.bundle, "turn": str(turn_of(store.facts.beginning("turn")) + 1)})
            other.log_event("reverted", bundle=trial.before, left=trial.bundle, reason=reason)
        store.insist(lambda: activate(folder, name))


def _switched(store: Store, origin: Store, bundle_id: str, made: Optional[Generation]) -> Dict[str, str]:
    """The facts of a state that takes the place of another one: a trial, and what was confirmed on this device."""
    facts = {"turn": str(turn_of(origin.facts.beginning("turn")) + 1), "reverted": ""}
    for key, value in origin.facts.beginning(confirmed_key("")).items():
        known = confirmed(store, key[len(confirmed_key("")) :])
        if known is None or known[0] < sequence_of(value):
            facts[key] = value
    trial = _read_trial(origin)
    if trial is not None and trial.bundle == origin.meta("bundle") and "space" in trial.facts:
        name, before = trial.facts["space"], trial.before
    else:
        name, before = _space_name(origin), origin.meta("bundle") or ""
    if before == bundle_id:  # back from one that has not answered yet
        return facts
    pointer = store.pointer
    number = made.number if made is not None else 0
    begun = _Trial(bundle_id, before, {"space": name}, pointer.active, pointer.previous, number, 1)
    return {**facts, "trial": _text(begun)}


def _space_name(store: Store) -> str:
    return "" if store.database.folder == store.root else store.database.folder.name


def _remove_unused(store: Store, folder: Path, keep: Sequence[str]) -> None:
    """Remove copies that no state of the folder needs; none where one of them cannot be asked."""
    others = [peek(space_folder(folder, name)) for name in list_spaces(folder) if name != _space_name(store)]
    if all(others):
        remove_others(folder, [*keep, *(facts.get(key, "") for facts in others for key in ("bundle", "before"))])


# -- what was learnt


def _refitted(
    store: Store, folder: Path, base: Optional[_Trial], bundle: Bundle, variant: Variant, member: HeadMember
) -> Optional[Generation]:
    """The live generation's samples on the new head member; None where the factory head is live or nothing differs."""
    pointer = store.pointer
    live = store.generations.get(pointer.active) if pointer.active else None
    if live is None:
        return None
    if _head_hash(folder, store.meta("bundle"), variant) == bundle.manifest.members[variant.head].sha256:
        return None
    store.bind(variant.feature_space, variant.dim)
    try:
        anchor = read_guard(bundle, variant) if is_anchored(live) else None
        learner, samples, _ = learner_of(store, member, live.upto, anchor=anchor)
        head = pack_fitted(learner.fit())
    except (EdgetlError, KeyError, TypeError, ValueError) as error:
        raise StateMismatchError(
            f"what was learnt in {folder} cannot be taken over by the head of bundle {bundle.manifest.name!r}:"
            f" {error}. Use another state folder (--state)"
        ) from error
    parent = base.active if base is not None and base.made == live.number else live.number
    return Generation(
        pointer.newest + 1, parent, "updated", live.upto, samples, variant.feature_space, {"bundle": bundle.id},
        head=head,
    )  # fmt: skip


def _put(store: Store, made: Generation, base: Optional[_Trial]) -> None:
    """The guard begins anew: what it had measured was said of another head."""
    pointer = store.pointer
    store.generations.add(made)
    store.generations.point(Pointer(made.number, made.parent, made.number, 0, store.samples.last_id(), ""))
    if base is not None and base.made and base.made == pointer.active:
        store.generations.delete([base.made])
    store.facts.log(made.number, "update", {"from": pointer.active, "samples": made.samples, **made.evidence})


def _head_hash(folder: Path, bundle_id: Optional[str], variant: Variant) -> Optional[str]:
    try:
        manifest = read_bundle(installed_path(folder, bundle_id or "")).manifest
    except EdgetlError:
        return None
    same = [one for one in manifest.variants if one.feature_space == variant.feature_space]
    return manifest.members[same[0].head].sha256 if same else None


def _discard(store: Store) -> None:
    pointer, last = store.pointer, store.samples.last_id()
    store.log_event("discarded", what=what_is_lost(store))
    for table in ("samples", "generations", "statistics"):
        store.database.execute(f"DELETE FROM {table}")
    store.generations.point(Pointer(newest=pointer.newest, since=last))
    store.facts.put({"held_offered": "0"})


def _try(store: Store, action: Callable[[], None]) -> None:
    """A start must come up where nothing can be written, too."""
    try:
        action()
    except StateError as error:
        logger.error("state %s: %s", store.path, error)
