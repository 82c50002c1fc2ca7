"""The four simulated shifts of SKADA: published figures again, and what diagnosis and judged labels make of them.

Protocol (SKADA-Bench, outputs/shallow_results at 155bf31): `make_shifted_datasets`, 100 samples a blob (300 for
subspace), noise 0.6 / 0.8 / 0.8 / 0.4, binary labels, center_cov_shift (-0.4, 3), seeds 0 to 4, float32; outer
`StratifiedDomainShuffleSplit(5, test_size=0.2, random_state=0)`; scikit-learn's SVC as it comes; right on the
target's test part, in %, mean of 25 runs.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from edgetl_runtime.adapt import ADAPTERS, Situation, adapt, challengers
from edgetl_runtime.adapt.choosing import chosen
from edgetl_runtime.adapt.maps import coral_map
from edgetl_runtime.drift import Reference, diagnose
from edgetl_runtime.drift.priors import estimated_priors, reweighted
from edgetl_runtime.statistics import Statistics

__all__ = ["COLUMNS", "measure"]

COLUMNS = {"covariate_shift": 0.6, "target_shift": 0.8, "conditional_shift": 0.8, "subspace": 0.4}
# Published, or published and run again (reference/heads.md, 1.1 c), in the order of COLUMNS.
PRINTED = {
    "source": (88.08, 85.05, 66.17, 18.97),
    "oracle": (91.50, 93.15, 81.70, 98.47),
    "CORAL centred": (74.10, 61.70, 81.53, 10.90),
    "CORAL not centred": (66.47, 83.83, 66.35, 18.67),
    "label-shift EM": (87.92, 92.47, 50.70, 22.82),
}
LABELS, DRAWS = (50, 100), 10
MISSING = "the package skada is not installed: pip install skada (into another environment, with POT), or PYTHONPATH"


class SvcHead:
    """scikit-learn's SVC with its own Platt probabilities, as a head of K classes."""

    name, feature_space = "svc", None

    def __init__(self, rows: np.ndarray, labels: np.ndarray) -> None:
        from sklearn.svm import SVC

        self._model = SVC(probability=True, random_state=0).fit(rows, labels)
        self.classes = tuple(int(label) for label in self._model.classes_)

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return self._model.predict_proba(np.asarray(rows))

    def decision(self, rows: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(self.predict_proba(rows), 1e-12))

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._model.predict(np.asarray(rows))

    def metadata(self) -> dict[str, Any]:
        return {}


def runs() -> Iterator[tuple[str, int, list[np.ndarray]]]:
    """Column, number of the run, and source rows, labels, target rows, labels, test rows, labels."""
    from skada.datasets import make_shifted_datasets
    from skada.model_selection import StratifiedDomainShuffleSplit

    for column, noise in COLUMNS.items():
        count = 300 if column == "subspace" else 100
        for seed in range(5):
            x, y, domain = make_shifted_datasets(
                count, count, shift=column, noise=noise, label="binary", center_cov_shift=(-0.4, 3), random_state=seed
            )
            x, y = x.astype(np.float32), y.astype(np.int64)
            cut = StratifiedDomainShuffleSplit(5, test_size=0.2, random_state=0)
            for split, (train, test) in enumerate(cut.split(x, y, domain)):
                s, t, e = train[domain[train] > 0], train[domain[train] < 0], test[domain[test] < 0]
                yield column, 5 * seed + split, [x[s], y[s], x[t], y[t], x[e], y[e]]


def measure() -> dict[str, Any]:
    """Every method on every column; {"skipped": why} without skada."""
    try:
        import skada  # noqa: F401
        from sklearn.svm import SVC
    except ImportError:
        return {"skipped": MISSING}
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning)
    rights: dict[str, dict[str, list[float]]] = {column: {} for column in COLUMNS}
    kinds: dict[str, Counter[str]] = {column: Counter() for column in COLUMNS}
    for column, number, (x, y, target, target_labels, test, test_labels) in runs():
        row = rights[column]

        def add(method: str, predicted: np.ndarray, row: dict = row, truth: np.ndarray = test_labels) -> float:
            row.setdefault(method, []).append(100.0 * float(np.mean(predicted == truth)))
            return row[method][-1]

        add("source", SVC().fit(x, y).predict(test))
        add("oracle", SVC().fit(target, target_labels).predict(test))
        moments = [(part.mean(axis=0), np.cov(part.astype(np.float64).T, bias=True)) for part in (x, target)]
        for method, centred in (("CORAL centred", True), ("CORAL not centred", False)):
            # The source goes to the target, and the head is fitted there; the means are added to both or to none.
            there = coral_map(moments[0], moments[1], centred, reverse=True).apply(x)
            add(method, SVC().fit(there, y).predict(test.astype(np.float64)))
        head = SvcHead(x, y)
        priors = head.predict_proba(x).mean(axis=0)
        found = estimated_priors(priors, head.predict_proba(target))
        corrected = reweighted(head.predict_proba(test), found / priors)
        add("label-shift EM", np.array(head.classes)[corrected.argmax(axis=1)])
        kinds[column][_guarded(number, head, (x, y, target, target_labels, test), add)] += 1
    means = {column: {key: float(np.mean(values)) for key, values in row.items()} for column, row in rights.items()}
    return {"means": means, "kinds": {column: dict(found) for column, found in kinds.items()}, "printed": PRINTED}


def _guarded(number: int, head: SvcHead, arrays: tuple[np.ndarray, ...], add: Any) -> str:
    """Each adapter alone, and what diagnosis and labelled samples of the target let through; the diagnosis."""
    x, y, target, target_labels, test = arrays
    source = Statistics(2, shift=x.mean(axis=0))
    source.add(x, y)
    here = Situation(head, source, target.astype(np.float64), Reference.of(head, source, x, y))
    found = diagnose(here.reference, here.reference.see(target))
    offered = {one.adapter: one.head for one in challengers(found, here).adapted}
    tried = [name for name, row in ADAPTERS.items() if not (row.linear or row.batchwise or name == "self_taught")]
    for name in tried:
        add(name, (offered.get(name) or adapt(name, here).head).predict(test))
    # What is drawn for judging varies more than anything else here: every run counts the mean of several draws.
    judged = {name: one.predict(target) == target_labels for name, one in offered.items()}
    answers = {None: head.predict(test), **{name: one.predict(test) for name, one in offered.items()}}
    live, rng = head.predict(target) == target_labels, np.random.default_rng(number)
    for count in LABELS:
        for _ in range(DRAWS):
            rows = rng.choice(len(target), count, replace=False)
            winner = chosen(live[rows], {name: right[rows] for name, right in judged.items()})
            add(f"diagnosis + {count} labels", answers[winner])
    return found.kind
