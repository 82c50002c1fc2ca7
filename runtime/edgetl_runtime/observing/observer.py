"""The unlabelled half of a session: it keeps, looks, offers challengers, and asks; it never changes a head by itself
unless the user chose that."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl_runtime.adapt import Likeness, QuestionBudget
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.drift import KINDS, Diagnosis, PageHinkley, Reference
from edgetl_runtime.errors import EdgetlError, SampleError, StateError
from edgetl_runtime.guard import Verdict
from edgetl_runtime.heads import TargetHead
from edgetl_runtime.learner import Fitted
from edgetl_runtime.observing.asking import Asking, Question, chosen_questions, unknown_rows
from edgetl_runtime.observing.contenders import Contenders, Heard
from edgetl_runtime.observing.looking import GuardSamples, Offers, base_reference, diagnosed, offers
from edgetl_runtime.observing.policy import ObservePolicy
from edgetl_runtime.observing.seen import Seen, Window
from edgetl_runtime.observing.standing import Standing
from edgetl_runtime.observing.study import rehearsed
from edgetl_runtime.store import Observed, Store
from edgetl_runtime.teaching import Lineage, Teacher

__all__ = ["Observer"]

logger = logging.getLogger(__name__)

_NOTHING: Dict[str, Any] = {
    "kind": "none", "words": "nothing was observed yet", "why": "", "independent": 0, "tests": {}, "kept": 0, "seen": 0,
    "follows": None, "challengers": [], "refused": {}, "verdict": None, "questions": {},
}  # fmt: skip


class Observer:
    """What one session saw without labels. `observe` may be called by any thread and waits for nothing but itself;
    the other methods take the session's `lock`, and none is called while it is held but those that say so."""

    def __init__(
        self, store: Store, lineage: Lineage, teacher: Teacher, member: HeadMember, source: Optional[GuardSamples],
        guard_policy: str, policy: ObservePolicy, feature_space: str, quota_bytes: int, lock: Any,
    ) -> None:  # fmt: skip
        self._store, self._lineage, self._teacher = store, lineage, teacher
        self._member, self._source, self.policy = member, source, policy
        self._space, self._quota_bytes, self._lock = feature_space, quota_bytes, lock
        self._seen, self._seen_lock = Seen(member.source.dim, policy), threading.Lock()
        self._looking = threading.Lock()
        self._guard_policy, self._contenders = guard_policy, Contenders(guard_policy, member.source)
        self._asking = Asking(QuestionBudget(policy.questions_per_day))
        self._confidence = PageHinkley()
        self._confidence_alarms = self._confidence_upto = 0
        self._reference: Optional[Tuple[Fitted, Optional[Reference]]] = None
        self._standing = Standing(store, lineage, teacher)
        self._likeness: Optional[Likeness] = None
        self._facts: Dict[str, Any] = dict(_NOTHING)
        self._due, self._closing = threading.Event(), False
        self._thread: Optional[threading.Thread] = None
        self._adapted_s = self._saved_s = float("-inf")
        self._adapted_kept = self._saved_kept = 0
        self._restored = self._asked = False
        self._labels = 0  # since adapters were made

    # -- what comes

    def observe(self, feature: ArrayLike, stamp_s: Optional[float], wait: bool = True) -> Optional[int]:
        """Keep one feature (D,); its number; None where it came too soon, or must not `wait` for a learner. O(D)."""
        if not self.restore(wait):
            return None
        with self._seen_lock:
            number = self._seen.add(feature, stamp_s)
        if number is not None and number % self.policy.look_every == 0:
            self._wake()
        return number

    def try_out(self, features: NDArray[np.float32], labels: Sequence[str]) -> Heard:
        """What the challengers lose on labelled samples that have taught nobody. Under the session's lock."""
        return self._contenders.try_out(
            features, labels, self._lineage.live.fitted, self._lineage.factory.fitted
        ) if len(self._contenders) else {}  # fmt: skip

    def judged(self, heard: Heard) -> None:
        """Take in what was tried out, and act where the guard does. Under the session's lock."""
        if not heard:
            return
        self._contenders.add(heard)
        found = self._contenders.verdict()
        if found is not None and found[1].decision == "promote":
            self._adopt(*found)
            return
        self._labels += len(next(iter(heard.values())))
        if self._labels >= max(8, self.policy.look_every // 4):
            self._wake()  # heads that know these labels too

    # -- what is made of it

    def look(self, adapt: Optional[bool] = None) -> Dict[str, Any]:
        """Run the drift tests on what is kept now, and make the adapters that their pattern asks for; the facts.

        `adapt` None: when it is due. O(N D (R + K)) for N samples, with adapters O(D^3). Never under the lock.
        """
        with self._looking:
            with self._lock:
                self.restore()
                with self._seen_lock:
                    window = self._seen.window()
                base = self._standing.base()
                reference = self._known(base)
                labelled, labels = self._standing.taught() if self._store.writable else (None, [])
            if reference is None:
                self._facts = {**_NOTHING, "why": "the bundle has no guard set to compare with"}
                return self.facts()
            found, start = diagnosed(reference, window.features)
            self._watch(base, window)
            now = time.monotonic()
            fresh = self._is_due(found, len(window) - start, now) if adapt is None else adapt
            fresh = fresh and self._store.writable
            new = window.features[start:]
            made = offers(found, base, reference, self._member, new, labelled, labels) if fresh else None
            with self._lock:
                self._install(found, len(window) - start, made, now)
            return self.facts()

    def facts(self) -> Dict[str, Any]:
        """Plain data of the last look, and of what stands before the guard; cheap."""
        self.restore()
        return {**self._facts, **(self._before_guard() if self._store.writable or len(self._contenders) else {})}

    def _before_guard(self) -> Dict[str, Any]:
        found = self._contenders.verdict()
        return {
            "kept": len(self._seen),
            "seen": self._seen.kept + self._seen.passed_over,
            "follows": self._standing.follows(),
            "challengers": self._contenders.facts(),
            "refused": dict(self._contenders.refused),
            "verdict": None if found is None else {"decision": found[1].decision, "reason": found[1].reason},
            "questions": {
                "open": len(self._asking.open),
                "left_today": self._asking.budget.left(time.time()),
                "answered": len(self._asking.answered),
                "accuracy": self._asking.accuracy(),
            },
        }

    def rehearse(
        self, features: Any, stamps_s: Any, labels: Any, policy: ObservePolicy, judge_every: int
    ) -> Dict[str, Any]:
        """What it would have made of a recorded stream, from the live head without its adapter on. See `study`."""
        with self._lock:
            base, first = self._standing.base(), self._lineage.factory.fitted
        rows = np.asarray(features, dtype=np.float32)
        return rehearsed(
            rows, stamps_s, labels, self._member, self._source, base, first, policy, self._guard_policy, judge_every
        )

    def review(self, accept: bool) -> Optional[Verdict]:
        """What the guard says of the challengers, and with `accept` a person's yes to the best. Under the lock."""
        found = self._contenders.verdict()
        if found is None:
            return None
        name, verdict = found
        if accept and verdict.decision in ("ask", "keep"):
            verdict = Verdict("promote", f"accepted by hand; {verdict.reason}", verdict.target, verdict.evidence)
        if verdict.decision == "promote":
            self._adopt(name, verdict)
        return verdict

    def questions(self, most: Optional[int]) -> List[Question]:
        """The open questions and new ones, as far as the day's budget goes. Under the session's lock."""
        live = self._lineage.live.fitted
        if isinstance(live.head, TargetHead):
            raise StateError("questions are for classes; this head gives numbers")
        self.restore()
        with self._seen_lock:
            window = self._seen.window()
        self._asking.drop_gone(window)
        now = max([time.time(), *map(float, self._asking.budget.state()["asked"])])  # type: ignore[call-overload]
        wanted = self._asking.budget.left(now) if most is None else min(most, self._asking.budget.left(now))
        reference = self._known(self._standing.base())
        if wanted > 0 and len(window) and reference is not None:
            unknown = unknown_rows(reference, live.outliers.score(window.features))
            seed = [int.from_bytes(self._space.encode()[:8], "little"), self._asking.last]
            generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
            # Where the whole domain moved, that is what is unlike anything known, and no class.
            moved = self._facts["kind"] == "covariate shift" and self._standing.follows() is None
            likeness = self._alike() if len(unknown) >= 3 and not moved else None
            others = list(self._contenders.fitted().values())
            self._asking.add(
                chosen_questions(window, live, others, unknown, likeness, self._asking, wanted, generator), now
            )
            self._asked = True
            self._save(force=True)
        return list(self._asking.open.values())

    def asked(self, number: int) -> Tuple[Question, NDArray[np.float32]]:
        """An open question and the features (M, D) of its samples; raises UnknownSampleError. Under the lock."""
        self.restore()
        with self._seen_lock:
            window = self._seen.window()
        self._asking.drop_gone(window)
        question = self._asking.take(number)
        places = {int(one): place for place, one in enumerate(window.numbers)}
        return question, window.features[[places[one] for one in question.observed]]

    def answered(self, question: Question, label: str) -> None:
        """A person said what it is, and it was learnt. Under the session's lock."""
        self._asking.close(question, bool(question.guesses) and question.guesses[0][0] == label)
        self._asked = True
        self._save(force=True)

    # -- what others do

    def begin_anew(self) -> None:
        """The live head was changed by a person or by forgetting. Under the session's lock."""
        self._contenders.forget()
        self._adapted_s = float("-inf")

    def forget(self) -> None:
        """Something was forgotten: it may be among what was seen, so nothing of that stays. Under the lock."""
        with self._seen_lock:
            self._seen.clear()
        self._asking.open = {}
        self._facts = dict(_NOTHING)
        self.begin_anew()
        if self._store.observed.size_bytes():
            self._store.observed.delete()
            self._store.wipe_journal()

    def restore(self, wait: bool = True) -> bool:
        """What an earlier process left, read once; a state of before, or a damaged row, begins with nothing."""
        if not self._restored and self._lock.acquire(blocking=wait):
            try:
                if not self._restored:
                    self._restore()
            finally:
                self._lock.release()
        return self._restored

    def _restore(self) -> None:
        self._restored = True
        kept = self._store.observed.get()
        if kept is None or kept.feature_space != self._space:
            return
        try:
            facts = kept.facts
            with self._seen_lock:
                self._seen.unpack(kept.state)
            self._contenders.restore(facts["contenders"])
            self._asking.restore(facts["asking"])
            self._facts = {**_NOTHING, **dict(facts["facts"])}
            self._saved_kept = self._confidence_upto = self._seen.kept
            self._saved_s = time.monotonic()
        except (EdgetlError, KeyError, TypeError, ValueError) as error:
            logger.warning("state %s: %s; observing begins anew", self._store.path, error)

    def refresh(self) -> None:
        """With a session that only reads: what the writer has kept by now. Under the session's lock."""
        self._restored = False

    def close(self) -> None:
        """End the thread and keep what was seen. Never under the session's lock."""
        self._closing = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(timeout=60.0)
        with self._lock:
            self._save(force=True)

    # -- inside

    def _wake(self) -> None:
        if self._thread is None and not self._closing:
            self._thread = threading.Thread(target=self._work, name="edgetl observing", daemon=True)
            self._thread.start()
        self._due.set()

    def _work(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._closing:
                return
            try:
                self.look()
            except Exception:  # what one look meets must not end the others
                logger.exception("what was observed could not be looked at")

    def _known(self, base: Fitted) -> Optional[Reference]:
        if self._reference is None or self._reference[0] is not base:
            before = self._reference[1] if self._reference is not None else None
            self._reference = base, base_reference(base, self._member, self._source, before)
        return self._reference[1]

    def _alike(self) -> Optional[Likeness]:
        if self._likeness is None and self._source is not None:
            self._likeness = Likeness.of(self._member.source, self._source.features, list(self._source.labels))
        return self._likeness

    def _watch(self, base: Fitted, window: Window) -> None:
        """Page-Hinkley on the confidence of what is new."""
        new = window.numbers > self._confidence_upto
        if isinstance(base.head, TargetHead) or not new.any():
            return
        for share in base.head.predict_proba(window.features[new]).max(axis=1):
            self._confidence_alarms += self._confidence.update(float(share))
        self._confidence_upto = int(window.numbers[-1])

    def _is_due(self, found: Diagnosis, newest: int, now: float) -> bool:
        """Another shift, new labels, twice as many samples, or a part of them new and some time gone by."""
        if found.kind != self._contenders.kind:
            return True
        made_of = max((one["samples"] for one in self._contenders.facts()), default=newest)
        renewed = self._seen.kept - self._adapted_kept >= max(self.policy.look_every, newest // 4)
        learnt = self._labels >= max(8, self.policy.look_every // 4)
        return learnt or newest >= 2 * made_of or (renewed and now - self._adapted_s >= self.policy.adapt_every_s)

    def _install(self, found: Diagnosis, newest: int, made: Optional[Offers], now: float) -> None:
        before = self._facts
        if found.kind == "none" and not found.outcomes and before["kind"] != "none":
            return  # too few to say that it is over
        self._facts = {
            **before, "kind": found.kind, "words": KINDS[found.kind], "why": found.why, "newest": newest,
            "independent": found.independent, "gap": found.gap, "looked_wall_s": time.time(),
            "since_wall_s": before.get("since_wall_s") if before["kind"] == found.kind else time.time(),
            "tests": {
                name: {"statistic": outcome.statistic, "p_value": outcome.p_value}
                for name, outcome in found.outcomes.items()
            },
            "confidence": {"mean": self._confidence.mean, "alarms": self._confidence_alarms},
        }  # fmt: skip
        if made is not None:
            self._contenders.put(made)
            self._adapted_s, self._adapted_kept, self._labels = now, self._seen.kept, 0
            if self.policy.without_labels == "adopt" and made.offered and self._standing.follows() is None:
                name = made.offered[0].adapter
                reason = f"{found.kind}: {found.why}; it follows without labels because the user chose that"
                self._adopt(name, Verdict("promote", reason, "adapted", {}))
        if self._store.writable and found.kind != before["kind"] and (found.kind != "none" or before.get("gap")):
            self._say(found)
        self._save()

    def _say(self, found: Diagnosis) -> None:
        try:
            self._store.log_event("drift", shift=found.kind, why=found.why, independent=found.independent)
        except StateError as error:
            logger.warning("the drift was not noted: %s", error)

    def _adopt(self, name: str, verdict: Verdict) -> None:
        offer = self._contenders.offer(name)
        detail = {"adapter": name, "shift": self._contenders.kind, "unlabelled": offer.samples}
        self._teacher.adopt(offer.fitted, verdict, detail)
        self._contenders.forget()

    def _save(self, force: bool = False) -> None:
        """One row, rarely: unless there is no room for it in the quota, or nothing new."""
        now = time.monotonic()
        if not self._store.writable or not (self._asked or self._seen.kept > self._saved_kept):
            return
        if not force and now - self._saved_s < self.policy.save_every_s:
            return
        try:
            with self._seen_lock:
                data, samples = self._seen.pack(), len(self._seen)
            facts = {
                "facts": {**self._facts, **self._before_guard()}, "contenders": self._contenders.state(),
                "asking": self._asking.state(),
            }  # fmt: skip
            room = self._quota_bytes - self._store.used_bytes() + self._store.observed.size_bytes()
            if len(data) > room:
                logger.info("state %s: no room in its quota for what was seen without labels", self._store.path)
                self._store.observed.delete()
            else:
                self._store.observed.put(Observed(samples, self._space, facts, data))
            self._saved_s, self._saved_kept, self._asked = now, self._seen.kept, False
        except (SampleError, StateError) as error:
            logger.warning("state %s: what was seen without labels was not kept: %s", self._store.path, error)
