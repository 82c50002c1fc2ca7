"""`make exactness`: heads and statistics beside independent references, in every order, and in hard precision.

Largest differences from scikit-learn's estimators; its digits (first 1,200 to learn, last 597 to judge) learnt in
every order and partition; sums of ill-conditioned features beside a two-pass batch. Exits 1 when a figure misses.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import numpy as np
from edgetl_runtime.heads import StreamingSoftmax, fit_head, fit_regressor, random_layer
from edgetl_runtime.heads.leave_one_out import loo_ridge_targets
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics
from sklearn.covariance import OAS, LedoitWolf
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from threadpoolctl import threadpool_limits

from benchmarks.evidence import ROOT, write_evidence

Row = dict[str, Any]
LEARNT, FORGOTTEN, WIDTH = 1200, 300, 2000
PROMISED = {"slda": 91.0, "ridge": 87.8, "ridge_rp": 96.9, "ncm": None}  # % right, within 0.5
SAMPLES, DIM, CUTS = 20_000, 256, 1000


def statistics(x: np.ndarray, y: Any = None, targets: Any = None, shift: np.ndarray | None = None) -> Statistics:
    result = Statistics(x.shape[1], shift=shift)
    result.add(x, y, targets=targets)
    return result


def relative(*pairs: tuple[Any, Any]) -> float:
    """Largest difference of any pair (ours, theirs), relative to the largest value of theirs."""
    return float(np.max([np.abs(np.subtract(*pair)).max() / np.abs(pair[1]).max() for pair in pairs]))


def row(name: str, difference: float, tolerance: float, **more: Any) -> Row:
    kept = bool(difference <= tolerance)  # NaN is not
    return {"name": name, "difference": float(difference), "tolerance": tolerance, "kept": kept, **more}


def correlated(count: int = 240, dim: int = 8, k: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, k, count)
    x = rng.normal(size=(count, dim)) @ rng.normal(size=(dim, dim)) + 2.0 * rng.normal(size=(k, dim))[y] + 5.0
    return x.astype(np.float16).astype(np.float64), y  # what a reservoir stores exactly


def logits(decision: np.ndarray) -> np.ndarray:
    return decision - np.logaddexp.reduce(decision, axis=1)[:, None]


def classifiers(x: np.ndarray, y: np.ndarray) -> list[Row]:
    learnt, rows, each = statistics(x, y), [], np.arange(len(y))
    within = x - np.stack([x[y == k].mean(axis=0) for k in np.unique(y)])[y]
    oas, ledoit_wolf = OAS(assume_centered=True).fit(within).shrinkage_, LedoitWolf().fit(x).shrinkage_
    for name, amount in ((0.1, 0.1), ("oas", oas), ("ledoit_wolf", ledoit_wolf)):
        ours = fit_head("slda", learnt, shrinkage=name, priors="counts")
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=amount).fit(x, y)
        # Decision values may differ by what all classes share.
        values = tuple(d - d.mean(axis=1, keepdims=True) for d in (ours.decision(x), theirs.decision_function(x)))
        worst = relative(values, (ours.predict_proba(x), theirs.predict_proba(x)))
        title = {"oas": "OAS", "ledoit_wolf": "LedoitWolf"}.get(name, name)
        rows.append(row(f"LinearDiscriminantAnalysis(lsqr, {title})", worst, 1e-8))
    ours, theirs = fit_head("ncm", learnt), NearestCentroid().fit(x, y)
    rows.append(row("NearestCentroid", relative((ours.weights + ours.shift, theirs.centroids_)), 1e-8))
    bayes, theirs = fit_head("gaussian_nb", learnt, priors="counts"), GaussianNB().fit(x, y)
    pairs = [(bayes.means + bayes.shift, theirs.theta_), (bayes.variances, theirs.var_)]
    pairs.append((logits(bayes.decision(x)), theirs.predict_log_proba(x)))
    rows.append(row("GaussianNB", relative(*pairs), 1e-8))
    # Both minimise one convex objective: ours may be lower, not higher.
    store, options = Reservoir(x.shape[1], 10**7, same=1.1), {"standardise": False, "balanced": False}
    store.add(x, y, np.random.default_rng(0))
    ours = fit_head("softmax", Statistics(x.shape[1]), reservoir=store, strength=0.5, **options)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=20_000).fit(x, y)
    fits = ((ours.decision(x), ours.weights), (theirs.decision_function(x), theirs.coef_))
    reached, wanted = ((w**2).sum() - logits(decision)[each, y].sum() for decision, w in fits)
    return [*rows, row("LogisticRegression, its objective", reached / wanted - 1.0, 1e-6)]


def regressors(x: np.ndarray, y: np.ndarray) -> list[Row]:
    noise, grid = np.random.default_rng(0).normal(size=(len(x), 3)), np.logspace(-2, 4, 13)
    targets = np.stack([x[:, 2] * x[:, 3], np.sin(x[:, 4]), y], axis=1) + noise
    learnt, cross = statistics(x, targets=targets), RidgeCV(grid, store_cv_results=True).fit(x, targets)
    scaled = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    fits, left_out, scores = [], [], []
    for column, penalty in enumerate(grid.tolist()):
        ours, theirs = fit_regressor("ridge", learnt, penalty=penalty), Ridge(penalty).fit(x, targets)
        fits += [(ours.weights, theirs.coef_), (ours.predict(x), theirs.predict(x))]
        errors = (loo_ridge_targets(learnt, x, targets, penalty=penalty) - targets) ** 2
        left_out.append((errors, cross.cv_results_[:, :, column]))
        # What Ridge makes of the unit vectors is its hat matrix.
        hat = Ridge(penalty).fit(x, np.eye(len(x))).predict(x)
        scores.append(((scaled - hat @ scaled) ** 2).sum() / (1.0 - np.trace(hat) / len(x)) ** 2)
    best = Ridge(grid[np.argmin(scores)]).fit(x, targets)
    least = float(grid[np.argmin([errors.mean() for errors, _ in left_out])])
    chosen = (fit_regressor("ridge", learnt, penalties=grid), fit_regressor("ridge", learnt, penalty=least))
    return [
        row("Ridge, 13 penalties", relative(*fits), 1e-8),
        row("Ridge at the GCV of its hat matrix", relative((chosen[0].weights, best.coef_)), 1e-8),
        row("RidgeCV, leave-one-out errors", relative(*left_out), 1e-8),
        row("RidgeCV, as it chose", relative((chosen[1].weights, cross.coef_)), 1e-8),
    ]


def learnt_in_all_ways(x: np.ndarray, y: np.ndarray) -> dict[str, Statistics]:
    shift, rng = x[:LEARNT].mean(axis=0), np.random.default_rng(0)
    by_class, shuffled = np.argsort(y[:LEARNT], kind="stable"), rng.permutation(LEARNT)
    single, merged = Statistics(x.shape[1], shift=shift), Statistics(x.shape[1], shift=shift)
    for i in range(LEARNT):
        single.add(x[i : i + 1], y[i : i + 1])
    for part in np.array_split(rng.permutation(LEARNT), 7):
        merged = merged + statistics(x[part], y[part], shift=x[part[0]])  # each about a shift of its own
    whole, others = (statistics(x[a:b], y[a:b], shift=shift) for a, b in ((0, LEARNT), (LEARNT, LEARNT + FORGOTTEN)))
    return {
        "at once": whole, "class-sorted": statistics(x[by_class], y[by_class], shift=shift),
        "shuffled": statistics(x[shuffled], y[shuffled], shift=shift), "one at a time": single,
        "7 merged shards": merged, "300 forgotten": (whole + others) - others,
    }  # fmt: skip


def right(head: Any, x: np.ndarray, y: np.ndarray) -> float:
    """% right of the samples to judge."""
    return 100 * float(np.mean(head.predict(x[LEARNT:]) == y[LEARNT:]))


def orders(x: np.ndarray, y: np.ndarray) -> list[Row]:
    layer, rows = random_layer(statistics(x[:LEARNT], y[:LEARNT]), WIDTH), []
    plain, behind = learnt_in_all_ways(x, y), learnt_in_all_ways(layer.apply(x), y)
    for name, promised in PROMISED.items():
        ways, options = (behind, {"layer": layer}) if name == "ridge_rp" else (plain, {})
        heads = {way: fit_head(name, learnt, **options) for way, learnt in ways.items()}
        accuracy, wanted = {way: right(head, x, y) for way, head in heads.items()}, heads.pop("at once").state()
        far = {w: relative(*((h.state()[k], wanted[k]) for k in ("weights", "bias"))) for w, h in heads.items()}
        rows.append(row(name, max(far.values()), 1e-9, ways=far, accuracy=accuracy, promised=promised))
        rows[-1]["kept"] &= promised is None or all(abs(a - promised) <= 0.5 for a in accuracy.values())
    return rows


def streams(x: np.ndarray, y: np.ndarray) -> list[float]:
    """% right after gradient steps on the class-sorted stream: plain, and with 20 stored samples a class."""
    order, reached = np.argsort(y[:LEARNT], kind="stable"), []
    for store in (None, Reservoir(64, 20 * 10 * 128, same=1.1)):  # 128 bytes each
        stream = StreamingSoftmax(np.zeros(64), np.ones(64), store)
        stream.learn(x[order], y[order], np.random.default_rng(0))
        reached.append(right(stream.head(), x, y))
    return reached


def precision() -> list[Row]:
    rng, rows = np.random.default_rng(1), []
    relu = np.maximum(rng.normal(size=(SAMPLES, DIM)) @ (rng.normal(size=(DIM, DIM)) * np.logspace(0, -4, DIM)), 0.0)
    y, cuts = rng.integers(0, 10, SAMPLES), np.sort(rng.choice(np.arange(1, SAMPLES), CUTS - 1, replace=False))
    for kind, more in (("ReLU", 0.0), ("means 5x spread", 5.0 * relu.std(axis=0) - relu.mean(axis=0))):
        x = (relu + more).astype(np.float32)
        exact, naive = x.astype(np.float64), x.T @ x / SAMPLES - np.outer(x.mean(axis=0), x.mean(axis=0))
        centred = exact - exact.mean(axis=0)
        batch, means = centred.T @ centred / SAMPLES, np.stack([exact[y == k].mean(axis=0) for k in range(10)])
        # On the scale of each pair of features, so that the smallest count as much as the largest.
        scale, condition = np.sqrt(np.outer(np.diagonal(batch), np.diagonal(batch))), float(np.linalg.cond(batch))
        for cut, edges in (("at once", []), (f"{CUTS} cuts", cuts.tolist())):
            learnt = Statistics(DIM, shift=x[:1000].mean(axis=0))
            for start, stop in zip([0, *edges], [*edges, SAMPLES], strict=True):
                learnt.add(x[start:stop], y[start:stop])
            covariance = learnt.moments.moved(-learnt.moments.sum / SAMPLES).covariance()
            worst = relative((covariance / scale, batch / scale), (learnt.means() + learnt.shift, means))
            rows.append(row(f"{kind}, {cut}", worst, 1e-10, condition=condition))
            rows[-1]["float32 sums, no shift"] = relative((naive / scale, batch / scale))
    return rows


def table(header: list[str], rows: list[list[Any]]) -> None:
    print(f"\n| {' | '.join(header)} |\n|---|" + "---:|" * (len(header) - 1))
    for first, *rest in rows:
        print(f"| {first:<40} | " + " | ".join(f"{c:.1e}" if isinstance(c, float) else str(c) for c in rest) + " |")


def main() -> int:
    threadpool_limits(1)  # on a busy machine BLAS threads wait for one another: four times slower
    began, (x, y) = time.perf_counter(), load_digits(return_X_y=True)
    warnings.filterwarnings("ignore", "self.within_class_std_dev_")  # pixels at the rim of a digit never change
    sets = {"digits": (x[:LEARNT], y[:LEARNT]), "correlated, D = 8": correlated()}
    first = {name: classifiers(*both) + regressors(*both) for name, both in sets.items()}
    pairs = zip(*first.values(), strict=True)
    cells = [[a["name"], a["difference"], b["difference"], a["tolerance"]] for a, b in pairs]
    table(["reference", *sets, "tolerance"], cells)
    second, (plain, replay), third = orders(x.astype(np.float32), y), streams(x, y), precision()
    cells = [[r["name"], *r["ways"].values(), r["tolerance"]] for r in second]
    for line, r in zip(cells, second, strict=True):
        line += [" ".join(sorted({f"{a:.2f}" for a in r["accuracy"].values()})), str(r["promised"] or "-")]
    table(["head", *second[0]["ways"], "tolerance", "% right, every way", "promised"], cells)
    print(f"class-sorted, plain SGD: {plain:.1f} % (below 15); 20 a class replayed: {replay:.1f} % (at least 86)")
    columns = ["name", "condition", "difference", "tolerance", "float32 sums, no shift"]
    table([f"{SAMPLES} samples, D = {DIM}", *columns[1:]], [[r[c] for c in columns] for r in third])
    missed = [r["name"] for rows in (*first.values(), second, third) for r in rows if not r["kept"]]
    missed += [] if plain < 15 and replay >= 86 else ["the class-sorted stream"]
    figures = {"references": first, "orders": second, "precision": third, "missed": missed}
    figures["class_sorted"], seconds = {"plain_sgd": plain, "replay_20": replay}, time.perf_counter() - began
    path = write_evidence("exactness", {**figures, "seconds": seconds})
    print(f"\nMISSED: {'; '.join(missed)}" if missed else "\nevery figure is within its tolerance")
    print(f"{seconds:.0f} s; written to {path.relative_to(ROOT)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
