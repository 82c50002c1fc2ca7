"""`make adapt-bench`: following the domain without labels, on simulated and real shifts, beside source and oracle.

    python -m benchmarks.adapt_bench --only skada domains       parts: skada domains detect skewed outliers few cost

The published figures of SKADA need the package `skada` (with POT), the comparison with river `river`: where they
are not installed these parts say so and how to get them. Accuracy is in %, a gain in points. "n labels" are n
samples of the target with labels, which choose between the head that answers and the challengers that the
diagnosis allows; nothing is trained on them. "n questions" are n of those samples on which a challenger disagrees
with the head that answers, as `Session.questions` chooses them: the others tell heads not apart.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from edgetl_runtime.adapt import ADAPTERS

from benchmarks.adapt_cost import cost
from benchmarks.adapt_detect import equal_to_references, false_alarms, named, power
from benchmarks.adapt_domains import Judged, domains, judged, mixed
from benchmarks.adapt_frequencies import dirichlet, self_taught_labels, skewed
from benchmarks.adapt_outliers import outliers
from benchmarks.adapt_skada import COLUMNS, measure
from benchmarks.evidence import write_evidence

SEEDS, DRAWS = 3, 40
LABELS = (50, 100)
Rows = list[dict[str, Any]]


def skada(rows: Rows) -> dict[str, Any]:
    found = measure()
    if "skipped" in found:
        print(f"skada: left out: {found['skipped']}")
        return found
    means, printed = found["means"], found["printed"]
    print(f"{'SKADA, right on the target in %':34s}" + "".join(f"{column:>19s}" for column in COLUMNS))
    for method in means["subspace"] | means["target_shift"]:
        cells = []
        for place, column in enumerate(COLUMNS):
            value = means[column].get(method)
            wanted = f" ({printed[method][place]:.1f})" if method in printed else ""
            cells.append("-" if value is None else f"{value:.2f}{wanted}")
            if value is not None:
                base, best = means[column]["source"], means[column]["oracle"]
                rows.append(row("skada", column, method, value, base, best))
        print(f"{method:34s}" + "".join(f"{cell:>19s}" for cell in cells))
    print("in brackets: published, or published and run again; diagnosed as " + str(found["kinds"]))
    return found


def row(name: str, domain: str, method: str, accuracy: float, source: float, oracle: float) -> dict[str, Any]:
    return {"set": name, "domain": domain, "method": method, "accuracy": accuracy, "source": source, "oracle": oracle}


# ---------------------------------------------------------------- real domains


def real(rows: Rows) -> dict[str, Any]:
    """Both protocols: the labels and the buffer from the recordings that are judged, or from others."""
    result: dict[str, Any] = {}
    for protocol, cut in (("same recordings", mixed), ("other recordings", lambda shift, seed: shift)):
        runs = {
            name: [
                judged(name, cut(make(), seed), seed)
                for make in makers
                for seed in range(1 if name == "grocery" else SEEDS)
            ]
            for name, makers in domains().items()
        }
        result[protocol] = summary(protocol, runs, rows)
    return result


def summary(protocol: str, runs: dict[str, list[Judged]], rows: Rows) -> dict[str, Any]:
    alone = [method for method in next(iter(runs.values()))[0].test if method not in ("source", "oracle")]
    chain = [key for kind in ("labels", "questions") for key in (
        *(f"diagnosis + {count} {kind}" for count in LABELS), f"diagnosis + guard, {LABELS[-1]} {kind}",
    )]  # fmt: skip
    result: dict[str, Any] = {}
    for name, found in runs.items():
        source = 100.0 * float(np.mean([one.test["source"].mean() for one in found]))
        oracle = 100.0 * float(np.mean([one.test["oracle"].mean() for one in found]))
        gains = {method: [[one.gain(method)] for one in found] for method in alone}
        gains.update({method: [] for method in chain})
        for one in found:
            for method, drawn in chosen_gains(one).items():
                gains[method].append(drawn)
        best = max(float(np.mean(gains[method])) for method in ADAPTERS)
        methods = {}
        for method, values in gains.items():
            flat = np.concatenate([np.asarray(part) for part in values])
            worst = min(float(np.mean(part)) for part in values)
            worse = 100.0 * float((flat < -1.0).mean())
            methods[method] = {"gain": float(flat.mean()), "worst domain": worst, "worse by more than a point %": worse}
            for one, part in zip(found, values, strict=True):
                base = 100.0 * float(one.test["source"].mean())
                top = 100.0 * float(one.test["oracle"].mean())
                rows.append(row(f"{name}, {protocol}", one.domain, method, base + float(np.mean(part)), base, top))
        kinds = dict(Counter(one.kind for one in found))
        result[name] = {"source": source, "oracle": oracle, "kinds": kinds, "best": best, "methods": methods}
    print_domains(protocol, result, [*alone, *chain])
    return result


def chosen_gains(one: Judged) -> dict[str, list[float]]:
    """Gains on the test of what goes live, by the labels of DRAWS draws from the pool: any, or those worth asking."""
    rng = np.random.default_rng(one.seed)
    found: dict[str, list[float]] = {}
    for turn in range(DRAWS):
        for count in LABELS:
            for kind, drawn in (("labels", one.drawn(count, rng)), ("questions", one.asked(count, rng))):
                key = f"diagnosis + {count} {kind}"
                found.setdefault(key, []).append(one.gain(one.on_trial(drawn, one.candidates)))
                if count == LABELS[-1] and turn < DRAWS // 4:
                    key = f"diagnosis + guard, {count} {kind}"
                    found.setdefault(key, []).append(one.gain(one.guarded(drawn, one.candidates)))
    return found


def print_domains(protocol: str, result: dict[str, Any], methods: list[str]) -> None:
    print(f"\nreal domains, labels and buffer from {protocol} as judged: points gained, worst domain, % of runs")
    print("more than a point worse")
    print(f"{'':34s}" + "".join(f"{name:>20s}" for name in result))
    for what in ("source", "oracle"):
        print(f"{what + ', %':34s}" + "".join(f"{entry[what]:20.1f}" for entry in result.values()))
    for method in methods:
        cells = []
        for entry in result.values():
            value = entry["methods"][method]
            shown = f"{value['gain']:+.1f} {value['worst domain']:+.1f} {value['worse by more than a point %']:.0f}%"
            cells.append(f"{shown:>20s}")
        print(f"{method:34s}" + "".join(cells))
    for method in methods[-6:]:
        share = {
            name: round(100 * entry["methods"][method]["gain"] / entry["best"]) if entry["best"] > 0.5 else None
            for name, entry in result.items()
        }
        every = [entry["methods"][method]["worse by more than a point %"] for entry in result.values()]
        print(f"{method}: % of the best single adapter's gain {share}; worse, mean of the sets {np.mean(every):.1f} %")
    print("diagnosed as " + str({name: entry["kinds"] for name, entry in result.items()}))


# ---------------------------------------------------------------- the other parts


def detect(rows: Rows) -> dict[str, Any]:
    found = {"equal": equal_to_references(), "false_alarms": false_alarms(), "power": power(), "named": named()}
    alarms = found["false_alarms"]
    print(f"\nbeside river and SciPy: {found['equal']}")
    print(
        f"false alarms: {alarms['alarms']} of {alarms['streams']} streams, {100 * alarms['share']:.1f} % (promised"
        f" {100 * alarms['promised']:.0f}); without thinning {100 * alarms['share_without_thinning']:.1f} %"
    )
    print("share of windows in which each test alone fires at 5 % (gestures, myo):")
    for change, by_count in found["power"].items():
        for count, fired in by_count.items():
            print(f"  {change:34s}{count:>5s} " + " ".join(f"{name} {share:.2f}" for name, share in fired.items()))
    print("what changes of held-out samples are called, of 200 samples:")
    for name, changes in found["named"].items():
        for change, kinds in changes.items():
            print(f"  {name:10s}{change:34s}{kinds}")
    return found


def spoilt(rows: Rows) -> dict[str, Any]:
    found = skewed()
    print("\nbuffers that show a part of the world, all domains: mean change in points, % of runs a point worse")
    for one in found:
        cells = [
            f"{method} {one[method + ' mean change']:+.1f} {one[method + ' worse by more than a point %']:.0f}%"
            for method in ("restandardise", "prototypes", "chain")
        ]
        offered = f"{one['buffer']:26s} offered in {one['offered %']:3.0f} % of {one['runs']} runs"
        print(f"  {offered}   " + "   ".join(cells))
    return {"buffers": found}


def unlike(rows: Rows) -> dict[str, Any]:
    found = outliers()
    print("\nAUROC of outlier scores, a fifth of the classes held out (near) and another data set (far), in %")
    for name, figures in found.items():
        print(f"  {name}")
        for key, value in figures.items():
            print(f"    {key:60s}{value:8.1f}")
    return found


def few(rows: Rows) -> dict[str, Any]:
    found = {"label shift": dirichlet(), "self-taught": self_taught_labels()}
    print("\nlabel shift on real features, Dirichlet frequencies: median points gained")
    for name, by_alpha in found["label shift"].items():
        for alpha, gains in by_alpha.items():
            print(f"  {name:10s} alpha {alpha:5s}" + "  ".join(f"{key} {value:+.1f}" for key, value in gains.items()))
    print("few labels without a source, in the device's own components: % right")
    for name, by_count in found["self-taught"].items():
        for count, right in by_count.items():
            print(f"  {name:14s}{count:>3s} " + "  ".join(f"{key} {value:.1f}" for key, value in right.items()))
    return found


def costs(rows: Rows) -> dict[str, Any]:
    found = cost()
    print("\ncost at D = 1280, K = 10, a buffer of 300: median ms, products of two (D, D) matrices, peak MiB")
    for name, figures in found.items():
        if "ms" in figures:
            print(f"  {name:66s}{figures['ms']:10.2f}{figures['products']:9.2f}{figures['peak_mib']:8.1f}")
    print(f"  kept: {found['kept']}")
    return found


PARTS: dict[str, Callable[[Rows], dict[str, Any]]] = {
    "skada": skada,
    "domains": real,
    "detect": detect,
    "skewed": spoilt,
    "outliers": unlike,
    "few": few,
    "cost": costs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    options = parser.parse_args()
    rows: Rows = []
    found: dict[str, Any] = {}
    for part in options.only:
        began = time.perf_counter()
        found[part] = PARTS[part](rows)
        found[part]["seconds"] = time.perf_counter() - began
    path = write_evidence("adapt-bench", {"rows": rows, **found})
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
