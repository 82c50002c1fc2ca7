"""The real domains as the device meets them: a head, a reference, an unlabelled buffer, labels to judge with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from edgetl_runtime.adapt import ADAPTERS, Situation, adapt, challengers, recalibrated
from edgetl_runtime.adapt.choosing import chosen
from edgetl_runtime.drift import Reference, diagnose
from edgetl_runtime.guard import Guard, Trial
from edgetl_runtime.heads import fit_head, random_layer
from edgetl_runtime.observing.contenders import best_proven
from edgetl_runtime.statistics import Statistics

from benchmarks import fewshot_data
from benchmarks.fewshot_data import Shift

__all__ = ["BATCH", "MOST_ROWS", "Judged", "domains", "judged", "mixed", "random_situation", "situation"]

BATCH = 64  # what a batchwise adapter is given at once, in order of time
MOST_ROWS = 1000
LAYER_BYTES = 8 * 2**20
PENALTIES = (0.1, 1.0, 10.0, 100.0)


def domains() -> dict[str, list[Callable[[], Shift]]]:
    """Every domain of every set; the pool of one is other recordings, persons or shops than its test.

    As in `make fewshot`, but all eleven persons of myo, and pool and test in both roles where both are alike.
    """

    def turned(make: Callable[[], Shift]) -> Shift:
        s = make()
        return Shift(f"{s.name} turned", s.source, s.source_labels, s.test, s.test_labels, s.pool, s.pool_labels)

    def both(make: Callable[[], Shift]) -> list[Callable[[], Shift]]:
        return [make, lambda: turned(make)]

    speakers = ("jackson", "theo", "george")
    return {
        "grocery": both(fewshot_data.grocery),
        "spsw watch": both(lambda: fewshot_data.spsw("sw")),
        "fsdd": [lambda name=name: fewshot_data.fsdd(name) for name in speakers],
        "myo": [lambda person=person: fewshot_data.myo(person) for person in range(11)],
        "borealtc": both(fewshot_data.borealtc),
        "spsw control": both(lambda: fewshot_data.spsw("sp")),
    }


def mixed(shift: Shift, seed: int) -> Shift:
    """Pool and test drawn from the same recordings, class by class: labels judge where the head is used."""
    x = np.concatenate([shift.pool, shift.test])
    y = np.concatenate([shift.pool_labels, shift.test_labels])
    half = drawn_share(y, 0.5, np.random.default_rng(100 + seed))
    return replace(shift, pool=x[half], pool_labels=y[half], test=x[~half], test_labels=y[~half])


def drawn_share(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    chosen_rows = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen_rows[members[: max(1, round(share * len(members)))]] = True
    return chosen_rows


def situation(shift: Shift, seed: int) -> Situation:
    """The bundle's default head on four fifths of the source, calibrated on the last, which is the reference too."""
    rng = np.random.default_rng(seed)
    fitted = drawn_share(shift.source_labels, 0.8, rng)
    held, held_labels = shift.source[~fitted], shift.source_labels[~fitted]
    source = Statistics(shift.source.shape[1], shift=shift.source[fitted].mean(axis=0))
    source.add(shift.source[fitted], shift.source_labels[fitted])
    head = fit_head("slda", Statistics(source.dim, shift=source.shift), prior=source)
    head = recalibrated(head, held, held_labels, biases=False)
    # A uniform buffer of what came: in random order, as a reservoir leaves it.
    rows = shift.pool[rng.permutation(len(shift.pool))[:MOST_ROWS]].astype(np.float64)
    return Situation(head, source, rows, Reference.of(head, source, held, held_labels))


def random_situation(shift: Shift, plain: Situation, seed: int) -> Situation:
    """The same with ridge regression behind a random ReLU layer; maps act before the layer."""
    fitted = drawn_share(shift.source_labels, 0.8, np.random.default_rng(seed))
    layer = random_layer(plain.source, size_bytes=LAYER_BYTES)
    prior = Statistics(layer.width, shift=layer.apply(shift.source[fitted]).mean(axis=0))
    prior.add(layer.apply(shift.source[fitted]), shift.source_labels[fitted])

    def fitted_at(penalty: float, rows: np.ndarray, labels: Any) -> Any:
        learnt = Statistics(layer.width, shift=prior.shift)
        if len(rows):
            learnt.add(layer.apply(rows), labels)
        return fit_head("ridge_rp", learnt, prior=prior, layer=layer, penalty=penalty)

    # By the held-out samples: generalised cross-validation has failed where there are about as many samples as units.
    held, truth, none = shift.source[~fitted], shift.source_labels[~fitted], np.zeros((0, plain.source.dim))
    heads = {penalty: fitted_at(penalty, none, []) for penalty in PENALTIES}
    best = max(PENALTIES, key=lambda penalty: float((heads[penalty].predict(held) == truth).mean()))
    head = recalibrated(heads[best], held, truth, biases=False)
    return replace(plain, head=head, fit=lambda rows, labels: fitted_at(best, rows, labels))


