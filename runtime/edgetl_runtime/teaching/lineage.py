"""Which generation of the head is live: found at the start whatever happened, moved forward, moved back."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from edgetl_runtime.bundle.members import HeadMember, SourceSamples
from edgetl_runtime.errors import EdgetlError, GenerationError, StateError
from edgetl_runtime.learner import Fitted, Learner
from edgetl_runtime.store import KEPT_GENERATIONS, Generation, Pointer, Store
from edgetl_runtime.teaching.fitted import is_anchored, pack_fitted, unpack_fitted
from edgetl_runtime.teaching.relearning import learner_of

__all__ = ["FAILED_STARTS", "Lineage", "Live"]

logger = logging.getLogger(__name__)

FAILED_STARTS = 3


class Live(NamedTuple):
    """All that answers a prediction, replaced as a whole so that no answer mixes two generations.

    It learnt from `samples` training samples, those with id <= `upto`.
    """

    fitted: Fitted
    generation: int
    upto: int
    samples: int


class Lineage:
    """The generations of one session; `live` may be read by any thread, the rest is for one at a time."""

    def __init__(
        self, store: Store, member: HeadMember, feature_space: str, source: Optional[SourceSamples] = None
    ) -> None:
        self._store = store
        self._member, self._source = member, source
        self._space = feature_space
        # What went wrong at this start, until something moves.
        self.recovered: Optional[str] = None
        self.pointer = Pointer()
        self.live: Live  # from `start` on
        self._factory: Optional[Live] = None

    @property
    def factory(self) -> Live:
        """Generation 0."""
        if self._factory is None:
            self._factory = Live(Learner(self._member).fit(), 0, 0, 0)
        return self._factory

    def anchor(self, anchored: bool) -> Optional[SourceSamples]:
        """What a head that is, or was, anchored is anchored to when it is fitted again; None for another."""
        return self._source if anchored else None

    # -- the start

    def start(self) -> None:
        """Find the head that serves. Never fails for what is stored: the factory head is the last resort."""
        with self._store.view():
            self._start()

    def _start(self) -> None:
        generations = self._store.generations
        found = generations.pointer()
        if found is None:
            good, numbers = generations.numbers(), generations.numbers(good=False)
            newest = max([*numbers, self._store.facts.newest_generation()])
            found = Pointer(max(good, default=0), 0, newest, 0, self._store.samples.last_id())
            self._recover(found, "the record of which generation is live was damaged; the newest good one serves")
        self.pointer = found
        if self._store.writable and found.active:
            if found.starts >= FAILED_STARTS:
                self._recover(
                    replace(found, active=0, previous=found.active, starts=0, guard=""),
                    f"{found.starts} starts in a row ended before a first answer; the factory head serves."
                    f" `edgetl-runtime rollback --to {found.active}` takes generation {found.active} again",
                )
            else:
                # Before anything of this generation is touched: it may be what ends the process.
                self._move(replace(found, starts=found.starts + 1))
        live = self._read(self.pointer.active)
        if live is None:
            lost = self.pointer.active
            older = (self._read(number) for number in generations.numbers() if number < lost)
            live = next((one for one in older if one is not None), self.factory)
            serves = f"generation {live.generation}" if live.generation else "the factory head"
            self._recover(
                replace(
                    self.pointer, active=live.generation, previous=0, guard="", since=self._store.samples.last_id()
                ),
                f"generation {lost} is damaged; {serves} serves",
            )
        self.live = live

    def confirm(self) -> None:
        """This start has come to an answer: the count of failed ones begins anew."""
        if self._store.writable and self.pointer.starts:
            pointer = replace(self.pointer, starts=0)
            self._store.generations.point(pointer)
            self.pointer = pointer

    def refresh(self) -> bool:
        """Follow another process that writes: whether another generation is live now."""
        with self._store.view():
            found = self._store.generations.pointer()
            live = None if found is None or found.active == self.live.generation else self._read(found.active)
        if found is None or live is None:
            return False
        self.pointer, self.live = found, live
        return True

    def keep_guard(self, guard: str) -> None:
        """The guard's state now: the trials up to here are needed no more."""
        pointer = replace(self.pointer, guard=guard, since=self._store.samples.last_id())
        self._store.generations.point(pointer)
        self.pointer = pointer

    # -- moves

    def promote(
        self, fitted: Fitted, upto: int, samples: int, guard: str = "", detail: Optional[Dict[str, Any]] = None
    ) -> None:
        """Store a head as the next generation and make it live, durably and all at once."""
        number, parent = self.pointer.newest + 1, self.pointer.active
        made = Generation(number, parent, "learnt", upto, samples, self._space, detail or {}, head=pack_fitted(fitted))
        pointer = Pointer(number, parent, number, self.pointer.starts, self._store.samples.last_id(), guard)
        shared = {} if fitted.share is None else {"share": fitted.share}
        with self._store.change():
            self._store.generations.add(made)
            self._store.generations.point(pointer)
            self._store.generations.trim(KEPT_GENERATIONS, pointer)
            self._store.facts.log(
                number, "promote",
                {"from": parent, "samples": samples, "anchored": fitted.anchored, **shared, **(detail or {})},
            )  # fmt: skip
        self.pointer, self.live, self.recovered = pointer, Live(fitted, number, upto, samples), None

    def go_back(
        self, to: Optional[int], kind: str, guard: str = "", detail: Optional[Dict[str, Any]] = None, bad: bool = False
    ) -> None:
        """Make an earlier generation live: that number, or the good one that was live before this one.

        `bad` marks what was live as worse, for good. Raises GenerationError when it may not go live.
        """
        left = self.pointer.active
        number = self.before() if to is None else to
        if number == left:
            raise GenerationError(f"generation {number} is live already; nothing was changed")
        live = self._read(number) if not number or number in self._store.generations.numbers() else None
        if live is None:
            raise self._refused(number)
        pointer = replace(self.pointer, active=number, previous=left, guard=guard, since=self._store.samples.last_id())

        def move() -> None:
            with self._store.change():
                if bad and left:
                    self._store.generations.mark_bad(left)
                self._store.generations.point(pointer)
                self._store.facts.log(number, kind, {"from": left, **(detail or {})})

        self._store.insist(move)
        self.pointer, self.live, self.recovered = pointer, live, None

    def forget(
        self, delete: Callable[[], None], oldest: int, gone: Sequence[int], fitted: Optional[Fitted], samples: int,
        detail: Dict[str, Any],
    ) -> None:  # fmt: skip
        """Delete samples, the `oldest` id of them, and the generations `gone` that knew them, all at once.

        Where the live one goes, a new generation takes its place: `fitted`, which learnt the other `samples` of
        it, or without one the newest that is left.
        """
        pointer, live, made = self.pointer, self.live, None
        left = [number for number in self._store.generations.numbers() if number not in gone]
        if pointer.active in gone:
            parent = max((number for number in left if number < pointer.active), default=0)
            if fitted is None:
                live = self._read(parent) or self.factory
            else:
                live = Live(fitted, pointer.newest + 1, live.upto, samples)
                made = Generation(
                    live.generation, parent, "forgotten", live.upto, samples, self._space, detail,
                    head=pack_fitted(fitted),
                )  # fmt: skip
            newest = max(pointer.newest, live.generation)
            pointer = replace(pointer, active=live.generation, previous=parent, newest=newest)
        elif pointer.previous in gone:
            pointer = replace(pointer, previous=0)
        if oldest <= pointer.since:
            # What the guard made of these samples is part of its state; it is made again without them.
            pointer = replace(pointer, guard="", since=0)
        with self._store.change():
            delete()
            self._store.generations.delete(gone)
            if made is not None:
                self._store.generations.add(made)
            self._store.generations.point(pointer)
            self._store.facts.log(pointer.active, "forget", {**detail, "generations_removed": list(gone)})
        self._store.wipe_journal()
        self.pointer, self.live = pointer, live

    def before(self) -> int:
        """The good generation that `go_back(None)` leads to; raises GenerationError at the factory head."""
        if not self.pointer.active:
            raise GenerationError("the factory head is live; there is nothing before it")
        found = self._store.generations.get(self.pointer.active)
        parent = 0 if found is None else found.parent
        return max((number for number in self._store.generations.numbers() if number <= parent), default=0)

    def knowing(self, oldest: int) -> List[int]:
        """Generations that learnt from samples up to that id or beyond."""
        return [made.number for made in self._store.generations.listed() if made.upto >= oldest]

    def fitted(self, number: int) -> Optional[Fitted]:
        """The head of a stored generation, or None when there is no such intact one."""
        found = self._read(number)
        return None if found is None else found.fitted

    # -- inside

    def _refused(self, number: int) -> GenerationError:
        good = ", ".join(map(str, [0, *sorted(self._store.generations.numbers())]))
        held = number in self._store.generations.numbers(good=False)
        return GenerationError(
            f"generation {number} {'turned out worse, or is damaged,' if held else 'is not there'} and cannot be made"
            f" live; nothing was changed. These can: {good}"
        )

    def _read(self, number: int) -> Optional[Live]:
        if number == 0:
            return self.factory
        made = self._store.generations.get(number)
        if made is None:
            return None
        try:
            if not made.head:
                return self._settled(made)
            fitted = unpack_fitted(made.head, f"generation {number}", self._space, self._member.source.dim)
            return Live(fitted, number, made.upto, made.samples)
        except (EdgetlError, ValueError) as error:
            logger.error("state %s: generation %d does not serve: %s", self._store.path, number, error)
            return None

    def _settled(self, made: Generation) -> Live:
        """A generation that is known as a sum only: fitted now, and stored where that is possible."""
        learner, samples, _ = learner_of(self._store, self._member, made.upto, anchor=self.anchor(is_anchored(made)))
        fitted = learner.fit()
        if self._store.writable:
            done = replace(made, samples=samples, feature_space=self._space, head=pack_fitted(fitted))
            self._try(lambda: self._store.generations.add(done))
        return Live(fitted, made.number, made.upto, samples)

    def _recover(self, pointer: Pointer, why: str) -> None:
        logger.error("state %s: %s", self._store.path, why)
        self.recovered = why if self.recovered is None else f"{self.recovered}; {why}"
        self._move(pointer)
        if self._store.writable:
            self._try(lambda: self._store.facts.log(pointer.active, "recovered", {"reason": why}))

    def _move(self, pointer: Pointer) -> None:
        self.pointer = pointer
        if self._store.writable:
            self._try(lambda: self._store.insist(lambda: self._store.generations.point(pointer)))

    def _try(self, action: Callable[[], None]) -> None:
        """A start must come up where nothing can be written, too."""
        try:
            action()
        except StateError as error:
            logger.error("state %s: %s", self._store.path, error)
