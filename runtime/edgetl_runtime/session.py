"""A session: one installed bundle, one engine, one learnt state. Sample -> preprocess -> engine -> head -> store.

A prediction reads one immutable record and waits for nobody: not for a learner, a refit or the disk.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import asdict, replace
from itertools import chain, repeat
from typing import Any, Dict, Iterable, List, Mapping, Optional, Type

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.answering import said_of, stored_truths
from edgetl_runtime.board import rss_bytes
from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.members import HeadMember, SourceSamples
from edgetl_runtime.errors import EdgetlError, StateError
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.guard import POLICIES, Verdict
from edgetl_runtime.heads import Explanation
from edgetl_runtime.labels import plain_text
from edgetl_runtime.observing import ObservePolicy, Observer, Question
from edgetl_runtime.preprocess import Preprocess
from edgetl_runtime.reservoir import nearest_rows
from edgetl_runtime.store import QUOTA_BYTES, LearntSample, Store
from edgetl_runtime.teaching import HistoryEntry, Lineage, Teacher, recovery, told
from edgetl_runtime.types import Prediction
from edgetl_runtime.updating import BundleTrial

__all__ = ["Session"]

logger = logging.getLogger(__name__)


class Session:
    """Predicts and learns; made by `opening.open_session` (`edgetl_runtime.open`). Safe to use from several threads.

    What is durable is written first; memory follows. Every promotion, roll-back and reversal is one transaction
    and replaces the live head between two predictions. With `read_only` a session answers from the generation it
    was opened with until `refresh`. A session does not survive a fork.
    """

    def __init__(
        self, bundle: Bundle, extractor: Extractor, store: Store, member: HeadMember, source: Optional[SourceSamples],
        *, policy: str = "guarded", quota_bytes: int = QUOTA_BYTES, keep_raw_bytes: int = 0,
        trial: Optional[BundleTrial] = None, observe: Optional[ObservePolicy] = None,
    ) -> None:  # fmt: skip
        if policy not in POLICIES:
            raise StateError(f"there is no policy {policy!r}; choose one of {', '.join(sorted(POLICIES))}")
        manifest = bundle.manifest
        self._name, self._bundle_id, self._signed_by = manifest.name, bundle.id, bundle.signed_by
        self._classes, self._outputs = manifest.classes, manifest.outputs
        self._extractor = extractor
        self._store = store
        self._member = member
        self._policy, self._quota_bytes = policy, quota_bytes
        self._say_policy()
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._lineage = Lineage(store, member, extractor.variant.feature_space, source)
        self._lineage.start()
        self._teacher = Teacher(store, self._lineage, member, source, policy, quota_bytes, keep_raw_bytes)
        self._observer = Observer(
            store, self._lineage, self._teacher, member, source, policy, observe or ObservePolicy(),
            extractor.variant.feature_space, quota_bytes, self._lock,
        )  # fmt: skip
        self._trial = BundleTrial(store, bundle) if trial is None else trial
        self._confirmed = not store.writable or not (self._lineage.pointer.starts or self._trial.pending)

    @property
    def takes(self) -> Preprocess:
        """What a sample must be: frames, arrays or text, their shape, and how a stream is cut into them."""
        return self._extractor.takes

    def preprocess(self, sample: Any) -> NDArray[Any]:
        """The extractor's input tensor for one sample; raises SampleError."""
        return self._extractor.preprocess(sample)

    def features(self, sample: Any) -> NDArray[np.float32]:
        """Feature vector (D,) float32 of one sample; raises SampleError, EngineError."""
        return self._extractor.features(sample)

    def predict(self, sample: Any, *, observe: bool = False, stamp_s: Optional[float] = None) -> Prediction:
        """What the live head says of one sample. Changes nothing, unless it is to `observe` the features as well,
        which costs no second inference. Raises SampleError, EngineError."""
        start = time.perf_counter()
        self._check_process()
        features = self.features(sample)[None]
        if observe:
            self._observer.observe(features[0], time.monotonic() if stamp_s is None else stamp_s, wait=False)
        live = self._lineage.live
        said = said_of(live.fitted, features, self._outputs)
        if not self._confirmed:
            self._confirmed = True
            # The disk is not waited for.
            threading.Thread(target=self._confirm, name="edgetl-confirm", daemon=True).start()
        return Prediction(
            **said,
            generation=live.generation,
            latency_ms=(time.perf_counter() - start) * 1e3,
        )

    def predict_many(self, samples: Iterable[Any]) -> List[Prediction]:
        """One Prediction a sample, in order."""
        return [self.predict(sample) for sample in samples]

    def explain(self, sample: Any, neighbours: int = 5) -> Explanation:
        """Why the live head decides as it does on one sample: evidence for each class, and the nearest samples learnt.

        The number of a neighbour is its id; negative ones are source samples, which a head that is refitted from a
        reservoir brought along. Looks at every stored sample, O(N D), and keeps none. Changes nothing.
        """
        self._check_process()
        features = self.features(sample)[None]
        found = self._lineage.live.fitted.head.explain(features)
        shipped, shift = self._member.samples, self._member.source.shift
        of_source = [] if shipped is None else [(shipped.numbers, shipped.labels.tolist(), shipped.features)]
        with self._lock, self._store.view():
            learnt = ((block.ids, block.labels, block.features) for block in self._store.samples.load())
            near = nearest_rows(features[0], chain(of_source, learnt), shift, neighbours)
        return replace(found, neighbours=near)

    def learn(
        self,
        sample: Any,
        label: Optional[str] = None,
        *,
        targets: Optional[Mapping[str, float]] = None,
        source: str = "",
        on_purpose: bool = False,
    ) -> int:
        """Learn one labelled sample; its id. Durable when it returns. An unknown label makes a new class.

        A bundle with outputs learns from `targets`, a number for each, in place of a label.
        Whether it is live then is for the policy to say: with "guarded" a new class is at once, unless it costs the
        old ones. `on_purpose`: a person gave this label to teach the device, so the first of a class counts
        like a new one. Raises SampleError, LabelError, StateFullError; then nothing was learnt and nothing lost.
        """
        labels, numbers = None if label is None else [label], None if targets is None else [targets]
        return self.learn_many([sample], labels, targets=numbers, source=source, on_purpose=on_purpose)[0]

    def learn_many(
        self,
        samples: Iterable[Any],
        labels: Optional[Iterable[str]] = None,
        *,
        targets: Optional[Iterable[Mapping[str, float]]] = None,
        source: str = "",
        on_purpose: bool = False,
    ) -> List[int]:
        """Learn N labelled samples in one transaction, all or none; their ids in order."""
        frames = [] if samples is None else list(samples)
        names = stored_truths(labels, targets, len(frames), self._outputs)
        origin = plain_text(source, "source") if source else ""
        if not names:
            return []
        self._check_writer()
        features = np.stack([self.features(frame) for frame in frames])
        with self._lock:
            heard = self._observer.try_out(features, names)
            ids = self._teacher.learn(features, names, origin, on_purpose, frames)
            self._observer.judged(heard)
            self._confirm()
        return ids

    def forget(
        self, sample_id: Optional[int] = None, *, label: Optional[str] = None, source: Optional[str] = None
    ) -> int:
        """Remove what was learnt from one sample, label or source; the number of samples.

        Exactly: as if they had never been learnt, with a head that `status()["exact"]` says so of. Another is refitted
        from its reservoir, in which they are no more.
        Every generation that had learnt from them is removed too, so no roll-back brings them back; the live one is
        replaced by one without them. What the bundle brought is not forgotten. Raises UnknownSampleError when
        there is no such sample, FoldedSampleError when the quota has made a sum of them.
        """
        name = plain_text(label) if label is not None else None
        origin = plain_text(source, "source") if source else source
        self._check_writer()
        with self._lock:
            count = self._teacher.forget(sample_id, name, origin)
            self._observer.forget()
            return count

    # -- without labels

    def observe(self, sample: Any, stamp_s: Optional[float] = None) -> Optional[int]:
        """Unlabelled evidence, for drift and alignment: keep the features of one sample; its number, or None.

        One sample a second is kept, by `stamp_s` or the monotonic clock, within the `ObservePolicy`; O(D), nothing is
        written. The tests run in a thread of their own; `status()["drift"]` says what they found. Raises SampleError.
        """
        self._check_process()
        stamp_s = time.monotonic() if stamp_s is None else stamp_s
        return self._observer.observe(self.features(sample), stamp_s)

    def observe_many(self, samples: Iterable[Any], stamps_s: Optional[Iterable[float]] = None) -> List[Optional[int]]:
        """Observe N samples in order; without stamps each counts, as of photographs. Their numbers, or None."""
        self._check_process()
        pairs = zip(samples, repeat(None) if stamps_s is None else stamps_s)
        return [self._observer.observe(self.features(sample), stamp) for sample, stamp in pairs]

    def drift(self) -> Dict[str, Any]:
        """What the observed samples say now, as in `status()["drift"]`: the tests run again, and the adapters that
        their pattern asks for are made, O(D^3), as challengers for the guard. Plain data."""
        self._check_process()
        return self._observer.look(adapt=True)

    def rehearse(self, features: Any, stamps_s: Any, labels: Any, policy: ObservePolicy, judge: int) -> Dict[str, Any]:
        """What observing would have made of a recorded stream, see `observing.study`; nothing is learnt or stored."""
        self._check_process()
        return self._observer.rehearse(features, stamps_s, labels, policy, judge)

    def questions(self, most: Optional[int] = None) -> List[Question]:
        """What is worth asking a person, within the day's budget: one cluster of samples that are like nothing known,
        then samples on which challengers disagree with the live head, as no other label tells them apart, or unsure
        ones. Open questions come again."""
        self._check_writer()
        self._observer.look()
        with self._lock:
            return self._observer.questions(most)

    def answer(self, number: int, label: str) -> List[int]:
        """A person's answer to the question of that number, which teaches all its samples; their ids.

        Raises UnknownSampleError when it is not open, LabelError, StateFullError.
        """
        name = plain_text(label)
        self._check_writer()
        with self._lock:
            question, features = self._observer.asked(number)
            names, cluster = [name] * len(features), question.kind == "cluster"
            heard = self._observer.try_out(features, names)
            ids = self._teacher.learn(features, names, "asked", cluster)
            self._observer.answered(question, name)
            self._observer.judged(heard)
            self._confirm()
        return ids

    # -- generations

    def review(self, accept: bool = False) -> Verdict:
        """The guard judges now, whether all that was learnt should be live, and does what the policy lets it do.

        `accept` is a person's yes: what the guard asks for is done, and where it is not sure all that was learnt
        goes live on that person's word.
        """
        self._check_writer()
        with self._lock:
            verdict = self._teacher.review(accept)
            if verdict.decision == "keep":
                verdict = self._observer.review(accept) or verdict
            return verdict

    def rollback(self, to: Optional[int] = None) -> int:
        """Make an earlier generation live: the one before, or that number, 0 being the factory head; its number.

        What was learnt since is kept and stays a candidate; `forget` removes it. Raises GenerationError for one
        that is not there, is damaged, or turned out worse.
        """
        self._check_writer()
        with self._lock:
            self._teacher.rollback(to)
            self._observer.begin_anew()
            return self._lineage.live.generation

    def history(self, newest: int = 100) -> List[HistoryEntry]:
        """What happened to the head, oldest first, with the guard's evidence."""
        return told(self._store, newest)

    def refresh(self) -> bool:
        """With `read_only`: answer from the generation that is live by now; whether that is another one.

        Costs a read of one small row when nothing changed. Predictions never do this by themselves.
        """
        self._check_process()
        with self._lock:
            self._observer.refresh()
            return self._lineage.refresh()

    def confirm(self) -> None:
        """Say that this start went well; the first prediction and the first learnt sample say so by themselves."""
        self._confirmed = True
        with self._lock:
            self._lineage.confirm()
            self._trial.confirm()

    # -- facts

    def samples(self) -> List[LearntSample]:
        """What was learnt on this device and not forgotten, in order of id."""
        return self._store.samples.listed()

    def status(self) -> Dict[str, Any]:
        """Plain data about this device's model; cheap enough to ask every second."""
        with self._lock, self._store.view():
            live, pointer = self._lineage.live, self._lineage.pointer
            taught = self._teacher.taught()
            held = self._teacher.held()
            quarantined = self._store.quarantined()
            kept_samples = len(self._store.raw.ids())
            used_bytes = self._store.used_bytes()
            kept_aside = self._store.kept_aside()
            generations = sorted(self._store.generations.numbers())
            recovered = self._trial.recovered or self._lineage.recovered or recovery(self._store)
            policy = self._policy if self._store.writable else self._store.meta("policy") or self._policy
        source = dict(zip(self._member.source.classes, (float(n) for n in self._member.source.counts)))
        return {
            "bundle": {
                "name": self._name, "id": self._bundle_id, "signed_by": self._signed_by, **self._trial.facts()
            },
            "variant": self._extractor.variant.name,
            "feature_space": self._extractor.variant.feature_space,
            "dim": self._extractor.variant.dim,
            **self._extractor.state(),
            "head": self._member.head,
            "live_head": live.fitted.said(self._member),
            "exact": self._member.exact,
            "policy": policy,
            "generation": live.generation,
            "generations": [0, *generations],
            "live_samples": live.samples,
            "waiting_samples": max(0, sum(taught.values()) - live.samples),
            "guard_samples": held,
            "learnt_samples": sum(taught.values()) + held,
            "kept_samples": kept_samples,
            "classes": {
                label: {"source": int(source.get(label, 0)), "learnt": taught.get(label, 0)}
                for label in [*self._classes, *sorted(set(taught) - set(self._classes) - {""})]
            },
            "outputs": [asdict(output) for output in self._outputs],
            "drift": self._observer.facts(),
            "unconfirmed_starts": pointer.starts,
            "recovered": recovered,
            "quarantined": quarantined,
            "kept_aside": kept_aside,
            "quota": {"bytes": self._quota_bytes, "used_bytes": used_bytes},
            "rss_bytes": rss_bytes(),
        }

    def close(self) -> None:
        """Release engine and state; harmless when repeated."""
        if os.getpid() != self._process:
            return
        self._confirm(answered=self._confirmed)
        self._release()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], *_: object
    ) -> None:
        # A start that ended in an exception before it came to an answer has failed.
        if error is None or isinstance(error, EdgetlError) or self._confirmed:
            self.close()
        else:
            self._release()

    def _release(self) -> None:
        self._observer.close()
        with self._lock:
            self._extractor.close()
            self._store.close()

    def _confirm(self, answered: bool = True) -> None:
        self._confirmed = True
        try:
            with self._lock:
                self._lineage.confirm()
                # A bundle on trial has not answered by being closed.
                (self._trial.confirm if answered else self._trial.end)()
        except EdgetlError as error:
            logger.debug("this start could not be confirmed: %s", error)

    def _say_policy(self) -> None:
        """For the status of those who only read."""
        try:
            if self._store.writable and self._store.meta("policy") != self._policy:
                self._store.set_meta(policy=self._policy)
        except StateError as error:
            logger.warning("the policy was not noted: %s", error)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise StateError(
                f"this session was opened by process {self._process} and this is process {os.getpid()}: a session does"
                " not survive a fork. Open one in the process that uses it"
            )

    def _check_writer(self) -> None:
        self._check_process()
        if not self._store.writable:
            raise StateError(f"{self._store.path} was opened for reading only; open the session without read_only")
