"""The guard on real numbers: the steering angle of a real drive, the first part of it the source.

The same scenarios as for classes, as far as they mean something for targets. Scores are 100 (1 - squared error in
variances of the source), so 100 is perfect and 0 is as good as the mean. The later frames of the drive are no new
domain, so nothing is to be gained there; `SHIFTS` make one of them, in which a guard that refuses everything loses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from edgetl_runtime.guard import NumberEvidence, duplicates, numbers, within_spread
from edgetl_runtime.heads import anchored_targets, fit_anchored_targets, fit_regressor, target_head
from edgetl_runtime.statistics import Statistics

from benchmarks.fewshot_data import cached as cached_features
from benchmarks.guard_replay import Taught, cached, fits
from benchmarks.steering import GAP, SOURCE, drive_features

SCALE = 4.0  # variances at which one squared error is cut, as in a session
FEATURES = 32  # of a frozen PCA of the source
PENALTY = 1e3  # the best of 1 to 10^4 on held-out blocks of the source; GCV believes neighbouring frames
TAUGHT = 200  # frames after the gap that can be taught; the rest judges
HELD_SHARE = 0.1
_CODE = b"".join(Path(str(part.__file__)).read_bytes() for part in (anchored_targets, duplicates, numbers))
_CODE += Path(__file__).read_bytes()


@dataclass(frozen=True)
class Drive:
    """Features (N, D) and targets (N, Q) of the source, its guard set, the old domain, the pool and the new one."""

    parts: dict[str, tuple[np.ndarray, np.ndarray]]
    source: Statistics
    seed: int

    def generator(self, salt: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, salt, 77])


def drive(seed: int) -> Drive:
    """The drive with blocks of 25 frames of its first part drawn anew: 60 % fit the factory head."""
    stored = cached_features("donkey_tub", drive_features)
    x, y = stored["x"].astype(np.float64), stored["y"][:, :1].astype(np.float64)  # the throttle cannot be predicted
    mean = x[:SOURCE].mean(axis=0)
    axes = np.linalg.svd(x[:SOURCE] - mean, full_matrices=False)[2][:FEATURES].T
    x = (x - mean) @ axes
    y = (y - y[:SOURCE].mean(axis=0)) / y[:SOURCE].std(axis=0)
    blocks = np.random.default_rng([seed, 1]).permutation(np.arange(SOURCE).reshape(-1, 25))
    first, second = round(0.6 * len(blocks)), round(0.8 * len(blocks))
    rows = {
        "fitted": blocks[:first].ravel(), "guard": blocks[first:second].ravel(), "old": blocks[second:].ravel(),
        "pool": np.arange(SOURCE + GAP, SOURCE + GAP + TAUGHT), "new": np.arange(SOURCE + 2 * GAP + TAUGHT, len(x)),
    }  # fmt: skip
    source = Statistics(FEATURES, shift=x[rows["fitted"]].mean(axis=0))
    source.add(x[rows["fitted"]], targets=y[rows["fitted"]])
    return Drive({name: (x[r], y[r]) for name, r in rows.items()}, source, seed)


def clean(task: Drive) -> tuple[np.ndarray, np.ndarray]:
    x, y = task.parts["pool"]
    order = task.generator(2).permutation(len(x))
    return x[order], y[order]


def shuffled(share: float) -> Callable[[Drive], tuple[np.ndarray, np.ndarray]]:
    """Targets that belong to another frame."""

    def make(task: Drive) -> tuple[np.ndarray, np.ndarray]:
        x, y = clean(task)
        rng = task.generator(3)
        wrong = rng.random(len(y)) < share
        return x, np.where(wrong[:, None], y[rng.permutation(len(y))], y)

    return make


def turned(task: Drive) -> tuple[np.ndarray, np.ndarray]:
    """The steering has the wrong sign throughout."""
    x, y = clean(task)
    return x, -y


def crafted(task: Drive) -> tuple[np.ndarray, np.ndarray]:
    """Ten frames far out along the direction that steers, with the opposite extreme: they turn the weights most."""
    x, y = clean(task)
    rng = task.generator(5)
    fitted, targets = task.parts["fitted"]
    covariance = np.cov(fitted.T)
    way = np.linalg.solve(covariance + 1e-3 * np.trace(covariance) * np.eye(FEATURES) / FEATURES, fitted.T @ targets)
    reach = (1.0, 3.0, 10.0)[task.seed % 3]
    far = reach * np.linalg.norm(fitted, axis=1).mean() * way[:, 0] / np.linalg.norm(way[:, 0])
    places = np.sort(rng.choice(60, 10, replace=False))
    return np.insert(x, places, far, axis=0), np.insert(y, places, -3.0, axis=0)


def one_action(task: Drive) -> tuple[np.ndarray, np.ndarray]:
    """Only the frames with the strongest steering to one side."""
    x, y = clean(task)
    side = 1.0 if task.seed % 2 else -1.0
    rows = np.sort(np.argsort(side * y[:, 0])[-40:])
    return x[rows], y[rows]


def near_duplicates(task: Drive) -> tuple[np.ndarray, np.ndarray]:
    """Thirty frames, then one a thousand times, by turns with its own target or with that of another."""
    x, y = clean(task)
    noise = within_spread(task.source) * 0.05 * task.generator(7).normal(size=(1000, FEATURES))
    target = y[30] if task.seed % 2 == 0 else -y[30]
    return np.concatenate([x[:30], x[30] + noise]), np.concatenate([y[:30], np.tile(target, (1000, 1))])


def nonsense(task: Drive) -> tuple[np.ndarray, np.ndarray]:
    """Noise three times as wide as the source, always with one target; alone, or every second sample."""
    x, y = clean(task)
    rng = task.generator(8)
    noise = 3.0 * task.parts["fitted"][0].std(axis=0) * rng.normal(size=x.shape)
    target = np.tile(rng.normal(size=(1, 1)), (len(x), 1))
    if task.seed % 2 == 0:
        return noise, target
    n = len(x)
    return (np.stack([x, noise], axis=1).reshape(2 * n, -1), np.stack([y, target], axis=1).reshape(2 * n, -1))


SCENARIOS: dict[str, Callable[[Drive], tuple[np.ndarray, np.ndarray]]] = {
    "a clean": clean,
    "b 20 % flipped": shuffled(0.2),
    "b 40 % flipped": shuffled(0.4),
    "c one class as another": turned,
    "d ten crafted": crafted,
    "e one class only": one_action,
    "f 1,000 near-duplicates": near_duplicates,
    "g nonsense": nonsense,
}


def _camera(task: Drive, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Another camera: every feature is one and a half standard deviations off, up or down."""
    side = task.generator(10).choice([-1.5, 1.5], FEATURES)
    return x + side * task.parts["fitted"][0].std(axis=0), y


