"""Which bundles a device takes at all: built for this board, and no older than the newest that has answered here."""

from __future__ import annotations

import logging
from typing import Optional, Tuple

from edgetl_runtime.board.identity import Identity
from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.manifest import Manifest
from edgetl_runtime.errors import BundleDeviceError, BundleDowngradeError
from edgetl_runtime.store import Store

__all__ = ["check_board", "check_replay", "confirmed", "confirmed_key", "sequence_of"]

logger = logging.getLogger(__name__)

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
    known = confirmed(store, manifest.name)
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
        f" above {sequence}, or take it on purpose with --allow-downgrade (allow_downgrade=True in Python)"
    )


def confirmed_key(name: str) -> str:
    """Under which key of `meta` the newest sequence of that name is noted."""
    return f"confirmed {name}"


def confirmed(store: Store, name: str) -> Optional[Tuple[int, str]]:
    """The highest sequence of that name that was confirmed here, and its bundle."""
    value = store.meta(confirmed_key(name)) or ""
    return (sequence_of(value), value.partition(" ")[2]) if value[:1].isdecimal() else None


def sequence_of(value: str) -> int:
    """The sequence in such a note; -1 where it is damaged."""
    number = value.partition(" ")[0]
    return int(number) if number.isdecimal() else -1