@dataclass(frozen=True)
class Judged:
    """One run of one domain: where each method is right on the pool and on the test, what was diagnosed, and what the
    source head and the candidates say of the pool."""

    set: str
    domain: str
    seed: int
    kind: str
    candidates: tuple[str, ...]
    pool: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    pool_labels: np.ndarray
    said: dict[str, np.ndarray]

    def gain(self, method: str) -> float:
        return 100.0 * float(self.test[method].mean() - self.test["source"].mean())

    def drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(len(self.pool_labels), min(count, len(self.pool_labels)), replace=False)

    def asked(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """As `drawn`, of those on which a candidate disagrees with the source head: `Session.questions` asks these."""
        disputed = np.zeros(len(self.pool_labels), bool)
        for name in self.candidates:
            disputed |= self.said[name] != self.said["source"]
        return rng.permutation(np.flatnonzero(disputed))[:count]

    def on_trial(self, rows: np.ndarray, names: tuple[str, ...]) -> str:
        """What goes on trial by the labels of these pool samples."""
        winner = chosen(self.pool["source"][rows], {name: self.pool[name][rows] for name in names})
        return winner or "source"

    def guarded(self, rows: np.ndarray, names: tuple[str, ...]) -> str:
        """What is live after these pool samples, by the rule of the sessions, which look after each of them."""
        champion = "source"
        guards = {name: Guard() for name in names}
        for row in rows:
            label, answer = int(self.pool_labels[row]), int(self.said["source"][row])
            losses = {name: 1.0 - float(self.pool[name][row]) for name in ("source", *names)}
            for name, guard in guards.items():
                guard.add([Trial(label, losses[champion], losses[name], losses["source"], answer=answer)])
            winner = best_proven(guards)
            if winner is not None:
                champion = winner
                guards = {name: Guard() for name in ("source", *names) if name != champion}
        return champion


def judged(name: str, shift: Shift, seed: int, random: bool = True) -> Judged:
    """Every adapter alone, on one domain, and what the diagnosis lets through."""
    plain = situation(shift, seed)
    found = diagnose(plain.reference, plain.reference.see(plain.rows))
    offered = {one.adapter: one for one in challengers(found, plain, batches=True).adapted}
    oracle = Statistics(plain.source.dim, shift=plain.source.shift)
    oracle.add(shift.pool, shift.pool_labels)
    heads = {"source": plain.head}
    heads.update({key: (offered.get(key) or adapt(key, plain)).head for key in ADAPTERS})
    heads["oracle"] = fit_head("slda", oracle)
    if random:
        layered = random_situation(shift, plain, seed)
        heads["ridge_rp"] = layered.head
        for key in ("restandardise", "coral", "self_training"):
            heads[f"ridge_rp {key}"] = adapt(key, layered).head
    right = {}
    for part, x, y in (("pool", shift.pool, shift.pool_labels), ("test", shift.test, shift.test_labels)):
        right[part] = {key: _right(head, x, y, key) for key, head in heads.items()}
    said = {key: _said(heads[key], shift.pool, key) for key in ("source", *offered)}
    return Judged(
        name, shift.name, seed, found.kind, tuple(offered), right["pool"], right["test"], shift.pool_labels, said
    )


def _right(head: Any, x: np.ndarray, y: np.ndarray, key: str) -> np.ndarray:
    return _said(head, x, key) == y


def _said(head: Any, x: np.ndarray, key: str) -> np.ndarray:
    if key not in ADAPTERS or not ADAPTERS[key].batchwise:
        return np.asarray(head.predict(x))
    return np.concatenate([head.predict(x[start : start + BATCH]) for start in range(0, len(x), BATCH)])
