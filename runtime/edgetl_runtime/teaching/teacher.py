"""Every sample is judged before it teaches, is durable before it counts, and the guard decides what goes live."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt import is_adapted
from edgetl_runtime.bundle.members import HeadMember, SourceSamples
from edgetl_runtime.errors import EdgetlError, GenerationError, UnknownSampleError
from edgetl_runtime.guard import Verdict
from edgetl_runtime.learner import Fitted, Learner
from edgetl_runtime.store import GUARD, TRAIN, NewSample, Store, shed
from edgetl_runtime.teaching.aside import StatesAside
from edgetl_runtime.teaching.forgetting import forget, refuse_folded
from edgetl_runtime.teaching.holding import Holding
from edgetl_runtime.teaching.judging import Judge, stored_trial
from edgetl_runtime.teaching.lineage import Lineage
from edgetl_runtime.teaching.relearning import fold_oldest, learner_of

__all__ = ["Teacher"]

logger = logging.getLogger(__name__)

_REFIT_SHARE = 0.05


class _Candidate(NamedTuple):
    """A head fitted on `samples` training samples, those with id <= `upto`."""

    fitted: Fitted
    upto: int
    samples: int


class Teacher:
    """What a session learns, judges and forgets. Not safe between threads; reads the store when first needed."""

    def __init__(
        self, store: Store, lineage: Lineage, member: HeadMember, source: Optional[SourceSamples],
        policy: str, quota_bytes: int, keep_raw_bytes: int = 0,
    ) -> None:  # fmt: skip
        self._store, self._lineage, self._member = store, lineage, member
        self._quota_bytes, self._keep_raw_bytes = quota_bytes, keep_raw_bytes
        self._judge = Judge(store, lineage, member, source, policy)
        # Where all that is learnt goes live at once, nothing holds it back.
        self._anchor = source if self._judge.judges else None
        self._learner: Optional[Learner] = None
        self._holding = Holding(0, [], 0)
        self._taught: Dict[str, int] = {}
        self._samples = 0
        self._last_id = 0
        self._last_taught = 0
        self._candidate: Optional[_Candidate] = None
        self._noted = ""

    def learn(
        self, features: NDArray[np.float32], labels: Sequence[str], source: str, on_purpose: bool,
        samples: Sequence[Any] = (),
    ) -> List[int]:  # fmt: skip
        """Judge, store and learn features (N, D) with labels (N); their ids. `samples` (N) are what they are of.

        Scored in blocks of 1, 1, 2, 4, ... with a refit between them, so that the candidate keeps up as if they
        had come one by one. All are stored in one transaction, or none is and nothing was learnt.
        """
        learner = self._ready()
        rows: List[NewSample] = []
        released: List[int] = []
        first, offered = self._last_id + 1, self._holding.offered
        start = 0
        try:
            for start, end in _blocks(len(labels), self._judge.judges):
                rows += self._judged(features[start:end], labels[start:end], source, on_purpose, released)
                if end < len(labels):
                    self._teach(learner, features[start:end], rows[start:end], first + start)
                    self._refit(learner)
            with self._store.change():
                ids = self._store.samples.add(rows, features, self._lineage.live.generation)
                if self._keep_raw_bytes:
                    self._store.raw.add(ids, samples, self._keep_raw_bytes)
                for number in released:
                    self._store.samples.release(number)
                if self._holding.offered != offered:
                    self._store.set_meta(held_offered=str(self._holding.offered))
        except BaseException:
            self._learner = None  # more is in memory than is stored: read it again
            raise
        try:
            self._teach(learner, features[start:], rows[start:], first + start)
            self._teach_released(learner, released)
            self._refit(learner)
            self._make_room()
            self._act(self._judge.judge(self._fitted()))
        except EdgetlError as error:
            logger.error("state %s: the samples are kept, but no head was moved: %s", self._store.path, error)
        return ids

    def review(self, accept: bool = False) -> Verdict:
        """The guard judges now, on a candidate that knows everything; stored with its evidence.

        `accept` is a person's yes: what the guard asks for is done, and where it is not sure the candidate goes
        live on that person's word.
        """
        learner = self._ready()
        self._refit(learner, every=True)
        verdict = self._judge.judge(self._fitted())
        if accept and verdict.decision in ("ask", "keep"):
            decision = "roll back" if verdict.target in ("previous", "factory") else "promote"
            verdict = replace(verdict, decision=decision, reason=f"accepted by hand; {verdict.reason}")
        return self._act(verdict, asked=True)

    def rollback(self, to: Optional[int]) -> None:
        """Go back because a person says so; what was learnt since stays, as the candidate."""
        if self._learner is None:
            self._judge.restore()
        guard, state = self._judge.after("roll back")
        self._lineage.go_back(to, "rollback", state)
        self._judge.guard = guard

    def forget(self, sample_id: Optional[int], label: Optional[str], source: Optional[str]) -> int:
        """See `forgetting.forget`; in every state of the folder. First in those that are not in use: what a cut leaves
        undone can be asked for again."""
        with contextlib.closing(StatesAside(self._store)) as aside:
            found = aside.find(sample_id, label, source)
            folded = self._store.folded.get()
            if folded is not None:
                refuse_folded(self._store, folded, sample_id, label, source)
            try:
                here = self._store.samples.find(sample_id=sample_id, label=label, source=source)
            except UnknownSampleError:
                if not found:
                    raise
                here = []
            what = {"id": sample_id, "label": label, "source": source}
            aside.forget(found, {key: value for key, value in what.items() if value is not None})
        if here:
            forget(self._store, self._lineage, self._member, sample_id, label, source)
        self._learner = None
        return len({number for _, ids in found for number in ids}.union(here))

    def plain(self) -> Fitted:
        """The live head; where an adapter made it, that of the source and all that was learnt, without an adapter."""
        live = self._lineage.live.fitted
        if not is_adapted(live.head):
            return live
        learner = self._ready()
        return learner.fit() if self._samples else self._lineage.factory.fitted

    def adopt(self, fitted: Fitted, verdict: Verdict, detail: Mapping[str, Any]) -> None:
        """Make live what an adapter made of all that was learnt and of samples without labels, as `detail` says."""
        learner = self._ready()
        guard, state = self._judge.after("adopt")
        told = {"verdict": verdict.to_json(), **detail}
        self._lineage.promote(fitted, self._last_id, self._samples, state, told)
        self._judge.guard = guard
        self._refit(learner, every=True)

    def taught(self) -> Dict[str, int]:
        """Training samples by label, those in the sum of the oldest included."""
        if self._learner is None:
            self._taught = {}
            for (role, label), count in self._store.samples.counts().items():
                if role == TRAIN:
                    kind = self._member.counted_as(label)
                    self._taught[kind] = self._taught.get(kind, 0) + count
            folded = self._store.folded.get()
            for label, count in folded.labels.items() if folded is not None else ():
                self._taught[label] = self._taught.get(label, 0) + count
        return {label: self._taught[label] for label in sorted(self._taught)}

    def held(self) -> int:
        """Samples that judge heads and teach none."""
        if self._learner is not None:
            return len(self._holding.held)
        return sum(count for (role, _), count in self._store.samples.counts().items() if role == GUARD)

    # -- in memory

    def _ready(self) -> Learner:
        if self._learner is not None:
            return self._learner
        learner, self._samples, self._last_taught = learner_of(self._store, self._member, anchor=self._anchor)
        self._last_id = self._store.samples.last_id()
        self.taught()  # before there is a learner: from the store
        held = [sample.id for sample in self._store.samples.listed() if sample.role == GUARD]
        offered = self._store.meta("held_offered") or ""
        seed = int.from_bytes(str(self._member.source.feature_space).encode()[:8], "little")
        self._holding = Holding(seed, held, int(offered) if offered.isdecimal() else 0)
        self._judge.restore()
        self._candidate = None
        self._refit(learner, every=True)
        self._learner = learner
        return learner

    def _judged(
        self, features: NDArray[np.float32], labels: Sequence[str], source: str, on_purpose: bool, released: List[int]
    ) -> List[NewSample]:
        """Samples as they will be stored: judged by every head that has not learnt from them, with their roles."""
        if not self._judge.judges:
            self._last_id += len(labels)
            return [NewSample(label, source) for label in labels]
        rows = []
        for label, trial in zip(labels, self._judge.try_out(features, labels, source, on_purpose, self._fitted())):
            self._last_id += 1
            if not on_purpose:
                drawn = self._holding.draw(self._last_id, self._taught.get(self._member.counted_as(label), 0))
                trial = replace(trial, held=drawn.held)
                released += [] if drawn.released is None else [drawn.released]
            self._judge.guard.add([trial])
            rows.append(NewSample(label, source, GUARD if trial.held else TRAIN, stored_trial(trial)))
        return rows

    def _teach(self, learner: Learner, features: NDArray[np.float32], rows: Sequence[NewSample], first: int) -> None:
        """Teach those of the rows (with ids from `first` on) that are not held."""
        keep = [position for position, row in enumerate(rows) if row.role == TRAIN]
        if keep:
            labels = [rows[position].label for position in keep]
            learner.add(features[keep], labels, [first + position for position in keep])
            self._count(labels)
            self._last_taught = first + keep[-1]

    def _teach_released(self, learner: Learner, released: Sequence[int]) -> None:
        for number in released:
            for block in self._store.samples.load(number - 1, number):
                learner.add(block.features, block.labels, block.ids)
                self._count(block.labels)

    def _count(self, labels: Sequence[str]) -> None:
        self._samples += len(labels)
        for kind in map(self._member.counted_as, labels):
            self._taught[kind] = self._taught.get(kind, 0) + 1

    def _refit(self, learner: Learner, every: bool = False) -> None:
        """Let the candidate follow, when a twentieth came since its last fit, or a class that it does not know."""
        have = self._candidate
        if not self._samples or not self._has_news():
            live = self._lineage.live
            self._candidate = _Candidate(live.fitted, self._last_id, live.samples) if live.samples else None
            return
        if have is not None and not every and self._judge.judges:
            grown = self._samples - have.samples
            known = {*have.fitted.head.classes, *([""] if self._member.target_count else [])}
            if grown < max(1.0, _REFIT_SHARE * have.samples) and all(label in known for label in self._taught):
                return
        if have is None or have.samples != self._samples:
            have = _Candidate(learner.fit(), self._last_id, self._samples)
        self._candidate = have._replace(upto=self._last_id)

    def _has_news(self) -> bool:
        """Was anything learnt that the live head does not know?"""
        live = self._lineage.live
        return self._last_taught > live.upto or self._samples != live.samples

    def _fitted(self) -> Optional[Fitted]:
        return None if self._candidate is None else self._candidate.fitted

    # -- what follows

    def _act(self, verdict: Verdict, asked: bool = False) -> Verdict:
        """Do what the verdict says, durably, with its evidence; what was really done."""
        candidate = self._candidate
        if verdict.decision == "promote" and (candidate is None or not self._has_news()):
            verdict = replace(verdict, decision="keep", reason="all that was learnt is live already")
        detail = {"verdict": verdict.to_json()}
        if verdict.decision == "promote" and candidate is not None:
            guard, state = self._judge.after("promote")
            self._lineage.promote(candidate.fitted, candidate.upto, candidate.samples, state, detail)
            self._judge.guard = guard
        elif verdict.decision == "roll back":
            guard, state = self._judge.after("roll back")
            try:
                to = 0 if verdict.target == "factory" else self._lineage.before()
                self._lineage.go_back(to, "reversal", state, detail, bad=True)
            except GenerationError as error:
                return replace(verdict, decision="keep", target="", reason=f"{verdict.reason}; {error}")
            self._judge.guard = guard
        else:
            note = f"{verdict.decision} {verdict.reason.partition(':')[0]}"
            if asked or note != self._noted:
                self._store.log_event("verdict", **detail)
            self._noted = note
        return verdict

    def _make_room(self) -> None:
        def fold(count: int) -> int:
            with self._store.change():
                folded = fold_oldest(self._store, self._member, count)
                self._lineage.keep_guard(self._judge.state())
            return folded

        shed(self._store, self._quota_bytes, fold)


def _blocks(count: int, judged: bool) -> List[Tuple[int, int]]:
    """1, 1, 2, 4, ... samples; all at once where nothing is judged."""
    if not judged:
        return [(0, count)]
    blocks: List[Tuple[int, int]] = []
    start = 0
    while start < count:
        blocks.append((start, min(count, start + max(1, start))))
        start = blocks[-1][1]
    return blocks
