"""From an extractor and a dataset to a bundle: features, factory head, parity, golden samples, one signed file.

Features are computed by the very graph that is deployed, in the engine that most devices run, through the
runtime's own preprocessing: what the head was fitted on is what the device will see.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.bundle import Manifest, Variant, write_bundle
from edgetl_runtime.bundle.manifest import check_title
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet
from edgetl_runtime.bundle.signature import sign_manifest
from edgetl_runtime.engines import Engine, open_engine
from edgetl_runtime.errors import BundleSignatureError, SourceError
from edgetl_runtime.heads import Head, TargetHead
from edgetl_runtime.labels import plain_text
from edgetl_runtime.preprocess import Preprocess
from edgetl_runtime.types import Output, TensorSpec
from numpy.typing import NDArray

from edgetl.errors import DatasetError, ParityError
from edgetl.extraction import ExtractedPart, extract, run_engine
from edgetl.factory import check_head, check_target_head, make_head_member, make_target_member
from edgetl.numbers import OutputError, golden_of_numbers, guard_of_numbers, numbers_agreed, output_errors
from edgetl.parity import Parity, compare, decisions_agreed
from edgetl.profiles import load_profile
from edgetl.progress import Progress, Step, silent

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["BuildResult", "build"]

ENGINE = "onnxruntime"
PRECISION = "fp32"
PARITY_LIMIT = 1e-3  # of the largest feature; what float32 kernels of two libraries differ by is 1e-6 to 1e-4
GUARD_PER_CLASS = 20
GOLDEN_SAMPLES = 8
_PACKAGES = ("edgetl", "edgetl-runtime", "torch", "torchvision", "timm", "onnx", "onnxruntime", "numpy", "pillow")


@dataclass(frozen=True)
class BuildResult:
    """What was built, and how well it does on samples of the source that it was not fitted on.

    `confusion` is (K, K) counts, rows the truth. `held_out_accuracy` and `majority_accuracy` (always
    answering the commonest class) are None when nothing was held out. `skipped` counts samples by reason.
    Where samples have numbers in place of labels there are no classes, and `output_errors` takes their place.
    `source_features` counts the source samples whose features the head carries, for a head refitted from those.
    """

    path: Path
    bundle_id: str
    signed: bool
    classes: tuple[str, ...]
    dim: int
    feature_space: str
    training_samples: int
    held_out_samples: int
    skipped: dict[str, int]
    held_out_accuracy: float | None
    majority_accuracy: float | None
    confusion: NDArray[np.int64]
    parity: Parity
    decisions_agreed: float
    member_bytes: dict[str, int]
    bundle_bytes: int
    seconds: dict[str, float]
    source_features: int = 0
    outputs: tuple[Output, ...] = ()
    output_errors: tuple[OutputError, ...] = ()


def build(
    extractor: Extractor | str,
    dataset: Dataset | TargetDataset | str | Path,
    *,
    out: str | Path,
    name: str | None = None,
    devices: Sequence[str] = (),
    key: str | Path | None = None,
    head: str | None = None,
    head_options: Mapping[str, Any] | None = None,
    sequence: int = 1,
    threads: int | None = None,
    progress: Progress = silent,
) -> BuildResult:
    """Build a bundle at `out` and return what it is; the file appears whole or not at all.

    `extractor` and `dataset` may be given by name and folder. `key` is an Ed25519 private key in PEM
    (`edgetl keygen`); without it the bundle is unsigned and a device must allow that on purpose.
    `sequence` must rise with every release of the same bundle. `devices` names boards (`edgetl devices`).
    `head` is any of `edgetl_runtime.heads`, with its options (`edgetl.factory`), by default `slda`, and `ridge` for
    a dataset with numbers in place of labels; with `softmax`, `mlp` and `knn`
    the bundle carries features of source samples, which can tell much of those samples.
    Raises DatasetError, BackboneError, ExportError, ParityError, ProfileError, SourceError, LabelError,
    BundleError; ValueError for a head that there is not.
    """
    from edgetl.backbones import extractor as open_extractor
    from edgetl.data import TargetDataset
    from edgetl.data import dataset as open_dataset
    from edgetl.export import export_onnx

    started = time.perf_counter()
    source = open_extractor(extractor) if isinstance(extractor, str) else extractor
    samples = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    outputs = samples.outputs if isinstance(samples, TargetDataset) else ()
    head = head or ("ridge" if outputs else "slda")
    # Whatever can be refused before the long work is refused here.
    if isinstance(samples, TargetDataset):
        check_target_head(head, head_options or {})
    else:
        check_head(head, head_options or {})
        for label in samples.counts:
            plain_text(str(label), "class")
    targets = tuple(load_profile(device).id for device in devices)
    private_pem = _read_key(key)
    target = Path(out)
    if not target.parent.is_dir():
        raise SourceError(f"there is no folder {target.parent} to write {target.name} into; make it first")
    if target.is_dir():
        raise SourceError(f"{target} is a folder; name the file to write, such as {target / 'NAME.edgetl'}")
    title = name or _plain_name(target.stem)
    check_title(title, sequence)

    progress(Step("export", 0, 1))
    graph = export_onnx(source)
    progress(Step("export", 1, 1))
    exported = time.perf_counter()
    engine = open_engine(ENGINE, graph, threads=threads)
    try:
        features_spec = engine.outputs[0]
        training = extract(engine, source.preprocess, samples.training, progress, "features of the training part")
        held_out = extract(engine, source.preprocess, samples.held_out, progress, "features of the held-out part")
        classes = () if outputs else tuple(sorted(set(training.labels)))
        if len(classes) < 2 and not outputs:
            raise DatasetError(
                f"{samples.name}: readable samples of {len(classes)} class are left; at least two are needed"
            )
        extracted = time.perf_counter()

        space = _feature_space(graph, source.preprocess)
        if outputs:
            member = make_target_member(head, head_options or {}, space, training, len(outputs))
        else:
            member = make_head_member(head, head_options or {}, space, training, held_out)
        factory = member.factory
        progress(Step("parity", 0, 1))
        parity, agreed = _parity(source, engine, factory, [*held_out.tensors, *training.tensors])
        golden = _golden(engine, source.preprocess, factory, classes, [*held_out.frames, *training.frames])
        progress(Step("parity", 1, 1))
    finally:
        engine.close()

    confusion = _confusion(factory, held_out, classes)
    measured: tuple[OutputError, ...] = ()
    if isinstance(factory, TargetHead):
        measured = output_errors(factory, outputs, training, held_out)
    variant = Variant(
        name=PRECISION,
        precision="float32",
        extractor="extractor.onnx",
        head=f"head.{PRECISION}.safetensors",
        input=source.preprocess.input,
        features=TensorSpec(features_spec.name, "float32", (1, source.dim)),
        feature_space=space,
        # Room for another engine version, and for a Pillow that rounds a pixel the other way (measured: 6e-3).
        feature_tolerance=max(1e-2, 10 * parity.max_rel),
    )
    members = {
        variant.extractor: graph,
        variant.head: member.pack(),
        "guard.safetensors": _guard(held_out, classes, outputs).pack(),
        "golden.safetensors": golden.pack(),
    }
    held_out_accuracy = float(np.trace(confusion) / confusion.sum()) if confusion.sum() else None
    manifest = Manifest(
        name=title,
        sequence=sequence,
        classes=classes,
        preprocess=source.preprocess,
        variants=(variant,),
        members={},
        targets=targets,
        provenance={
            "extractor": {"name": source.name, **source.provenance},
            "dataset": {"name": samples.name, "hash": samples.hash, "training": len(training.labels)},
            "parity": {"max_abs": parity.max_abs, "max_rel": parity.max_rel, "samples": parity.samples},
            "held_out_accuracy": held_out_accuracy,
            **({"held_out_rmse": {one.output.name: one.rmse for one in measured}} if measured else {}),
            "versions": _versions(),
        },
        notes={},
        carries=member.carries,
        outputs=outputs,
    )
    bundle_id = write_bundle(target, manifest, members, private_pem)
    done = time.perf_counter()
    return BuildResult(
        path=target,
        bundle_id=bundle_id,
        signed=private_pem is not None,
        classes=classes,
        dim=source.dim,
        feature_space=space,
        training_samples=len(training.labels),
        held_out_samples=len(held_out.labels),
        skipped=_skipped(samples, training.rejected + held_out.rejected),
        held_out_accuracy=held_out_accuracy,
        majority_accuracy=float(confusion.sum(axis=1).max() / confusion.sum()) if confusion.sum() else None,
        confusion=confusion,
        parity=parity,
        decisions_agreed=agreed,
        member_bytes={member_name: len(data) for member_name, data in members.items()},
        bundle_bytes=target.stat().st_size,
        seconds={
            "export": exported - started,
            "features": extracted - exported,
            "head": done - extracted,
            "total": done - started,
        },
        source_features=0 if member.samples is None else len(member.samples),
        outputs=outputs,
        output_errors=measured,
    )


def _parity(source: Extractor, engine: Engine, head: Head, tensors: Sequence[NDArray[Any]]) -> tuple[Parity, float]:
    """The framework that the network comes from against the deployed graph, in features and in decisions."""
    from edgetl.features import reference_features

    reference = reference_features(source, np.concatenate(tensors))
    candidate = np.stack([run_engine(engine, tensor) for tensor in tensors])
    parity = compare(reference, candidate)
    if parity.max_rel > PARITY_LIMIT:
        raise ParityError(
            f"{source.name}: the exported graph differs from its source by {parity.max_rel:.1e} of the largest"
            f" feature, {PARITY_LIMIT:.0e} is allowed; the export is wrong, nothing was written"
        )
    if isinstance(head, TargetHead):
        return parity, numbers_agreed(head, reference, candidate)
    return parity, decisions_agreed(list(head.predict(reference)), list(head.predict(candidate)))


def _golden(
    engine: Engine, preprocess: Preprocess, head: Head, classes: tuple[str, ...], frames: Sequence[NDArray[Any]]
) -> GoldenSamples:
    """The frames that the head decides most clearly, one a class first: rounding must not flip them elsewhere."""
    features = np.stack([run_engine(engine, preprocess.apply(frame)) for frame in frames])
    if isinstance(head, TargetHead):
        return golden_of_numbers(PRECISION, list(frames), features, GOLDEN_SAMPLES)
    probabilities = np.asarray(head.predict_proba(features))
    labels = list(head.predict(features))
    ordered = np.sort(probabilities, axis=1)
    clearest = np.argsort(ordered[:, -2] - ordered[:, -1], kind="stable")
    first_of_class: dict[Any, int] = {}
    for index in clearest:
        first_of_class.setdefault(labels[index], int(index))
    rest = [int(i) for i in clearest if int(i) not in first_of_class.values()]
    chosen = [*first_of_class.values(), *rest][:GOLDEN_SAMPLES]
    decisions = np.array([classes.index(str(labels[i])) for i in chosen], dtype=np.int64)
    return GoldenSamples(tuple(frames[i] for i in chosen), {PRECISION: features[chosen]}, decisions)


def _guard(held_out: ExtractedPart, classes: tuple[str, ...], outputs: tuple[Output, ...]) -> GuardSet:
    if outputs:
        return guard_of_numbers(PRECISION, held_out, outputs)
    taken = dict.fromkeys(classes, 0)
    rows = []
    for row, label in enumerate(held_out.labels):
        if label in taken and taken[label] < GUARD_PER_CLASS:
            taken[label] += 1
            rows.append(row)
    labels = np.array([classes.index(held_out.labels[row]) for row in rows], dtype=np.int64)
    return GuardSet({PRECISION: held_out.features[rows]}, labels)


def _confusion(head: Head, held_out: ExtractedPart, classes: tuple[str, ...]) -> NDArray[np.int64]:
    counts = np.zeros((len(classes), len(classes)), np.int64)
    if held_out.labels and classes:
        for truth, answer in zip(held_out.labels, head.predict(held_out.features), strict=True):
            if truth in classes:
                counts[classes.index(truth), classes.index(str(answer))] += 1
    return counts


def _feature_space(graph: bytes, preprocess: Preprocess) -> str:
    """The identity of an extractor build: its graph, its precision and what is done before it."""
    parts = [hashlib.sha256(graph).hexdigest(), PRECISION, json.dumps(preprocess.to_json(), sort_keys=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _skipped(samples: Dataset | TargetDataset, rejected: int) -> dict[str, int]:
    totals = {"rejected by preprocessing": rejected} if rejected else {}
    for part in (samples, samples.training, samples.held_out):
        for reason, count in part.skipped.items():
            totals[reason] = max(totals.get(reason, 0), count)
    return totals


def _read_key(key: str | Path | None) -> bytes | None:
    if key is None:
        return None
    try:
        private_pem = Path(key).read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the key {key}: {error.strerror or error}; make one: edgetl keygen") from error
    try:
        sign_manifest(b"", private_pem)
    except BundleSignatureError as error:
        raise BundleSignatureError(f"{key}: {error}") from error
    return private_pem


def _plain_name(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64] or "bundle"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
