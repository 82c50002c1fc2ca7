"""A network and data small enough to train in a second; run as a program, the run that the tests kill and share out."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edgetl_runtime.preprocess import ArrayPreprocess, ImagePreprocess

import edgetl
from edgetl.backbones import from_module
from edgetl.data import Dataset
from edgetl.features import Extractor
from edgetl.tuning import Tuned, tune

ROOT = Path(__file__).resolve().parents[3]


def stripes(count: int = 120, side: int = 12, seed: int = 0, noise: float = 60.0) -> Dataset:
    """Grey pictures of noisy stripes: lying, standing, slanted."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    along = {"lying": y, "standing": x, "slanted": x + y}
    labels = [list(along)[i % 3] for i in range(count)]
    waves = [np.sin(along[label] * 1.6 + rng.uniform(0, 6)) for label in labels]
    frames = [np.clip(128 + 45 * w + rng.normal(0, noise, w.shape), 0, 255).astype(np.uint8) for w in waves]
    return edgetl.dataset(frames, labels, name="stripes")


def conv_net(seed: int = 0, side: int = 12, dropout: float = 0.2) -> Extractor:
    """Two convolutions with batch normalisation, dropout, and 24 features; random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = torch.nn.Sequential(
            *(torch.nn.Conv2d(1, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU()),
            *(torch.nn.Conv2d(8, 16, 3, padding=1, bias=False), torch.nn.BatchNorm2d(16), torch.nn.ReLU()),
            *(torch.nn.AdaptiveAvgPool2d(3), torch.nn.Flatten(), torch.nn.Dropout(dropout), torch.nn.Linear(144, 24)),
        )
    return from_module(module, ImagePreprocess(side, side, channels="L"), 128.0, 1 / 64, name="small")


def waves(count: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """(windows (N, 24, 2) float32, their frequency (N))."""
    rng = np.random.default_rng(3)
    speed = rng.uniform(0.2, 1.2, count)
    t = np.arange(24)
    x = np.stack([np.sin(np.outer(speed, t) + rng.uniform(0, 6, (count, 1))), rng.normal(size=(count, 24))], axis=2)
    return x.astype(np.float32), speed


def series_net() -> Extractor:
    """One-dimensional convolutions over windows (24, 2)."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = torch.nn.Conv1d(2, 12, 5), torch.nn.BatchNorm1d(12)
            self.last = torch.nn.Conv1d(12, 16, 5)

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            inner = torch.relu(self.norm(self.first(windows.transpose(1, 2))))
            return torch.relu(self.last(inner)).mean(dim=2)

    with torch.random.fork_rng():
        torch.manual_seed(1)
        return from_module(Net(), ArrayPreprocess((24, 2)), name="series")


def weights_digest(extractor: Extractor) -> str:
    assert extractor.module is not None
    digest = hashlib.sha256()
    for name, value in sorted(extractor.module.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def run(folder: str | None, every_s: float, progress: Any, **changes: Any) -> Tuned:
    """The run of these tests: everything that is by chance or is carried from step to step takes part."""
    changes = {"epochs": 4, "batch": 16, "average": 0.9, "mixup": 0.2, "batch_statistics": "moving", **changes}
    network = conv_net(dropout=changes.pop("dropout", 0.2))
    return tune(network, stripes(), "full", checkpoints=folder, save_every_s=every_s, progress=progress, **changes)


def main() -> None:
    """FOLDER (or -), CHANGES as JSON: train, saying each step; then the digest of the weights and the losses."""
    torch.set_num_threads(1)
    folder, changes = sys.argv[1], json.loads(sys.argv[2])

    def told(step: Any) -> None:
        if step.stage.startswith("training"):
            print(f"step {step.done}", flush=True)

    result = run(None if folder == "-" else folder, 0.0, told, **changes)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"digest": weights_digest(result.extractor), "losses": result.losses}), flush=True)


if __name__ == "__main__":
    main()
