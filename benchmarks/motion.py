"""Phone and watch motion of `spsw_har` as streams and windows, and a bundle of LIMU-BERT-X built from some persons."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from edgetl_runtime.preprocess import ArrayPreprocess
from edgetl_runtime.windows import WindowSpec, cut_windows

import edgetl
from benchmarks.evidence import data_folder

__all__ = ["ACTIVITIES", "CHANNELS", "UNITS", "WINDOW", "Stream", "motion_bundle", "streams", "windows_of"]

ACTIVITIES = ("seated", "standing up", "walking", "turning", "sitting down")
CHANNELS, UNITS = ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s^2",) * 3 + ("rad/s",) * 3
WINDOW = WindowSpec(20, 10, 20.0, CHANNELS, UNITS)  # what the network was trained on: a second at 20 Hz


@dataclasses.dataclass(frozen=True)
class Stream:
    """One recording: (N,) seconds, (N, 6) values, (N,) activities by number."""

    name: str
    seconds: np.ndarray
    values: np.ndarray
    labels: np.ndarray


def streams(device: str, persons: range) -> list[Stream]:
    """The recordings of these persons, with "sp" the phone or "sw" the watch, in order."""
    found = []
    with np.load(data_folder() / "spsw_har" / "spsw.npz", allow_pickle=False) as stored:
        keys = sorted({key.split("/")[0] for key in stored.files})
        for key in keys:
            if int(key[1:3]) in persons and key.endswith(device):
                milliseconds, values, labels = (stored[f"{key}/{part}"] for part in ("t_ms", "x", "y"))
                passed = np.cumsum(np.diff(milliseconds.astype(np.int64), prepend=milliseconds[0]) % 65536)
                found.append(Stream(key, passed / 1000.0, values.astype(np.float64), labels.astype(int)))
    return found


def windows_of(stream: Stream, spec: WindowSpec = WINDOW, purest: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """(M, 20, 6) windows that are mostly of one activity, and which."""
    table = cut_windows(spec, stream.seconds, stream.values, CHANNELS, UNITS, source_rate_hz=100.0)
    kept, labels = [], []
    for window, start, end in zip(table.data, table.start_s, table.end_s, strict=True):
        inside = stream.labels[(stream.seconds >= start) & (stream.seconds <= end)]
        counts = np.bincount(inside, minlength=len(ACTIVITIES))
        if counts.max() >= purest * counts.sum():
            kept.append(window)
            labels.append(int(counts.argmax()))
    return np.array(kept, np.float32).reshape(-1, *table.data.shape[1:]), np.array(labels, int)


def motion_bundle(path: Path, persons: range = range(1, 8)) -> Path:
    """A bundle built from the phones of these persons; made once."""
    if not path.exists():
        model = data_folder() / "models" / "derived_onnx" / "limu_bert_x_features216.onnx"
        gravity = (1 / 9.8,) * 3 + (1.0,) * 3
        extractor = edgetl.extractor(f"onnx:{model}", output="features", mean=0.0, scale=gravity)
        extractor = dataclasses.replace(extractor, preprocess=ArrayPreprocess((20, 6), WINDOW))
        parts = [windows_of(stream) for stream in streams("sp", persons)]
        windows = np.concatenate([part for part, _ in parts])
        labels = [ACTIVITIES[label] for _, part in parts for label in part]
        path.parent.mkdir(parents=True, exist_ok=True)
        edgetl.build(extractor, edgetl.dataset(windows, labels), out=path, name="motion")
    return path
