"""The state of a device, whole: its tables as parts, and what concerns all of them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Callable, ContextManager, List, Optional

from edgetl_runtime.errors import StateFullError, StateMismatchError
from edgetl_runtime.store.ballast import release_ballast
from edgetl_runtime.store.database import Database
from edgetl_runtime.store.facts import Facts
from edgetl_runtime.store.faults import state_os_error
from edgetl_runtime.store.folded import FoldedSums
from edgetl_runtime.store.generations import Generations, Pointer
from edgetl_runtime.store.observed import ObservedRow
from edgetl_runtime.store.raw import RawSamples
from edgetl_runtime.store.samples import Samples
from edgetl_runtime.store.schema import STATE_FILE
from edgetl_runtime.store.spaces import root_of

__all__ = ["Store"]


class Store:
    """State of one feature space in one folder; open it with `open_store`.

    WAL with `synchronous=FULL`: when a method that changes something returns, a power cut loses nothing of it.
    Changes inside one `change()` block are durable together, or not at all.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.facts = Facts(database)
        self.samples = Samples(database)
        self.generations = Generations(database)
        self.folded = FoldedSums(database)
        self.observed = ObservedRow(database)
        self.raw = RawSamples(database)

    def bind(self, feature_space: str, dim: int, bundle_id: Optional[str] = None) -> None:
        """Say which features (D = `dim`) are wanted; StateMismatchError when this state holds others.

        A state that this very bundle was installed in holds its features, whatever a damaged fact says.
        """
        known = self.meta("feature_space")
        same_bundle = bundle_id is not None and self.meta("bundle") == bundle_id
        if known is not None and known != feature_space and not same_bundle:
            raise StateMismatchError(
                f"the state in {self.database.folder} was learnt with another bundle (feature space {known[:12]}, this"
                f" bundle has {feature_space[:12]}): their features mean different things. Use another state folder"
            )
        self.samples.dim = dim

    @property
    def root(self) -> Path:
        """The state folder, which may hold the states of other feature spaces beside this one."""
        return root_of(self.database.folder)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.database.path

    @property
    def writable(self) -> bool:
        """Whether this process may change the state."""
        return self.database.writable

    @property
    def pointer(self) -> Pointer:
        """Which generation is live; the factory head's when the pointer itself is damaged."""
        return self.generations.pointer() or Pointer()

    @property
    def holds_samples(self) -> bool:
        """Whether anything was learnt here, live or not: then its features decide which extractor fits."""
        rows = self.database.query(
            "SELECT EXISTS (SELECT 1 FROM samples) OR EXISTS (SELECT 1 FROM statistics WHERE id = 1)"
            " OR EXISTS (SELECT 1 FROM generations)"
        )
        return bool(rows[0][0])

    def meta(self, key: str) -> Optional[str]:
        """A value that `set_meta` stored, or None."""
        return self.facts.get(key)

    def set_meta(self, **values: str) -> None:
        """Store small facts about this state, all or none."""
        self.facts.put(values)

    def log_event(self, kind: str, **detail: Any) -> None:
        """Add to the history that a person reads."""
        self.facts.log(self.pointer.active, kind, detail)

    def change(self) -> ContextManager[None]:
        """One transaction: durable when the outermost block ends, or nothing at all. Raises StateError."""
        return self.database.change()

    def insist(self, action: Callable[[], None]) -> None:
        """Do what must be possible on a full disk too, such as going back: with the room kept for it, if need be."""
        try:
            action()
        except StateFullError:
            if not release_ballast(self.database.folder):
                raise
            action()

    def view(self) -> ContextManager[None]:
        """All that is read in the block belongs together, also beside a process that learns."""
        return self.database.view()

    def wipe_journal(self) -> None:
        """After deleting: leave no bytes of it in the journal either."""
        self.database.wipe_journal()

    def settle(self) -> None:
        """Leave all in the one file, and nothing in its journal; raises StateError."""
        self.database.settle()

    def quarantined(self) -> int:
        """Number of rows that were found damaged and set aside."""
        return int(self.database.query("SELECT COUNT(*) FROM quarantine")[0][0])

    def kept_aside(self) -> List[str]:
        """Names of damaged state files that are kept in the folder."""
        try:
            return sorted(path.name for path in self.database.folder.glob(f"{STATE_FILE}.corrupt-?"))
        except OSError as error:
            raise state_os_error(error, self.database.folder) from error

    def used_bytes(self) -> int:
        """Bytes in the file that hold something; the file itself keeps the room of what was deleted for reuse."""
        pages, free, size = (
            int(self.database.query(f"PRAGMA {name}")[0][0]) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def close(self) -> None:
        """Release the file and the writer's lock; harmless when repeated."""
        with contextlib.suppress(OSError):
            self.database.close()
