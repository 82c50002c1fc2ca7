"""Another bundle under what a device has learnt: refused, on trial, confirmed, or gone back from.

The facts are rows of `meta`, changed in one transaction with the pointer: a cut leaves the old bundle or the new one.
`confirmed NAME` is the highest sequence that answered here, and its bundle; `trial` the bundle that has not yet, with
what to go back to; `before` the one that is kept beside it; `reverted` the one that was gone back from.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

from edgetl_runtime.board.identity import Identity
from edgetl_runtime.bundle.container import Bundle, read_bundle
from edgetl_runtime.bundle.manifest import Manifest, Variant
from edgetl_runtime.bundle.members import HeadMember, read_guard
from edgetl_runtime.errors import (
    BundleDeviceError,
    BundleDowngradeError,
    EdgetlError,
    StateError,
    StateMismatchError,
)
from edgetl_runtime.installation import copy_words, installed_path, open_installed, remove_others
from edgetl_runtime.store import Generation, Pointer, Store
from edgetl_runtime.teaching.fitted import is_anchored, pack_fitted
from edgetl_runtime.teaching.lineage import FAILED_STARTS
from edgetl_runtime.teaching.relearning import learner_of

__all__ = ["BundleTrial", "begin_start", "check_board", "check_replay", "switch_bundle", "what_is_lost"]

logger = logging.getLogger(__name__)

_FACTS = ("verified", "feature_space", "variant", "dim", "before")
_ANY_CPU = "cpu"


def check_board(manifest: Manifest, identity: Identity, any_device: bool = False) -> None:
    """Raises BundleDeviceError where this is a known board and the bundle was built for others.

    A PC, and a board that no profile has, only warn: what they are called says little about what they can do.
    """
    row, targets = identity.row, manifest.targets
    if not targets or _ANY_CPU in targets or identity.board in targets:
        return
    here = identity.board or "an unknown board"
    what = f"bundle {manifest.name!r} was built for {', '.join(targets)}; this is {here}"
    if any_device or row is None or not (row.p_numbers or row.compatible):
        logger.warning("%s (%s)", what, identity.because)
        return
    raise BundleDeviceError(
        f"{what} ({identity.because}). Build it for this board (edgetl build --device {identity.board}), or install it"
        " on purpose with --any-device (any_device=True in Python)"
    )


def check_replay(store: Store, bundle: Bundle, allow_downgrade: bool = False) -> None:
    """Raises BundleDowngradeError for a signed bundle older than the newest of its name that was confirmed here.

    Of one sequence there is one content. A bundle that nobody signed promises nothing and is not judged.
    """
    manifest = bundle.manifest
    known = _confirmed(store, manifest.name)
    if bundle.signed_by is None or known is None:
        return
    sequence, identity = known
    if manifest.sequence > sequence or (manifest.sequence, bundle.id) == (sequence, identity):
        return
    if manifest.sequence == sequence:
        what = f"has sequence {sequence} like {identity[:12]}, which is confirmed here, and is another bundle"
    else:
        what = f"has sequence {manifest.sequence}; {sequence} is confirmed here already"
    if allow_downgrade:
        logger.warning("bundle %s %s; it was allowed on purpose", manifest.name, what)
        return
    raise BundleDowngradeError(
        f"bundle {manifest.name!r} {what}: an old release may have a fault that was mended. Build it with a sequence"
        f" above {sequence}, or install it on purpose with --allow-downgrade (allow_downgrade=True in Python)"
    )


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
    _try(store, lambda: _go_back(store, trial, reverted=trial.bundle, reason=why))


def switch_bundle(
    store: Store, folder: Path, bundle: Bundle, variant: Variant, member: HeadMember, verified: str, engine: str,
    *, again: bool = False, chosen: bool = True,
) -> None:  # fmt: skip
    """Make a bundle the installed one, whose copy is kept and whose golden samples passed: durable, all or nothing.

    What was learnt stays: where the head member is another, the live head is fitted again on it from what is stored,
    as a generation of its own. What was learnt in another feature space is discarded; the caller has asked. `again`
    begins the trial of this very bundle anew; one that nobody chose, because the installed one is damaged, is on no
    trial. Raises StateError, StateMismatchError; then nothing was changed.
    """
    old, known = store.meta("bundle"), store.meta("feature_space")
    copy = copy_words(folder, bundle)
    trial = _read_trial(store)
    same = (old, known, store.meta("verified")) == (bundle.id, variant.feature_space, verified)
    if same and store.meta("kept") == copy and not (again and trial is not None and trial.starts > 1):
        return
    discarded = known not in (None, variant.feature_space) and store.holds_samples and old != bundle.id
    base = trial if trial is not None and trial.bundle == old else None
    if base is not None and base.before == bundle.id:
        _go_back(store, base, reverted="", reason="it was installed again" if chosen else "the other is damaged")
        old, base, trial = bundle.id, None, None
    is_update = bool(old) and old != bundle.id
    made = _refitted(store, folder, base, bundle, variant, member) if is_update and not discarded else None
    facts = {
        "bundle": bundle.id, "verified": verified, "feature_space": variant.feature_space, "variant": variant.name,
        "dim": str(variant.dim), "kept": copy,
    }  # fmt: skip
    if is_update and not chosen:
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
        if not same:
            store.log_event(
                "install", bundle=bundle.id, name=bundle.manifest.name, variant=variant.name,
                feature_space=variant.feature_space, dim=variant.dim, engine=engine,
            )  # fmt: skip
    if discarded:
        store.wipe_journal()
    if is_update and chosen:
        remove_others(folder, [bundle.id, facts["before"]])


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
        self.recovered = _reversal_words(store)
        trial = _read_trial(store)
        self._trial = trial if trial is not None and trial.bundle == bundle.id else None
        known = _confirmed(store, self._name)
        self._rises = bundle.signed_by is not None and (known is None or known[0] < self._sequence)

    @property
    def pending(self) -> bool:
        """Whether a first answer is still to be noted."""
        return self._store.writable and (self._trial is not None or self._rises)

    def facts(self) -> Dict[str, object]:
        """For `status`."""
        return {"sequence": self._sequence, "confirmed": self._trial is None}

    def confirm(self) -> None:
        """It has answered: no older one of its name is taken any more, and nothing goes back by itself. StateError."""
        if not self.pending:
            return
        facts: Dict[str, str] = {} if self._trial is None else {"trial": ""}
        if self._rises:
            facts[_key(self._name)] = f"{self._sequence} {self._id}"
        with self._store.change():
            self._store.facts.put(facts)
            if self._trial is not None:
                self._store.log_event("confirmed", bundle=self._id, name=self._name, sequence=self._sequence)
        self._trial, self._rises = None, False

    def end(self) -> None:
        """An orderly end without an answer is no failed start. Raises StateError."""
        if self.pending and self._trial is not None and self._trial.starts:
            self._trial = replace(self._trial, starts=0)
            self._store.set_meta(trial=_text(self._trial))


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


# -- facts


def _key(name: str) -> str:
    return f"confirmed {name}"


def _confirmed(store: Store, name: str) -> Optional[Tuple[int, str]]:
    """The highest sequence of that name that was confirmed here, and its bundle."""
    sequence, _, identity = (store.meta(_key(name)) or "").partition(" ")
    return (int(sequence), identity) if sequence.isdigit() else None


def _try(store: Store, action: Callable[[], None]) -> None:
    """A start must come up where nothing can be written, too."""
    try:
        action()
    except StateError as error:
        logger.error("state %s: %s", store.path, error)
