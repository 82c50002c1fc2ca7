"""From a bundle and a folder to a session: verify, install, choose the engine, check it, recover what was learnt."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

from edgetl_runtime.blas import limit_blas_threads
from edgetl_runtime.board import read_machine
from edgetl_runtime.bundle.container import Bundle, read_bundle
from edgetl_runtime.bundle.manifest import Variant
from edgetl_runtime.bundle.members import read_guard
from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.errors import EdgetlError, StateError
from edgetl_runtime.installation import keep_bundle, make_state_folder, open_installed, sweep_leftovers
from edgetl_runtime.observing import ObservePolicy
from edgetl_runtime.releases import check_board, check_replay
from edgetl_runtime.serving import choose, list_ways
from edgetl_runtime.session import Session
from edgetl_runtime.store import QUOTA_BYTES, Store
from edgetl_runtime.switching import States, list_installed
from edgetl_runtime.trust import trusted_keys
from edgetl_runtime.updating import BundleTrial, begin_start, switch_bundle

__all__ = ["open_session"]

logger = logging.getLogger(__name__)


def open_session(
    bundle: Union[str, Path, None] = None,
    state_dir: Union[str, Path] = "edgetl-state",
    *,
    allow_unsigned: bool = False,
    trusted: Sequence[bytes] = (),
    engine: Optional[str] = None,
    engine_options: Optional[Mapping[str, Any]] = None,
    variant: Optional[str] = None,
    threads: Optional[int] = None,
    blas_threads: Optional[int] = 1,
    build: str = "background",
    progress: Optional[BuildProgress] = None,
    board_root: Union[str, Path] = "/",
    policy: str = "guarded",
    quota_bytes: int = QUOTA_BYTES,
    observe: Optional[ObservePolicy] = None,
    keep_raw_bytes: int = 0,
    read_only: bool = False,
    reinstall: bool = False,
    allow_downgrade: bool = False,
    any_device: bool = False,
    leave_learnt: bool = False,
    discard_learnt: bool = False,
) -> Session:
    """Verify a bundle, install it when it is new, recover what was learnt, and check the golden samples.

    `bundle` None opens what is installed in `state_dir`. `trusted` are public keys (PEM) beside those that
    were provisioned in the folder. `read_only` predicts beside a process that learns.

    Which variant runs in which engine is the bundle's plan for this board, first to last until one serves;
    `engine`, with its `engine_options` such as `provider="cuda"`, and `variant` are your own choice, without another
    to fall back to. A state that holds learnt samples keeps their variant. `status()` says what serves, what was
    refused and why. An engine of the plan that must be built for minutes is built in the "background" while another
    serves the same features; `build` "wait" builds it before this returns and tells `progress`, as for an `engine` of
    your own, and "never" does without it.

    `threads` are the engine's, None those of the board's profile. `blas_threads` limits NumPy's for the whole process,
    because two of them beside an engine make both many times slower; None leaves them. The board's files are read
    under `board_root`.

    `policy` says what of the learnt goes live: "guarded" when the guard has evidence, "immediate" at once, "manual"
    when a person says so; `guard.POLICIES` says what each risks. Beyond `quota_bytes` the state drops old events,
    kept samples, makes one sum of the features of the oldest, and drops old generations. With `keep_raw_bytes` the
    newest learnt samples are kept as they came, compressed, up to so many bytes; otherwise only their features are.

    `observe` bounds what `Session.observe` keeps and says what an adapter may do without labels.

    Another bundle than the installed one is on trial until its first answer: after three starts in a row that ended
    before one, the bundle before serves again, also in place of `bundle`. The same feature space keeps what was
    learnt. Each other feature space has a state and a quota of its own in the folder, and serves again when its bundle
    is opened again; a release of the same name learns there again from the samples that were kept. `reinstall` is a
    person's installation: the kept copy is read again in full, and a bundle that was gone back from gets another try.
    Only on purpose: `allow_downgrade` takes a signed bundle that is older than the newest of its name confirmed here,
    `any_device` one built for other boards; and where a release of other features cannot take over all that was
    learnt, `leave_learnt` leaves that with the bundle before, `discard_learnt` deletes it; else LearntLeftError.

    Raises BundleError, StateError, EngineError, SourceError; the state is as before then.
    """
    folder = Path(state_dir)
    if bundle is None and not folder.is_dir():  # a mistyped name makes no folder
        raise StateError(
            f"there is no state folder {folder}; install a bundle there: edgetl-runtime install BUNDLE --state {folder}"
        )
    if not read_only:
        make_state_folder(folder)
    states = States(folder, read_only)
    try:
        if not read_only:
            sweep_leftovers(folder)
        keys = trusted_keys(folder, trusted)
        opened, source_path = _bundle_to_serve(
            states, folder, bundle, keys, allow_unsigned, count=not read_only, reinstall=reinstall
        )
        if opened.signed_by is None:
            logger.warning("bundle %s is not signed; it was allowed on purpose", opened.manifest.name)
        machine = read_machine(board_root)
        board = machine.identity.row
        if opened.id != states.store.meta("bundle") and source_path is not None:
            check_board(opened.manifest, machine.identity, any_device)
            check_replay(states.store, opened, allow_downgrade)
        states.take(opened, discard_learnt, leave_learnt)
        store = states.store
        held = _held_variant(store, opened, read_only, discard_learnt)
        ways = list_ways(
            opened.manifest, board, engine=engine, variant=variant, options=engine_options, held=held
        )
        for way in ways:
            if held is not None and way.variant != held:
                store.bind(way.variant.feature_space, way.variant.dim)  # says why not
        planned = list_ways(opened.manifest, board)[0].variant
        serving = choose(
            opened,
            ways,
            threads=threads if threads is not None else (board.threads if board is not None else None),
            cache_dir=folder / "engines",
            # What is asked for by name must work or fail, and not an hour later.
            build="wait" if engine is not None and build == "background" else build,
            progress=progress,
            is_verified=lambda verified: store.meta("verified") == verified,
            machine=machine.fingerprint,
            held=None if held is None or held == planned else _why_held(held, planned),
        )
        try:
            chosen = serving.extractor.variant
            source = read_guard(opened, chosen)  # before anything is installed
            if not read_only:
                if source_path is not None:
                    known = None if reinstall else store.meta("kept")
                    keep_bundle(opened, source_path, folder, keys, allow_unsigned, known)
                taken = states.taken(opened, serving.extractor)
                with contextlib.nullcontext() if states.origin is None else store.change():
                    states.put(taken, chosen.feature_space)
                    switch_bundle(
                        store, folder, opened, chosen, serving.member, serving.verified,
                        serving.extractor.description, again=reinstall, chosen=source_path is not None,
                        origin=states.origin,
                    )  # fmt: skip
                states.settle()
            store.bind(chosen.feature_space, chosen.dim, opened.id)
            if blas_threads is not None:
                limit_blas_threads(blas_threads)
            return Session(
                opened, serving.extractor, store, serving.member, source, policy=policy, quota_bytes=quota_bytes,
                keep_raw_bytes=keep_raw_bytes, trial=BundleTrial(store, opened), observe=observe,
            )  # fmt: skip
        except BaseException:
            serving.extractor.close()
            raise
    except BaseException:
        states.close()
        raise


def _bundle_to_serve(
    states: States, folder: Path, bundle: Union[str, Path, None], keys: Dict[str, bytes], allow_unsigned: bool,
    *, count: bool, reinstall: bool,
) -> Tuple[Bundle, Optional[Path]]:  # fmt: skip
    """The bundle, and where it came from; None where it is the installed one in place of one that did not start."""
    opened, store = None, states.store
    if bundle is not None:
        opened = read_bundle(bundle, trusted=keys, allow_unsigned=allow_unsigned)
        if reinstall or opened.id not in (store.meta("bundle"), store.meta("reverted")):
            return opened, Path(bundle)
    if count:
        begin_start(store, folder, keys, allow_unsigned)
        states.follow()
        store = states.store
    installed = store.meta("bundle")
    if bundle is not None and opened is not None and opened.id == installed:
        return opened, Path(bundle)
    if opened is not None:
        logger.error("bundle %s was gone back from; %s serves", opened.id[:12], (installed or "")[:12])
    aside = [one.id for one in list_installed(folder) if not one.in_use] if installed is None else []
    try:
        return open_installed(folder, installed, keys, allow_unsigned, aside), None
    except StateError as error:
        if installed is None:
            raise
        # A device must come up: with another release that is kept here, where there is a whole one.
        try:
            aside = [one.id for one in list_installed(folder) if not one.in_use]
            other = open_installed(folder, None, keys, allow_unsigned, aside)
        except EdgetlError:
            raise error from None
        logger.error("%s; %s serves", error, other.id[:12])
        if count:
            with contextlib.suppress(StateError):
                store.log_event("recovered", reason=f"{error}; {other.id[:12]} serves")
        return other, None


def _held_variant(store: Store, bundle: Bundle, read_only: bool, discard: bool) -> Optional[Variant]:
    """The variant whose features the state holds; None while nothing was learnt, or it may go. StateMismatchError."""
    known = store.meta("feature_space")
    # Who only reads follows the one who learns.
    if known is None or (not store.holds_samples and not read_only):
        return None
    variants = bundle.manifest.variants
    for variant in variants:
        if variant.feature_space == known:
            return variant
    same_bundle = store.meta("bundle") == bundle.id
    for variant in variants:  # the fact is damaged
        if same_bundle and (len(variants) == 1 or variant.name == store.meta("variant")):
            return variant
    if not (discard and not read_only):
        store.bind(variants[0].feature_space, variants[0].dim)  # says why not
    return None


def _why_held(held: Variant, planned: Variant) -> str:
    return f"what was learnt here is of the variant {held.name}, which stays; the bundle's plan prefers {planned.name}"
