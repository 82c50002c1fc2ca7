"""The records inside a bundle fit its manifest, or are refused before anything uses them."""

from __future__ import annotations

import contextlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest
from edgetl_runtime.bundle import pack_tensors, read_bundle, unpack_tensors
from edgetl_runtime.bundle.manifest import PROJECTED_STATISTICS, SOURCE_FEATURES
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember, read_head
from edgetl_runtime.errors import BundleCorruptError, BundleFormatError
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import golden
from tests.runtime.head_members import HEAD_NAMES, REPLAY, SPACE, digits, member, target_member

VARIANT = golden.bundle().manifest.variants[0]
CLASSES = len(golden.bundle().manifest.classes)
DIMS = {VARIANT.name: VARIANT.dim}
HEAD = golden.bundle().members[VARIANT.head]
GOLDEN = golden.bundle().members["golden.safetensors"]
GUARD = golden.bundle().members["guard.safetensors"]

Parts = Tuple[Dict[str, Any], Dict[str, Any]]


def head(data: bytes) -> HeadMember:
    return HeadMember.unpack(data, VARIANT.head, VARIANT.feature_space, VARIANT.dim)


def test_members_go_out_and_come_in_bit_for_bit() -> None:
    assert head(HEAD).pack() == HEAD
    assert GoldenSamples.unpack(GOLDEN, "golden", DIMS, CLASSES).pack() == GOLDEN
    assert GuardSet.unpack(GUARD, "guard", DIMS, CLASSES).pack() == GUARD


def test_a_guard_set_may_be_empty() -> None:
    empty = GuardSet({VARIANT.name: np.zeros((0, VARIANT.dim), np.float32)}, np.zeros(0, np.int64))
    assert len(GuardSet.unpack(empty.pack(), "guard", DIMS, CLASSES).labels) == 0


def test_the_guard_set_holds_features_with_labels_of_every_class() -> None:
    guard = GuardSet.unpack(GUARD, "guard", DIMS, CLASSES)
    assert set(guard.labels.tolist()) == set(range(CLASSES))
    assert guard.features[VARIANT.name].shape == (len(guard.labels), VARIANT.dim)


HEAD_CHANGES: Dict[str, Callable[[Dict[str, Any], Dict[str, Any]], Any]] = {
    "no statistics": lambda t, m: m.pop("statistics"),
    "statistics are a number": lambda t, m: m.update(statistics=5),
    "factory is a list": lambda t, m: m.update(factory=[]),
    "options are a text": lambda t, m: m.update(options="n0=5"),
    "an unknown head": lambda t, m: m.update(head="magic"),
    "a head of no name": lambda t, m: m.update(head=None),
    "more metadata": lambda t, m: m.update(more=1),
    "a tensor of no part": lambda t, m: t.update(weights=np.zeros(3)),
    "a tensor of another part": lambda t, m: t.update({"other.weights": np.zeros(3)}),
    "a missing tensor": lambda t, m: t.pop("factory.weights"),
    "another dtype": lambda t, m: t.update({"factory.weights": t["factory.weights"].astype(np.float32)}),
    "one class less": lambda t, m: t.update({"factory.weights": t["factory.weights"][1:]}),
    "another feature space": lambda t, m: m["statistics"].update(feature_space="0" * 64),
    "a head of another feature space": lambda t, m: m["factory"].update(feature_space="0" * 64),
    "a head of another D": lambda t, m: t.update(
        {
            "factory.weights": np.zeros((CLASSES, 3)),
            "factory.shift": np.zeros(3),
        }
    ),
    "no temperature": lambda t, m: m["factory"].update(temperature=0.0),
    "negative counts": lambda t, m: t.update({"source.counts": -t["source.counts"]}),
}


@pytest.mark.parametrize("change", list(HEAD_CHANGES.values()), ids=list(HEAD_CHANGES))
def test_a_head_that_does_not_fit_is_refused(change: Callable[[Dict[str, Any], Dict[str, Any]], Any]) -> None:
    tensors, metadata = unpack_tensors(HEAD, "head")
    change(tensors, metadata)
    with pytest.raises(BundleCorruptError, match=VARIANT.head):
        head(pack_tensors(tensors, metadata))


