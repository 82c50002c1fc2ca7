"""A session: one installed bundle, one engine, one learnt state. Sample -> preprocess -> engine -> head -> store.

What is durable is written first; memory follows. The head is refitted when the next prediction needs it, so
a burst of labels costs one refit.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.board import rss_bytes
from edgetl_runtime.bundle.container import Bundle, read_bundle
from edgetl_runtime.bundle.members import GoldenSamples, HeadMember
from edgetl_runtime.engines import Engine, open_engine
from edgetl_runtime.errors import BundleFormatError, BundleParityError, LabelError, SampleError, StateError
from edgetl_runtime.heads import Head, fit_head
from edgetl_runtime.heads.linear import LinearHead
from edgetl_runtime.installation import keep_bundle, make_state_folder, open_installed, trusted_keys
from edgetl_runtime.labels import plain_text
from edgetl_runtime.outliers import OutlierScore, fit_outliers
from edgetl_runtime.preprocess import Preprocess
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.store import LearntSample, Store, open_store
from edgetl_runtime.types import Prediction

__all__ = ["Session", "check_golden", "open_session"]

logger = logging.getLogger(__name__)

MAX_FEATURE = 1e30  # beyond it sums of fourth powers overflow


class _Live(NamedTuple):
    """All that answers a prediction, replaced as a whole so that no answer mixes two generations."""

    head: Head
    outliers: OutlierScore
    generation: int


class Session:
    """Predicts and learns; made by `open_session` (`edgetl_runtime.open`). Safe to use from several threads."""

    def __init__(self, bundle: Bundle, engine: Engine, store: Store, member: HeadMember, learnt: Statistics) -> None:
        manifest = bundle.manifest
        self._name, self._bundle_id, self._signed_by = manifest.name, bundle.id, bundle.signed_by
        self._classes = manifest.classes
        self._variant = manifest.variants[0]
        self._preprocess: Preprocess = manifest.preprocess
        self._engine = engine
        self._store = store
        self._member = member
        self._learnt = learnt
        self._generation = store.generation
        self._live: Optional[_Live] = None
        self._lock = threading.RLock()

    def preprocess(self, sample: Any) -> NDArray[Any]:
        """The extractor's input tensor for one sample; raises SampleError."""
        return self._preprocess.apply(sample)

    def features(self, sample: Any) -> NDArray[np.float32]:
        """Feature vector (D,) float32 of one sample; raises SampleError, EngineError."""
        return _extract(self._engine, self._variant.features.name, self._preprocess.apply(sample))

    def predict(self, sample: Any) -> Prediction:
        """What the live head says of one sample. Changes nothing. Raises SampleError, EngineError."""
        start = time.perf_counter()
        features = self.features(sample)[None]
        live = self._current()
        probabilities = live.head.predict_proba(features)[0]
        outlier = float(live.outliers.score(features)[0])
        classes = live.head.classes
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
            self._learnt.add(features, names)
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
            self._learnt = _sum_rows(self._store, self._member.source)
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
            learnt = {str(c): round(float(n)) for c, n in zip(self._learnt.classes, self._learnt.counts)}
            quarantined, generation = self._store.quarantined(), self._generation
            kept_aside = self._store.kept_aside()
        source = dict(zip(self._member.source.classes, (float(n) for n in self._member.source.counts)))
        return {
            "bundle": {"name": self._name, "id": self._bundle_id, "signed_by": self._signed_by},
            "variant": self._variant.name,
            "feature_space": self._variant.feature_space,
            "dim": self._variant.dim,
            "engine": self._engine.description,
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
            self._engine.close()
            self._store.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _changed(self) -> None:
        self._generation = self._store.generation
        self._live = None

    def _fit(self) -> _Live:
        head = _fitted(self._member, self._learnt) if self._learnt.count else self._member.factory
        return _Live(head, _outliers(self._member, head, self._learnt), self._generation)

    def _current(self) -> _Live:
        live = self._live
        if live is None:
            with self._lock:
                live = self._live
                if live is None:
                    live = self._live = self._fit()
        return live


def open_session(
    bundle: Union[str, Path, None] = None,
    state_dir: Union[str, Path] = "edgetl-state",
    *,
    allow_unsigned: bool = False,
    trusted: Sequence[bytes] = (),
    engine: str = "onnxruntime",
    engine_options: Optional[Mapping[str, Any]] = None,
    threads: Optional[int] = None,
    read_only: bool = False,
) -> Session:
    """Verify a bundle, install it when it is new, recover what was learnt, and check the golden samples.

    `bundle` None opens what is installed in `state_dir`. `trusted` are public keys (PEM) beside those that
    were provisioned in the folder. `engine_options` are those of the engine, such as `provider="cuda"` of
    onnxruntime. `read_only` predicts beside a process that learns. Raises BundleError,
    StateError, EngineError, SourceError; the state is as before then.
    """
    folder = Path(state_dir)
    if bundle is None and not folder.is_dir():  # a mistyped name makes no folder
        raise StateError(
            f"there is no state folder {folder}; install a bundle there: edgetl-runtime install BUNDLE --state {folder}"
        )
    if not read_only:
        make_state_folder(folder)
    store = open_store(folder, read_only=read_only)
    try:
        keys = trusted_keys(folder, trusted)
        if bundle is None:
            opened = open_installed(folder, store.meta("bundle"), keys, allow_unsigned)
        else:
            opened = read_bundle(bundle, trusted=keys, allow_unsigned=allow_unsigned)
        if opened.signed_by is None:
            logger.warning("bundle %s is not signed; it was allowed on purpose", opened.manifest.name)
        variant = opened.manifest.variants[0]
        store.bind(variant.feature_space, variant.dim, opened.id)
        member = HeadMember.unpack(opened.members[variant.head], variant.head, variant.feature_space, variant.dim)
        if member.factory.classes != opened.manifest.classes:
            raise BundleFormatError(
                f"{variant.head} knows the classes {list(member.factory.classes)[:8]}, its manifest says"
                f" {list(opened.manifest.classes)[:8]}; build the bundle again"
            )
        loaded = open_engine(
            engine,
            opened.members[variant.extractor],
            threads=threads,
            cache_dir=folder / "engines",
            **(engine_options or {}),
        )
        try:
            if loaded.inputs != (variant.input,) or variant.features not in loaded.outputs:
                raise BundleFormatError(
                    f"{variant.extractor} takes {loaded.inputs} and gives {loaded.outputs}, its manifest says"
                    f" {variant.input} and {variant.features}; build the bundle again"
                )
            verified = f"{opened.id} {loaded.description}"
            known = store.meta("verified") == verified
            if not known:
                check_golden(opened, loaded, member)
            if not read_only:
                if bundle is not None:
                    keep_bundle(opened, Path(bundle), folder, keys, allow_unsigned)
                if not known or store.meta("feature_space") != variant.feature_space:
                    store.set_meta(
                        bundle=opened.id,
                        verified=verified,
                        feature_space=variant.feature_space,
                        dim=str(variant.dim),
                    )
                    store.log_event("install", bundle=opened.id, name=opened.manifest.name, engine=loaded.description)
            with store.view():
                return Session(opened, loaded, store, member, _sum_rows(store, member.source))
        except BaseException:
            loaded.close()
            raise
    except BaseException:
        store.close()
        raise


def check_golden(bundle: Bundle, engine: Engine, member: HeadMember) -> Tuple[float, int]:
    """Run the golden samples: largest relative feature error, and how many were run; or BundleParityError.

    Asked on the engine that will serve, so a wrong build of an engine is found before it decides anything.
    """
    manifest, variant = bundle.manifest, bundle.manifest.variants[0]
    dims = {v.name: v.dim for v in manifest.variants}
    name = "golden.safetensors"
    golden = GoldenSamples.unpack(bundle.members[name], name, dims, len(manifest.classes))
    expected = golden.features[variant.name]
    try:
        got = np.stack([_extract(engine, variant.features.name, manifest.preprocess.apply(s)) for s in golden.samples])
    except SampleError as error:
        raise BundleParityError(f"a golden sample does not go through: {error}; build the bundle again") from error
    off = float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-12))
    if off > variant.feature_tolerance:
        raise BundleParityError(
            f"{engine.description} gives features that are off by {off:.2e} of the largest,"
            f" {variant.feature_tolerance:.2e} is allowed: this engine would decide wrongly and is not used."
            " Try another engine or version"
        )
    wanted = [manifest.classes[i] for i in golden.decisions]
    differing = sum(a != b for a, b in zip(member.factory.predict(got), wanted))
    if differing:
        raise BundleParityError(
            f"{engine.description} decides {differing} of {len(wanted)} golden samples otherwise than the host did;"
            " it is not used. Try another engine or version"
        )
    try:  # learning will fit it again with these very options
        empty = Statistics(member.source.dim, shift=member.source.shift, feature_space=member.source.feature_space)
        _outliers(member, _fitted(member, empty), empty)
    except (TypeError, ValueError) as error:
        raise BundleFormatError(
            f"the head {member.head!r} cannot be fitted with the bundle's options {member.options}: {error};"
            " build the bundle again"
        ) from error
    return off, len(wanted)


