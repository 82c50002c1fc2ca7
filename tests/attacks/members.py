"""Attacks by what the members of a bundle carry beside arrays: metadata, heads of every kind, numbers."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Dict, Tuple

import numpy as np
from edgetl_runtime.bundle.tensors import pack_tensors, unpack_tensors
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from tests.attacks.forge import bundle, tensors_of
from tests.runtime import golden, head_members

__all__ = ["MEMBERS"]

HEAD, GUARD, GOLDEN = "head.fp32.safetensors", "guard.safetensors", "golden.safetensors"


def retold(member: str, start: str, again: str, count: int, end: str) -> Callable[[], bytes]:
    """A member of the golden bundle with other metadata, as the text of its JSON: `again` so often in the middle."""

    def forged() -> bytes:
        arrays = load_tensors(golden.bundle().members[member])
        return bundle({member: save_tensors(arrays, {"edgetl": start + count * again + end})})

    return forged


def more(member: str, **arrays: Any) -> Callable[[], bytes]:
    """A member of the golden bundle with other arrays."""
    return lambda: bundle({member: tensors_of(member, lambda held: held.update(arrays))})


def headed(name: str, change: Callable[[Dict[str, Any], Dict[str, Any]], Any], **options: Any) -> Callable[[], bytes]:
    """The golden bundle with a head of another kind; its arrays and metadata are changed, golden decisions follow."""

    def forged() -> bytes:
        features = load_tensors(golden.bundle().members[GOLDEN])["features.fp32"]
        known = golden.bundle().manifest.classes
        rows = np.random.default_rng(0).normal(size=(4 * len(known), features.shape[1])).astype(np.float32)
        member = head_members.member(name, rows, [*known] * 4)
        data = dataclasses.replace(member, options=options).pack()
        arrays, told = unpack_tensors(data, HEAD)
        change(arrays, told)
        decided = [list(member.factory.classes).index(label) for label in member.factory.predict(features)]
        return bundle(
            {
                HEAD: pack_tensors(arrays, told),
                GOLDEN: tensors_of(GOLDEN, lambda a: a.update(decisions=np.array(decided))),
            },
            lambda manifest: manifest.update(format=[1, 1], carries=list(member.carries)) if member.carries else None,
        )

    return forged


def wide(arrays: Dict[str, Any], told: Dict[str, Any]) -> None:
    """A random layer of 65,536 x 20,000 in a file of some megabytes."""
    arrays["factory.layer_shift"], arrays["factory.layer_scale"] = np.zeros(1 << 16), np.ones(1 << 16)
    told["factory"]["layer"]["width"] = 20_000
    for part, shape in (("shift", (20_000,)), ("weights", (9, 20_000))):
        arrays[f"factory.{part}"] = np.zeros(shape)


def nothing(arrays: Dict[str, Any], told: Dict[str, Any]) -> None:
    """As it is."""


def numbers(change: Callable[[Dict[str, Any]], Any]) -> Callable[[], bytes]:
    """The golden bundle made one of numbers, with an array of its head changed."""

    def guard(arrays: Dict[str, Any]) -> None:
        arrays.update(labels=0 * arrays["labels"], targets=np.zeros((len(arrays["labels"]), 2)))

    def forged() -> bytes:
        features = load_tensors(golden.bundle().members[GOLDEN])["features.fp32"]
        rows = np.random.default_rng(0).normal(size=(200, features.shape[1])).astype(np.float32)
        data = head_members.target_member("ridge", rows, rows[:, :2].astype(np.float64)).pack()
        arrays, told = unpack_tensors(data, HEAD)
        change(arrays)
        members = {
            HEAD: pack_tensors(arrays, told),
            GOLDEN: tensors_of(GOLDEN, lambda a: a["decisions"].fill(0)),
            GUARD: tensors_of(GUARD, guard),
        }
        outputs = [{"name": name, "unit": ""} for name in "xy"]
        return bundle(members, lambda manifest: manifest.update(format=[1, 1], classes=[], outputs=outputs))

    return forged


def planned(engine: str = "onnxruntime", **options: Any) -> Callable[[], bytes]:
    """The golden bundle with a plan that gives an engine those options."""
    plans = {"any": [{"variant": "fp32", "engine": engine, "options": options, "why": "it says so"}]}
    return lambda: bundle(manifest=lambda manifest: manifest.update(format=[1, 1], plans=plans))


# By name: the error, and what makes the file.
MEMBERS: Dict[str, Tuple[str, Callable[[], bytes]]] = {
    "an array too many in the guard set": ("BundleCorruptError", more(GUARD, more=np.zeros(1 << 20, np.float32))),
    "decisions without samples": ("BundleCorruptError", more(GOLDEN, decisions=np.zeros(5_000_000, np.int64))),
    "metadata of eight million lists": ("BundleCorruptError", retold(HEAD, '{"a":[', "[],", 8 << 20, "0]}")),
    "metadata of a million words": ("BundleCorruptError", retold(GUARD, '{"a":[', '"ab",', 1 << 20, "0]}")),
    "metadata that is no ASCII": ("BundleCorruptError", retold(HEAD, '{"a":"', "\U0001f600", 1 << 20, '"}')),
    "a random layer of ten gigabytes": ("BundleCorruptError", headed("ridge_rp", wide)),
    "a perceptron of 100 million units": ("BundleCorruptError", headed("mlp", nothing, width=100_000_000)),
    "a perceptron of a million units": ("BundleCorruptError", headed("mlp", nothing, width=1_000_000)),
    "a fit of a billion steps": ("BundleCorruptError", headed("mlp", nothing, steps=1_000_000_000, penalty=0.0)),
    "penalties without end": ("BundleCorruptError", headed("ridge", nothing, penalties=[1.0] * 200_000)),
    "a plan that says where to cache": ("BundleFormatError", planned(cache_dir="/etc")),
    "a plan that stops the engine": ("BundleFormatError", planned(stop=True)),
    "a plan that builds": ("BundleFormatError", planned(build=True)),
    "a plan with a provider that is a path": ("EngineError", planned(provider="../lib.so")),
    "numbers whose error is none": ("BundleParityError", numbers(lambda arrays: arrays["factory.noise"].fill(-1.0))),
}
