"""The figures of a demo: one record a seed, and what they come to together. Accuracies are in %."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

from edgetl.demo.domains import SHOTS
from edgetl.demo.drive import Kill

__all__ = ["STEPS", "DemoResult", "SeedResult"]

STEPS = ("preprocess", "extract", "head", "learn")


@dataclass(frozen=True)
class SeedResult:
    """One seed: its own split, its own network, its own device. Confusion (K, K): rows the truth.

    `first_ms` is the first answer after the last label: it fits the head anew.
    """

    seed: int
    source_accuracy: float
    target_before: float
    target_after: dict[int, float]
    target_only: dict[int, float]
    source_metric: dict[int, float]
    oracle: float
    finetuned: float
    parity_max_abs: float
    latency_ms: dict[str, float]
    first_ms: float
    bundle_bytes: int
    state_bytes: int
    device_python: str
    device_engine: str
    device_packages: tuple[str, ...]
    device_modules_torch: bool
    device_peak_rss_bytes: int
    kill: Kill
    acknowledged_lost: int
    confusion_before: list[list[int]]
    confusion_after: list[list[int]]
    seconds: dict[str, float]


@dataclass(frozen=True)
class DemoResult:
    """All seeds, and their means: the figures that the README and the acceptance speak of."""

    seeds: tuple[SeedResult, ...]
    finetune_recipe: str
    seconds: float

    def mean(self, figure: Callable[[SeedResult], float]) -> float:
        """Mean of a figure over the seeds."""
        return mean(figure(seed) for seed in self.seeds)

    def shots(self, figure: Callable[[SeedResult], dict[int, float]]) -> dict[str, float]:
        """Means over the seeds by labels a class, "1", "5", "10"."""
        return {str(count): mean(figure(seed)[count] for seed in self.seeds) for count in SHOTS}

    @property
    def gap_recovered_at_10(self) -> float:
        """Share of the way from the untouched head to the oracle that 10 labels a class went; of the means."""
        before, oracle = self.mean(lambda s: s.target_before), self.mean(lambda s: s.oracle)
        return (self.mean(lambda s: s.target_after[10]) - before) / (oracle - before)

    @property
    def latency_ms(self) -> dict[str, float]:
        """Median over the seeds of each seed's medians."""
        return {step: median(seed.latency_ms[step] for seed in self.seeds) for step in STEPS}

    def confusion(self, figure: Callable[[SeedResult], Sequence[Sequence[int]]]) -> list[list[int]]:
        """Sum over the seeds."""
        matrices = [figure(seed) for seed in self.seeds]
        return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Plain data: what `edgetl demo --json` prints."""
        return {
            "source_accuracy": self.mean(lambda s: s.source_accuracy),
            "target_before": self.mean(lambda s: s.target_before),
            "target_after": self.shots(lambda s: s.target_after),
            "target_only": self.shots(lambda s: s.target_only),
            "source_metric": self.shots(lambda s: s.source_metric),
            "oracle": self.mean(lambda s: s.oracle),
            "finetuned": self.mean(lambda s: s.finetuned),
            "gap_recovered_at_10": self.gap_recovered_at_10,
            "parity_max_abs": max(seed.parity_max_abs for seed in self.seeds),
            "latency_ms": {**self.latency_ms, "refit": median(seed.first_ms for seed in self.seeds)},
            "bundle_bytes": max(seed.bundle_bytes for seed in self.seeds),
            "state_bytes": max(seed.state_bytes for seed in self.seeds),
            "device_modules_torch": any(seed.device_modules_torch for seed in self.seeds),
            "device_peak_rss_bytes": max(seed.device_peak_rss_bytes for seed in self.seeds),
            "acknowledged": sum(seed.kill.acknowledged for seed in self.seeds),
            "acknowledged_lost": sum(seed.acknowledged_lost for seed in self.seeds),
            "finetune_recipe": self.finetune_recipe,
            "accuracy_unit": "percent",
            "seconds": self.seconds,
            "seeds": [asdict(seed) for seed in self.seeds],
        }
