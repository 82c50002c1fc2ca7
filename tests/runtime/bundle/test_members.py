"""The records inside a bundle fit its manifest, or are refused before anything uses them."""

from __future__ import annotations

import contextlib
import json
from typing import Any, Callable, Dict, Tuple

import numpy as np
import pytest
from edgetl_runtime.bundle import pack_tensors, unpack_tensors
from edgetl_runtime.bundle.members import GoldenSamples, GuardSet, HeadMember
from edgetl_runtime.errors import BundleCorruptError
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime import golden

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
