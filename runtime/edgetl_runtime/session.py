"""A session: one installed bundle, one engine, one learnt state. Sample -> preprocess -> engine -> head -> store.

What is durable is written first; memory follows. The head is refitted when the next prediction needs it, so
a burst of labels costs one refit.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.board import rss_bytes
from edgetl_runtime.bundle.container import Bundle
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.errors import LabelError
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.labels import plain_text
from edgetl_runtime.learner import Fitted, Learner
from edgetl_runtime.store import LearntSample, Store
from edgetl_runtime.types import Prediction

__all__ = ["Session"]


class _Live(NamedTuple):
    """All that answers a prediction, replaced as a whole so that no answer mixes two generations."""

    fitted: Fitted
    generation: int


class Session:
    """Predicts and learns; made by `opening.open_session` (`edgetl_runtime.open`). Safe to use from several threads."""

    def __init__(self, bundle: Bundle, extractor: Extractor, store: Store, member: HeadMember) -> None:
        manifest = bundle.manifest
        self._name, self._bundle_id, self._signed_by = manifest.name, bundle.id, bundle.signed_by
        self._classes = manifest.classes
        self._extractor = extractor
        self._store = store
        self._member = member
        with store.view():
            self._learner = self._recovered()
            self._generation = store.generation
        self._live: Optional[_Live] = None
        self._lock = threading.RLock()

    def preprocess(self, sample: Any) -> NDArray[Any]:
        """The extractor's input tensor for one sample; raises SampleError."""
        return self._extractor.preprocess(sample)

    def features(self, sample: Any) -> NDArray[np.float32]:
        """Feature vector (D,) float32 of one sample; raises SampleError, EngineError."""
        return self._extractor.features(sample)

    def predict(self, sample: Any) -> Prediction:
        """What the live head says of one sample. Changes nothing. Raises SampleError, EngineError."""
        start = time.perf_counter()
        features = self.features(sample)[None]
        live = self._current()
        probabilities = live.fitted.head.predict_proba(features)[0]
        outlier = float(live.fitted.outliers.score(features)[0])
        classes = live.fitted.head.classes
        best = int(np.argmax(probabilities))
        return Prediction(
            label=classes[best],
            probabilities={label: float(p) for label, p in zip(classes, probabilities)},
            outlier=outlier,
            generation=live.generation,
            latency_ms=(time.perf_counter() - start) * 1e3,
        )

    def predict_many(self, samples: Iterable[Any]) -> List[Prediction]:
        """One Prediction a sample, in order."""
        return [self.predict(sample) for sample in samples]

    def learn(self, sample: Any, label: str, *, source: str = "") -> int:
        """Learn one labelled sample; its id. Durable when it returns. An unknown label makes a new class.

        Raises SampleError, LabelError, StateFullError; then nothing was learnt and nothing lost.
        """
        return self.learn_many([sample], [label], source=source)[0]

    def learn_many(self, samples: Iterable[Any], labels: Iterable[str], *, source: str = "") -> List[int]:
        """Learn N labelled samples in one transaction, all or none; their ids in order."""
        frames = [] if samples is None else list(samples)
        if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
            raise LabelError(f"labels must be a list, one label a sample; got {type(labels).__name__}")
        names = [plain_text(label) for label in labels]
        if len(frames) != len(names):
            raise LabelError(f"{len(frames)} samples and {len(names)} labels; one label a sample is needed")
        origin = plain_text(source, "source") if source else ""
        if not names:
            return []
        features = np.stack([self.features(frame) for frame in frames])
        with self._lock:
            ids = self._store.add(names, features, origin)
            self._learner.add(features, names)
            self._changed()
        return ids

    def forget(
        self, sample_id: Optional[int] = None, *, label: Optional[str] = None, source: Optional[str] = None
    ) -> int:
        """Remove what was learnt from one sample, label or source, exactly; the number of samples.

        What the bundle brought is not forgotten. Raises UnknownSampleError when there is no such sample.
        """
        name = plain_text(label) if label is not None else None
        origin = plain_text(source, "source") if source else source
        with self._lock:
            count = self._store.remove(sample_id=sample_id, label=name, source=origin)
            # Summed again from the rows that are left, not subtracted: exact to the last bit.
            self._learner = self._recovered()
            self._changed()
        return count

    def samples(self) -> List[LearntSample]:
        """What was learnt on this device and not forgotten, in order of id."""
        with self._lock:
            return self._store.samples()

    def status(self) -> Dict[str, Any]:
        """Plain data about this device's model; cheap enough to ask every second."""
        with self._lock:
            # Of the head that answers: beside a process that learns the file may hold more.
            learnt = self._learner.counts
            quarantined, generation = self._store.quarantined(), self._generation
            kept_aside = self._store.kept_aside()
        source = dict(zip(self._member.source.classes, (float(n) for n in self._member.source.counts)))
        return {
            "bundle": {"name": self._name, "id": self._bundle_id, "signed_by": self._signed_by},
            "variant": self._extractor.variant.name,
            "feature_space": self._extractor.variant.feature_space,
            "dim": self._extractor.variant.dim,
            **self._extractor.state(),
            "head": self._member.head,
            "generation": generation,
            "classes": {
                label: {"source": int(source.get(label, 0)), "learnt": learnt.get(label, 0)}
                for label in [*self._classes, *sorted(set(learnt) - set(self._classes))]
            },
            "learnt_samples": sum(learnt.values()),
            "quarantined": quarantined,
            "kept_aside": kept_aside,
            "rss_bytes": rss_bytes(),
        }

    def close(self) -> None:
        """Release engine and state; harmless when repeated."""
        with self._lock:
            self._extractor.close()
            self._store.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _changed(self) -> None:
        self._generation = self._store.generation
        self._live = None

    def _recovered(self) -> Learner:
        learner = Learner(self._member)
        for labels, features, _ in self._store.load():
            learner.add(features, labels)
        return learner

    def _current(self) -> _Live:
        live = self._live
        if live is None:
            with self._lock:
                live = self._live
                if live is None:
                    live = self._live = _Live(self._learner.fit(), self._generation)
        return live