def _fitted(member: HeadMember, learnt: Statistics) -> Head:
    head = fit_head(member.head, learnt, prior=member.source, **member.options)
    # The host calibrated the factory head on samples it had not seen; its successors inherit that.
    return head.with_temperature(float(member.factory.metadata().get("temperature", 1.0)))


def _outliers(member: HeadMember, head: Head, learnt: Statistics) -> OutlierScore:
    # A linear discriminant lends its factorisation to the outlier score; other heads have none to lend.
    lender = head if isinstance(head, LinearHead) and head.name == "slda" else None
    # How often a class comes is no part of how far a sample lies from it.
    options = {name: value for name, value in member.options.items() if name != "priors"} if lender else {}
    return fit_outliers(learnt, member.source, lender, **options)


def _extract(engine: Engine, output: str, tensor: NDArray[Any]) -> NDArray[np.float32]:
    features: NDArray[np.float32] = np.asarray(engine.run({engine.inputs[0].name: tensor})[output][0], dtype=np.float32)
    if not float(np.abs(features).max()) <= MAX_FEATURE:  # NaN is not either
        raise SampleError("the extractor gave NaN or endless features for this sample; nothing was learnt from it")
    return features


def _sum_rows(store: Store, source: Statistics) -> Statistics:
    learnt = Statistics(source.dim, shift=source.shift, feature_space=source.feature_space)
    for labels, features, _ in store.load():
        learnt.add(features, labels)
    return learnt
