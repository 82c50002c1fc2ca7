"""From an extractor and a dataset to a bundle: features, factory head, parity, golden samples, one signed file.

Features are computed by the very graph that is deployed, in the engine that most devices run, through the
runtime's own preprocessing: what the head was fitted on is what the device will see.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgetl_runtime.bundle import Manifest, write_bundle
from edgetl_runtime.bundle.manifest import TOKENIZER, check_title
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.engines import Engine, open_engine
from edgetl_runtime.heads import Head, TargetHead
from edgetl_runtime.labels import plain_text
from edgetl_runtime.out_files import checked_out
from edgetl_runtime.preprocess import TextPreprocess
from numpy.typing import NDArray

from edgetl.building.class_vectors import WEIGHT, Given, Names, named_classes, unlabelled
from edgetl.building.device_plans import plans_of, wishes
from edgetl.building.factory_head import check_head, check_target_head, make_head_member, make_target_member
from edgetl.building.golden_and_guard import choose_golden, guard_set
from edgetl.building.held_out_answers import answers_of
from edgetl.building.number_heads import OutputError, answers_agreed, output_errors
from edgetl.building.oracle import oracle_of
from edgetl.building.result import BuildResult
from edgetl.building.variant_reports import golden_answers, quantization_facts, variant_reports
from edgetl.building.variants import Built, Job, build_variants, feature_space, kept_tensors
from edgetl.errors import DatasetError, ParityError, QuantizeError
from edgetl.extraction import KEPT_SAMPLES, ExtractedPart, extract, run_engine, spread
from edgetl.key_files import read_private_key
from edgetl.parity import Parity, compare
from edgetl.profiles import load_profile
from edgetl.progress import Progress, Step, silent
from edgetl.quantize.fidelity import Limits
from edgetl.quantize.ladder import FITTED_ON
from edgetl.quantize.recipes import FP32

if TYPE_CHECKING:
    from edgetl.data import Dataset, TargetDataset
    from edgetl.features import Extractor

__all__ = ["build"]

PARITY_LIMIT = 1e-3  # of the largest feature; what float32 kernels of two libraries differ by is 1e-6 to 1e-4
_PACKAGES = ("edgetl", "edgetl-runtime", "torch", "torchvision", "timm", "onnx", "onnxruntime", "numpy", "pillow")


def build(
    extractor: Extractor | str,
    dataset: Dataset | TargetDataset | str | Path | None = None,
    *,
    out: str | Path,
    name: str | None = None,
    devices: Sequence[str] = (),
    key: str | Path | bytes | None = None,
    head: str | None = None,
    head_options: Mapping[str, Any] | None = None,
    sequence: int = 1,
    precisions: Sequence[str] | None = None,
    max_drop: float = Limits.max_drop,
    min_agreement: float = Limits.min_agreement,
    quantization_aware: int = 0,
    class_vectors: Given | None = None,
    class_names: Names | None = None,
    class_weight: float = WEIGHT,
    background: Any = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> BuildResult:
    """Build a bundle at `out` and return what it is; the file appears whole or not at all.

    `extractor` and `dataset` may be given by name and folder. `key` is an Ed25519 private key in PEM
    (`edgetl keygen`), or its file, whose passphrase, where it has one, EDGETL_PASSPHRASE gives; without it the bundle
    is unsigned and a device must allow that on purpose. `sequence` must rise with every release of the same bundle.

    `devices` names boards (`edgetl devices`): the bundle then carries the precisions that their profiles want, or of
    these only `precisions` ("int8", "fp16", "fp32"), and a plan for each board. A variant is shipped when it loses at
    most `max_drop` points of cross-validated accuracy and decides at least `min_agreement` % of samples as float32
    does; layers are kept in float32 until it does, or float16 and float32 serve. For `quantization_aware` epochs the
    network is tuned to be quantized where that is not enough. Without `devices` there is float32 alone.

    `head` is any of `edgetl_runtime.heads`, with its options (`edgetl.building.factory_head`), by default `slda`, and
    `ridge` for a dataset with numbers in place of labels; with `softmax`, `mlp` and `knn` the bundle carries features
    of source samples, which can tell much of those samples.
    Classes may be known by name before any sample: `class_vectors` maps a name to D numbers, such as the text tower of
    an image-text model gives, and `class_names`, for an extractor of text, names classes, maybe with descriptions, that
    are read by it. Each counts as `class_weight` samples, beside those of `dataset`, or without one; then `background`
    are samples of which no label is known (`edgetl.building.class_vectors`), for text by default the names.
    Raises DatasetError, BackboneError, ExportError, ParityError, ProfileError, QuantizeError, SourceError,
    LabelError, BundleError; ValueError for a head that there is not.
    """
    from edgetl.backbones import extractor as open_extractor
    from edgetl.backbones.windows import check_windows
    from edgetl.data import TargetDataset
    from edgetl.data import dataset as open_dataset
    from edgetl.export import export_onnx

    started = time.perf_counter()
    source = open_extractor(extractor) if isinstance(extractor, str) else extractor
    named = named_classes(class_vectors, class_names, class_weight, source)
    if dataset is None:
        if named is None:
            raise DatasetError("give a dataset (--data), or class_names (--class-names) or class_vectors")
        samples: Dataset | TargetDataset = unlabelled(background, named)
    else:
        samples = open_dataset(dataset) if isinstance(dataset, str | Path) else dataset
    outputs = samples.outputs if isinstance(samples, TargetDataset) else ()
    check_windows(source, samples)
    head = head or ("ridge" if outputs else "slda")
    # Whatever can be refused before the long work is refused here.
    if isinstance(samples, TargetDataset):
        check_target_head(head, head_options or {})
        if named is not None:
            raise DatasetError(f"{samples.name} has numbers in place of classes; no class can be named there")
    else:
        check_head(head, head_options or {}, named is not None)
        for label in samples.counts:
            plain_text(str(label), "class")
    profiles = tuple(load_profile(device) for device in devices)
    targets = tuple(dict.fromkeys(profile.id for profile in profiles))
    wished = wishes(tuple(dict.fromkeys(profiles)), precisions)
    limits = Limits(max_drop, min_agreement)
    if quantization_aware < 0:
        raise QuantizeError(f"quantization_aware is a number of epochs, 0 for none; got {quantization_aware}")
    private_pem = key if key is None or isinstance(key, bytes) else read_private_key(key)
    target = checked_out(out)
    title = name or _plain_name(target.stem)
    check_title(title, sequence)

    progress(Step("export", 0, 1))
    graph = export_onnx(source)
    progress(Step("export", 1, 1))
    exported = time.perf_counter()
    options, names = head_options or {}, () if named is None else named.names
    fit = partial(_target_member, head, options, len(outputs)) if outputs else partial(make_head_member, head, options)
    engine = open_engine(FITTED_ON, graph, threads=threads)
    try:
        output = engine.outputs[0].name
        if named is not None:
            vectors = named.embedded(engine, source.preprocess)
            fit = partial(make_head_member, head, options, named=vectors, labelled=dataset is not None)
        training, held_out = (
            extract(engine, source.preprocess, part, progress, f"features of the {words} part", keep)
            for words, part, keep in _parts(samples, source, bool(wished))
        )
        classes = () if outputs else tuple(sorted({*(training.labels if dataset is not None else ()), *names}))
        if len(classes) < 2 and not outputs:
            raise DatasetError(
                f"{samples.name}: readable samples of {len(classes)} class are left; at least two are needed"
            )
        extracted = time.perf_counter()
        space = feature_space(graph, FP32, source.preprocess)
        member = fit(space, training, held_out)
        fitting = time.perf_counter() - extracted
        progress(Step("parity", 0, 1))
        parity, agreed = _parity(source, engine, member.factory, [*spread(held_out.tensors), *spread(training.tensors)])
        progress(Step("parity", 1, 1))
    finally:
        engine.close()
    # Room for another engine version, and for a Pillow that rounds a pixel the other way (measured: 6e-3).
    tolerance = max(1e-2, 10 * parity.max_rel)
    count = 0 if dataset is None else len(training.labels)
    fitted = time.perf_counter()
    job = Job(source, samples, fit, len(outputs), limits, threads, progress, quantization_aware)
    made = build_variants(job, Built(FP32, graph, space, training, held_out, member, tolerance), wished)
    quantized = time.perf_counter()

    frames = [*held_out.frames, *training.frames]
    progress(Step("golden samples", 0, 1))
    golden = choose_golden(frames, golden_answers(job, made, frames), classes)
    progress(Step("golden samples", 1, 1))
    variants = tuple(built.variant(output, source.preprocess) for built in made.built)
    members = {variant.extractor: built.graph for variant, built in zip(variants, made.built, strict=True)}
    members |= {variant.head: built.member.pack() for variant, built in zip(variants, made.built, strict=True)}
    parts = {built.precision.name: built.held_out for built in made.built}
    members |= {
        "guard.safetensors": guard_set(parts, classes, outputs).pack(),
        "golden.safetensors": golden.pack(),
    }
    if isinstance(source.preprocess, TextPreprocess):
        members[TOKENIZER] = source.preprocess.content
    confusion = _confusion(member.factory, held_out, classes)
    measured: tuple[OutputError, ...] = ()
    if isinstance(member.factory, TargetHead):
        measured = output_errors(member.factory, outputs, training, held_out)
    oracle = oracle_of(fit, head, training, held_out, classes)
    held_out_accuracy = float(np.trace(confusion) / confusion.sum()) if confusion.sum() else None
    plans = plans_of(made.verdicts) if wished else {}
    manifest = Manifest(
        name=title,
        sequence=sequence,
        classes=classes,
        preprocess=source.preprocess,
        variants=variants,
        members={},
        targets=targets,
        provenance={
            "extractor": {"name": source.name, **source.provenance},
            "dataset": {"name": samples.name, "hash": samples.hash, "training": count},
            "parity": {"max_abs": parity.max_abs, "max_rel": parity.max_rel, "samples": parity.samples},
            "held_out_accuracy": held_out_accuracy,
            **({"named_classes": {"names": list(names), "weight": class_weight}} if names else {}),
            **({"held_out_rmse": {one.output.name: one.rmse for one in measured}} if measured else {}),
            **({"quantization": quantization_facts(made, limits)} if wished else {}),
            "versions": _versions((*_PACKAGES, "nncf", "openvino") if wished else _PACKAGES),
        },
        notes={},
        carries=member.carries,
        outputs=outputs,
        plans=plans,
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
        training_samples=count,
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
            **({"variants": quantized - fitted} if wished else {}),
            "parity": fitted - extracted - fitting,
            "head": fitting + done - quantized,
            "total": done - started,
        },
        source_features=0 if member.samples is None else len(member.samples),
        outputs=outputs,
        output_errors=measured,
        variants=variant_reports(made) if wished else (),
        plans=plans,
        verdicts=made.verdicts,
        limits=limits if wished else None,
        answers=answers_of(member.factory, held_out, classes),
        oracle_accuracy=oracle.accuracy,
        oracle_rmse=oracle.rmse,
    )


def _parts(samples: Dataset | TargetDataset, source: Extractor, judged: bool) -> list[tuple[str, Any, int]]:
    """Both parts, and how many tensors of each are kept: more where variants are judged on them."""
    found = []
    for words, part in (("training", samples.training), ("held-out", samples.held_out)):
        share = len(part) / max(1, len(samples))
        found.append((words, part, kept_tensors(source.preprocess, share) if judged else KEPT_SAMPLES))
    return found


def _target_member(
    head: str, options: Mapping[str, Any], count: int, space: str, training: ExtractedPart, held_out: ExtractedPart
) -> HeadMember:
    """As `make_head_member`, for numbers: nothing of them needs the held-out part."""
    return make_target_member(head, options, space, training, count)


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
    return parity, answers_agreed(head, reference, candidate)


def _confusion(head: Head, held_out: ExtractedPart, classes: tuple[str, ...]) -> NDArray[np.int64]:
    counts = np.zeros((len(classes), len(classes)), np.int64)
    if held_out.labels and classes:
        for truth, answer in zip(held_out.labels, head.predict(held_out.features), strict=True):
            if truth in classes:
                counts[classes.index(truth), classes.index(str(answer))] += 1
    return counts


def _skipped(samples: Dataset | TargetDataset, rejected: int) -> dict[str, int]:
    totals = {"rejected by preprocessing": rejected} if rejected else {}
    for part in (samples, samples.training, samples.held_out):
        for reason, count in part.skipped.items():
            totals[reason] = max(totals.get(reason, 0), count)
    return totals


def _plain_name(stem: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64] or "bundle"


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