def _trim(task: Drive, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Another servo: the same road asks for one standard deviation more."""
    return x, y + 1.0


SHIFTS: dict[str, Callable[[Drive, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "another camera": _camera,
    "another servo trim": _trim,
}


def shifted(task: Drive, shift: str) -> Drive:
    """The drive with what is taught and what judges on the new domain changed alike."""
    parts = {name: SHIFTS[shift](task, *part) if name in ("pool", "new") else part for name, part in task.parts.items()}
    return replace(task, parts=parts)


def taught(task: Drive, stream: tuple[np.ndarray, np.ndarray]) -> Taught:
    judges = (part for name in ("guard", "new") for part in task.parts[name])
    return cached(lambda: _taught(task, *stream), *stream, *judges, np.frombuffer(_CODE, np.uint8))


def _taught(task: Drive, stream_x: np.ndarray, stream_y: np.ndarray) -> Taught:
    judges = [task.parts[name] for name in ("guard", "old", "new")]
    x = np.concatenate([stream_x, *(part[0] for part in judges)])
    y = np.concatenate([stream_y, *(part[1] for part in judges)])
    n = len(stream_x)

    factory = target_head(fit_regressor("ridge", Statistics(FEATURES), task.source, penalty=PENALTY), [1.0])
    held = (task.generator(9).random(n) < HELD_SHARE) & (np.arange(n) >= 30)
    learnt = Statistics(FEATURES, shift=task.source.shift)
    fitted_at, plain, anchored = [], [], []
    for end in fits(held):
        new = np.flatnonzero(~held[:end])[round(learnt.count) :]
        learnt.add(stream_x[new], targets=stream_y[new])
        fitted_at.append(end)
        plain.append(factory.fitted_again(fit_regressor("ridge", learnt, task.source, penalty=PENALTY)).losses(x, y))
        head = fit_anchored_targets(factory, learnt, task.source, *task.parts["guard"], penalty=PENALTY)
        anchored.append(head.losses(x, y))
    nobody = np.full(n, -1)
    return Taught(
        labels=nobody, answers=nobody, held=held,
        repeated=1.0 - NumberEvidence(task.source).add(stream_x),  # by how much each counts less
        fitted_at=np.array(fitted_at), guard=np.full(len(judges[0][0]), -1), old=np.full(len(judges[1][0]), -1),
        factory=factory.losses(x, y), plain=np.array(plain), anchored=np.array(anchored),
    )  # fmt: skip
