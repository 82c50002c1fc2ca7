"""A real bundle so small (D = 8, one matrix product) that a state is opened and judged in milliseconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLASSES", "DIGITS", "FIRST", "FOURTH", "SECOND", "THIRD", "TINY", "Family", "frames", "make_bundles", "opened",
    "probes",
]  # fmt: skip

CLASSES = ("a", "b", "c")
DIM = 8
FIRST, SECOND, THIRD, FOURTH = "first.edgetl", "second.edgetl", "third.edgetl", "fourth.edgetl"
NO_BOARD = "/nonexistent"
_SHIFT = 2.0
_GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True)
class Family:
    """A bundle by its file in the folder of bundles, what its states are asked, and what they are taught."""

    bundle: str
    probes: Callable[[], NDArray[Any]]
    frames: Callable[[int], tuple[NDArray[Any], list[str]]]


def make_bundles(folder: Path) -> Path:
    """Four releases of the tiny bundle, built by the host, and a public key each, in `folder`; the folder.

    The third was trained on other samples: its head is another, its features are the same. The fourth has another
    extractor.
    """
    import onnx
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from onnx import TensorProto, helper, numpy_helper

    import edgetl

    folder.mkdir(parents=True, exist_ok=True)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, DIM]) for name in ("x", "features")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["features"])]
    extractors = []
    for seed in (1, 7):
        drawn = np.random.default_rng(seed).normal(size=(DIM, DIM)).astype(np.float32)
        weights = numpy_helper.from_array(drawn, "w")
        graph = helper.make_graph(nodes, "tiny", tensors[:1], tensors[1:], [weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, str(folder / f"tiny-{seed}.onnx"))
        extractors.append(edgetl.extractor(f"onnx:{folder / f'tiny-{seed}.onnx'}", output="features"))
    samples, labels = _draw(120, 0.0, seed=2)
    for sequence, name in enumerate((FIRST, SECOND, THIRD, FOURTH), 1):
        if name == THIRD:
            samples, labels = _draw(90, 0.0, seed=6)
        dataset = edgetl.dataset(samples, labels)
        edgetl.build(extractors[name == FOURTH], dataset, out=folder / name, name="tiny", sequence=sequence)
        key = Ed25519PrivateKey.from_private_bytes(bytes([sequence]) * 32).public_key()
        pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{sequence}.pub").write_bytes(pem)
    shutil.copy(_GOLDEN / "bundle-1.0.edgetl", folder / DIGITS.bundle)
    return folder


def frames(count: int, seed: int = 3) -> tuple[NDArray[np.float32], list[str]]:
    """Samples (N, 8) of the shifted domain, and their labels."""
    return _draw(count, _SHIFT, seed)


def probes() -> NDArray[np.float32]:
    """What every state is asked: 4 samples of either domain."""
    return np.concatenate([_draw(2, 0.0, 4)[0], _draw(2, _SHIFT, 5)[0]])


def opened(state: Path, bundle: Path | None = None, **options: Any) -> rt.Session:
    """A session on that state; `bundle` None opens what is installed there."""
    # Neither the board nor NumPy's threads are asked about at each of a hundred thousand starts.
    options = {"threads": 1, "blas_threads": None, "board_root": NO_BOARD, **options}
    return rt.open(bundle, state, allow_unsigned=True, **options)


def _draw(count: int, shift: float, seed: int) -> tuple[NDArray[np.float32], list[str]]:
    centres = np.random.default_rng(0).normal(size=(len(CLASSES), DIM)) * 2
    draw = np.random.default_rng(seed)
    which = np.arange(count) % len(CLASSES)
    samples = centres[which] + draw.normal(size=(count, DIM)) + shift
    return samples.astype(np.float32), [CLASSES[i] for i in which]


@cache
def _digits() -> tuple[NDArray[np.uint8], list[str]]:
    return np.load(_GOLDEN / "frames.npy"), json.loads((_GOLDEN / "labels.json").read_text())


TINY = Family(FIRST, probes, frames)
# The bundle of the first release, whose states are of schema 1.
DIGITS = Family(
    "digits.edgetl",
    lambda: _digits()[0][-8:],
    lambda count: (_digits()[0][:count], _digits()[1][:count]),
)
