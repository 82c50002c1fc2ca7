"""What the device's head is held against: heads of the same features fitted by other rules, and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from edgetl_runtime.heads import fit_head
from edgetl_runtime.statistics import Statistics
from numpy.typing import NDArray

from edgetl.demo.domains import CLASSES, SHOTS, Target

__all__ = ["Baselines", "baselines"]

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Baselines:
    """Accuracies in % on the target's test half, by labels a class where they use some.

    `target_only`: nearest mean of the target's labels, nothing of the source. `source_metric`: the same
    means in the source's covariance. `oracle`: the device's kind of head on every label of the pool.
    """

    target_only: dict[int, float]
    source_metric: dict[int, float]
    oracle: float


def baselines(
    source: Features, source_labels: NDArray[np.int64], pool: Features, test: Features, target: Target
) -> Baselines:
    """All of them from features (N, D) of the source's training part and of the target's halves."""

    def learnt(places: NDArray[np.int64]) -> Statistics:
        return _statistics(pool[places], target.pool_labels[places], prior.shift)

    truth = [CLASSES[label] for label in target.test_labels]

    def right(said: NDArray[Any]) -> float:
        return 100 * float(np.mean([a == b for a, b in zip(said, truth, strict=True)]))

    prior = _statistics(source, source_labels, source.mean(axis=0, dtype=np.float64))
    shots = {count: learnt(target.shots(count)) for count in SHOTS}
    everything = learnt(np.arange(len(pool)))
    return Baselines(
        target_only={n: right(fit_head("ncm", shots[n], n0=0.0).predict(test)) for n in SHOTS},
        source_metric={n: right(fit_head("slda", shots[n], prior=prior, n0=0.0).predict(test)) for n in SHOTS},
        oracle=right(fit_head("slda", everything).predict(test)),
    )


def _statistics(features: Features, labels: NDArray[np.int64], shift: NDArray[np.float64]) -> Statistics:
    statistics = Statistics(features.shape[1], shift=shift)
    statistics.add(features, [CLASSES[label] for label in labels])
    return statistics