def test_a_head_of_another_extractor_is_refused() -> None:
    for space, dim in (("0" * 64, VARIANT.dim), (VARIANT.feature_space, VARIANT.dim + 1)):
        with pytest.raises(BundleCorruptError):
            HeadMember.unpack(HEAD, VARIANT.head, space, dim)


@pytest.mark.parametrize("data", [GUARD, GOLDEN, b"", b"\0" * 100], ids=["guard", "golden", "empty", "zeros"])
def test_another_member_is_no_head(data: bytes) -> None:
    with pytest.raises(BundleCorruptError):
        head(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
_PATHS = [
    (part, key)
    for part in ("statistics", "factory")
    for key in unpack_tensors(HEAD, "head")[1][part]
] + [(key, None) for key in ("statistics", "head", "options", "factory")]


@given(st.sampled_from(_PATHS), _JSON)
def test_no_metadata_escapes_as_another_error(path: Tuple[str, Any], value: Any) -> None:
    tensors, metadata = unpack_tensors(HEAD, "head")
    if path[1] is None:
        metadata[path[0]] = value
    else:
        metadata[path[0]][path[1]] = value
    with contextlib.suppress(BundleCorruptError):
        head(pack_tensors(tensors, metadata))


@given(st.sampled_from(sorted(unpack_tensors(HEAD, "head")[0])), st.sampled_from(["f4", "f8", "u1", "i8"]), st.data())
def test_no_array_escapes_as_another_error(name: str, dtype: str, data: st.DataObject) -> None:
    tensors, metadata = unpack_tensors(HEAD, "head")
    shape = data.draw(st.sampled_from([(), (0,), (1,), (64,), (9, 64), (64, 64), tensors[name].shape]))
    tensors[name] = np.full(shape, data.draw(st.sampled_from([0, 1, 255])), dtype)
    with contextlib.suppress(BundleCorruptError):
        head(pack_tensors(tensors, metadata))


GOLDEN_CHANGES: Dict[str, Callable[[Dict[str, Any]], Any]] = {
    "no decisions": lambda t: t.pop("decisions"),
    "decisions as floats": lambda t: t.update(decisions=t["decisions"].astype(float)),
    "a decision beyond the classes": lambda t: t.update(decisions=t["decisions"] + CLASSES),
    "a negative decision": lambda t: t.update(decisions=t["decisions"] - CLASSES),
    "a missing sample": lambda t: t.pop("sample.0"),
    "no samples at all": lambda t: t.update(decisions=np.zeros(0, np.int64)),
    "a missing feature": lambda t: t.update({"features." + VARIANT.name: t["features." + VARIANT.name][1:]}),
    "no features": lambda t: t.pop("features." + VARIANT.name),
    "features in float64": lambda t: t.update(
        {"features." + VARIANT.name: t["features." + VARIANT.name].astype(np.float64)}
    ),
}


@pytest.mark.parametrize("change", list(GOLDEN_CHANGES.values()), ids=list(GOLDEN_CHANGES))
def test_golden_samples_that_do_not_fit_are_refused(change: Callable[[Dict[str, Any]], Any]) -> None:
    tensors, metadata = unpack_tensors(GOLDEN, "golden")
    change(tensors)
    with pytest.raises(BundleCorruptError, match="golden"):
        GoldenSamples.unpack(pack_tensors(tensors, metadata), "golden", DIMS, CLASSES)


def test_a_guard_set_that_does_not_fit_is_refused() -> None:
    tensors, metadata = unpack_tensors(GUARD, "guard")
    for change in (
        {"labels": tensors["labels"][1:]},
        {"labels": tensors["labels"] + CLASSES},
        {"labels": tensors["labels"][:, None]},
    ):
        with pytest.raises(BundleCorruptError, match="guard"):
            GuardSet.unpack(pack_tensors({**tensors, **change}, metadata), "guard", DIMS, CLASSES)


def test_no_source_sample_travels_in_the_head() -> None:
    """Only sums over samples: no array of the head has one row a training sample."""
    tensors, _metadata = unpack_tensors(HEAD, "head")
    training = json.loads(json.dumps(golden.bundle().manifest.provenance))["dataset"]["training"]
    assert training > max(CLASSES, VARIANT.dim)
    assert all(training not in array.shape for array in tensors.values())


# -- heads of format 1.1: their further parts

FEATURES, LABELS = digits(20)
DIM = FEATURES.shape[1]


def unpacked(data: bytes) -> HeadMember:
    return HeadMember.unpack(data, "head.fp32.safetensors", SPACE, DIM)


@lru_cache(maxsize=None)
def shipped(name: str) -> HeadMember:
    return member(name, FEATURES, LABELS)


@lru_cache(maxsize=None)
def packed(name: str) -> bytes:
    return shipped(name).pack()


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_every_head_goes_out_and_comes_in_bit_for_bit(name: str) -> None:
    read = unpacked(packed(name))
    assert read.pack() == packed(name) and read.carries == shipped(name).carries
    assert np.array_equal(read.factory.decision(FEATURES), shipped(name).factory.decision(FEATURES))
    assert read.carries == {"ridge_rp": (PROJECTED_STATISTICS,)}.get(name, (SOURCE_FEATURES,) * (name in REPLAY))


@pytest.mark.parametrize("name", [name for name in HEAD_NAMES if name not in REPLAY])
def test_only_replay_heads_carry_something_of_a_single_sample(name: str) -> None:
    tensors, _ = unpack_tensors(packed(name), "head")
    # Of 200 samples, in 20 features and 10 classes, behind 48 units: what has no side of 200 is a sum.
    assert all(len(FEATURES) not in array.shape for array in tensors.values())


def _samples(tensors: Dict[str, Any], **changes: Any) -> None:
    tensors.update({f"samples.{key}": change(tensors[f"samples.{key}"]) for key, change in changes.items()})


FURTHER_CHANGES: Dict[str, Tuple[str, Callable[[Dict[str, Any], Dict[str, Any]], Any]]] = {
    "no samples": ("knn", lambda t, m: m.pop("samples")),
    "samples are a text": ("knn", lambda t, m: m.update(samples="all")),
    "samples of another format": ("knn", lambda t, m: m["samples"].update(format=2)),
    "samples of another D": ("knn", lambda t, m: (m["samples"].update(dim=19), _samples(t, features=lambda f: f[:, :19],
                                                                                         shift=lambda s: s[:19]))),
    "a class without samples": ("knn", lambda t, m: _samples(t, classes=lambda c: np.minimum(c, 8))),
    "more classes than there are": ("knn", lambda t, m: _samples(t, classes=lambda c: c + 1)),
    "numbers that a device gives": ("knn", lambda t, m: _samples(t, numbers=lambda n: -n)),
    "the same number twice": ("knn", lambda t, m: _samples(t, numbers=lambda n: np.minimum(n, -2))),
    "room for a gigabyte": ("knn", lambda t, m: m["samples"].update(capacity=2**25)),
    "room for less than there is": ("knn", lambda t, m: m["samples"].update(capacity=5)),
    "counts that are texts": ("knn", lambda t, m: m["samples"].update(seen=["many"] * 10)),
    "features in float32": ("knn", lambda t, m: _samples(t, features=lambda f: f.astype(np.float32))),
    "classes as floats": ("knn", lambda t, m: _samples(t, classes=lambda c: c.astype(float))),
    "another factory head": ("softmax", lambda t, m: m["factory"].update(head="ridge")),
    "no projected statistics": ("ridge_rp", lambda t, m: m.pop("projected")),
    "projected of other classes": ("ridge_rp", lambda t, m: m["projected"]["classes"].__setitem__(0, "-")),
    "projected of another space": ("ridge_rp", lambda t, m: m["projected"].update(feature_space="0" * 64)),
    "projected of fewer samples": ("ridge_rp", lambda t, m: t.update({"projected.counts": t["projected.counts"] / 2,
                                                                      "projected.count": t["projected.count"] / 2})),
    "a layer of another width": ("ridge_rp", lambda t, m: m["factory"]["layer"].update(width=47)),
    "a layer of any width": ("ridge_rp", lambda t, m: m["factory"]["layer"].update(width=2**40)),
    "a layer of no width": ("ridge_rp", lambda t, m: m["factory"].update(layer=None)),
    "a layer of another D": ("ridge_rp", lambda t, m: t.update({"factory.layer_shift": np.zeros(3),
                                                                 "factory.layer_scale": np.ones(3)})),
    "a layer without scale": ("ridge_rp", lambda t, m: t.update({"factory.layer_scale": np.zeros(DIM)})),
    "samples in a head of sums": ("slda", lambda t, m: (t.update({"samples.features": np.zeros((1, DIM), np.float16)}),
                                                         m.update(samples={}))),
}  # fmt: skip


@pytest.mark.parametrize("case", list(FURTHER_CHANGES.values()), ids=list(FURTHER_CHANGES))
def test_further_parts_that_do_not_fit_are_refused(
    case: Tuple[str, Callable[[Dict[str, Any], Dict[str, Any]], Any]],
) -> None:
    name, change = case
    tensors, metadata = unpack_tensors(packed(name), "head")
    change(tensors, metadata)
    with pytest.raises(BundleCorruptError, match=r"head\.fp32\.safetensors"):
        unpacked(pack_tensors(tensors, metadata))


@given(st.sampled_from(["knn", "ridge_rp"]), st.sampled_from(["samples", "projected"]), st.data())
def test_no_further_metadata_escapes_as_another_error(name: str, part: str, data: st.DataObject) -> None:
    tensors, metadata = unpack_tensors(packed(name), "head")
    if part in metadata:
        key = data.draw(st.sampled_from(sorted(metadata[part])))
        metadata[part][key] = data.draw(_JSON)
    with contextlib.suppress(BundleCorruptError):
        unpacked(pack_tensors(tensors, metadata))


@given(st.sampled_from(["knn", "ridge_rp"]), st.sampled_from(["f2", "f4", "f8", "i8"]), st.data())
def test_no_further_array_escapes_as_another_error(name: str, dtype: str, data: st.DataObject) -> None:
    tensors, metadata = unpack_tensors(packed(name), "head")
    chosen = data.draw(st.sampled_from(sorted(tensors)))
    shape = data.draw(st.sampled_from([(), (0,), (1,), (DIM,), (48, DIM), tensors[chosen].shape]))
    tensors[chosen] = np.full(shape, data.draw(st.sampled_from([0, 1, 255])), dtype)
    with contextlib.suppress(BundleCorruptError):
        unpacked(pack_tensors(tensors, metadata))


def test_the_manifest_says_what_the_heads_carry_or_the_bundle_is_refused(tmp_path: Path) -> None:
    labels = [label for label in golden.labels() if label != "9"]
    features = np.random.default_rng(0).normal(size=(len(labels), VARIANT.dim)).astype(np.float32)
    data = {VARIANT.head: member("knn", features, labels).pack()}
    honest = read_bundle(golden.changed_bundle(tmp_path / "a", data, carries=(SOURCE_FEATURES,)))
    assert honest.manifest.format == (1, 1) and read_head(honest, VARIANT).carries == (SOURCE_FEATURES,)
    for carries in ((), (PROJECTED_STATISTICS,), (SOURCE_FEATURES, PROJECTED_STATISTICS)):
        silent = read_bundle(golden.changed_bundle(tmp_path / "b", data, carries=carries))
        with pytest.raises(BundleFormatError, match="carries"):
            read_head(silent, VARIANT)
    for carries in ((SOURCE_FEATURES,) * 2, ("source-images",)):
        with pytest.raises(BundleFormatError, match="carry"):
            read_bundle(golden.changed_bundle(tmp_path / "c", data, carries=carries))
    assert golden.bundle().manifest.format == (1, 0) and golden.bundle().manifest.carries == ()


# -- heads of numbers


@lru_cache(maxsize=None)
def packed_numbers(name: str) -> bytes:
    targets = FEATURES[:, :2].astype(np.float64) @ np.array([[1.0, 2.0], [1.0, -1.0]])
    return target_member(name, FEATURES, targets).pack()


def _with_sums_of_classes(tensors: Dict[str, Any], metadata: Dict[str, Any]) -> None:
    others, told = unpack_tensors(packed("slda"), "head")
    for name in [name for name in tensors if name.startswith("source.")]:
        del tensors[name]
    tensors.update({name: array for name, array in others.items() if name.startswith("source.")})
    metadata.update(statistics=told["statistics"])


@pytest.mark.parametrize("name", ["ridge", "ridge_rp"])
def test_a_head_of_numbers_goes_out_and_comes_in_bit_for_bit(name: str) -> None:
    read = unpacked(packed_numbers(name))
    assert read.pack() == packed_numbers(name) and (read.target_count, read.exact) == (2, True)
    assert read.carries == ((PROJECTED_STATISTICS,) if name == "ridge_rp" else ())
    assert (read.counted_as("[0.5, 1.0]"), shipped("slda").counted_as("a")) == ("", "a")


NUMBER_CHANGES: Dict[str, Tuple[str, Callable[[Dict[str, Any], Dict[str, Any]], Any]]] = {
    "statistics of classes": ("ridge", _with_sums_of_classes),
    "another head": ("ridge", lambda t, m: m.update(head="slda")),
    "a regressor of another kind": ("ridge", lambda t, m: m["factory"]["regressor"].update(regressor="magic")),
    "one number less": ("ridge", lambda t, m: t.update({"factory.spread": t["factory.spread"][:1]})),
    "no spread": ("ridge", lambda t, m: t.update({"factory.spread": np.zeros(2)})),
    "a whole matrix": ("ridge", lambda t, m: t.update({"factory.inverse": np.eye(DIM)})),
    "a matrix of another D": ("ridge", lambda t, m: t.update({"factory.inverse": np.ones(6)})),
    "projected without targets": ("ridge_rp", lambda t, m: [t.pop(k) for k in list(t) if "projected.target" in k]),
    "a layer that is a list": ("ridge_rp", lambda t, m: m["factory"]["regressor"].update(layer=[])),
}  # fmt: skip


@pytest.mark.parametrize("case", list(NUMBER_CHANGES.values()), ids=list(NUMBER_CHANGES))
def test_a_head_of_numbers_that_does_not_fit_is_refused(
    case: Tuple[str, Callable[[Dict[str, Any], Dict[str, Any]], Any]],
) -> None:
    name, change = case
    tensors, metadata = unpack_tensors(packed_numbers(name), "head")
    change(tensors, metadata)
    with pytest.raises(BundleCorruptError, match=r"head\.fp32\.safetensors"):
        unpacked(pack_tensors(tensors, metadata))


@given(st.sampled_from(["ridge", "ridge_rp"]), st.sampled_from(["f4", "f8", "i8"]), st.data())
def test_no_array_of_a_head_of_numbers_escapes_as_another_error(name: str, dtype: str, data: st.DataObject) -> None:
    tensors, metadata = unpack_tensors(packed_numbers(name), "head")
    chosen = data.draw(st.sampled_from(sorted(tensors)))
    shape = data.draw(st.sampled_from([(), (0,), (1,), (DIM,), (48, DIM), tensors[chosen].shape]))
    tensors[chosen] = np.full(shape, data.draw(st.sampled_from([0, 1, 255])), dtype)
    with contextlib.suppress(BundleCorruptError):
        unpacked(pack_tensors(tensors, metadata))


def test_a_guard_set_of_numbers_goes_out_and_comes_in() -> None:
    features = {VARIANT.name: np.ones((3, VARIANT.dim), np.float32)}
    guard = GuardSet(features, np.zeros(3, np.int64), np.arange(6.0).reshape(3, 2))
    read = GuardSet.unpack(guard.pack(), "guard", DIMS, 0, 2)
    assert read.targets is not None and np.array_equal(read.targets, guard.targets)
    for data, outputs in ((guard.pack(), 0), (guard.pack(), 3), (GuardSet(features, guard.labels).pack(), 2)):
        with pytest.raises(BundleCorruptError, match="guard"):
            GuardSet.unpack(data, "guard", DIMS, 0, outputs)
