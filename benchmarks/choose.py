"""`make choose`: does the ranking of `edgetl choose` agree with what fine-tuning then gives?

Nine networks with real pretrained weights on three sets: weighted Kendall tau (Vigna 2015, as in the LogME paper)
between each score, computed before any training, and the accuracy of the recipe last-blocks on held-out samples, and
of a frozen linear head there. Beside the scores: parameter count, ImageNet accuracy by the authors (those trained on
something else stand below all others), random orders. Small inputs and few epochs by default; `--size`, `--images` and
`--epochs` ask for more.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np

from benchmarks.evidence import ROOT, write_evidence
from benchmarks.real_backbones import BACKBONES, IMAGENET_TOP1, real_backbone
from benchmarks.transfer_data import SETS, shots
from edgetl.choosing.scores import h_score, leave_one_out, log_evidence
from edgetl.progress import silent
from edgetl.tuning import tune
from edgetl.tuning.cache import FeatureCache
from edgetl.tuning.samples import read_samples
from edgetl.tuning.workers import open_workers

SCORES = ("leave-one-out", "LogME", "H-score", "parameters", "ImageNet top-1", "random")
MEASURED = ("last-blocks", "frozen")
_RANDOM = 200


def main() -> int:
    import torch
    from scipy.stats import weightedtau

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="side of the input of every network (default 64)")
    parser.add_argument("--images", type=int, default=300, help="samples to train on (default 300)")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    taus: dict[str, dict[str, dict[str, float]]] = {}
    for name in SETS:
        for backbone in BACKBONES:
            rows.append(_row(name, backbone, options))
            print(
                f"{name:8} {backbone:18} loo {100 * rows[-1]['leave-one-out']:5.1f}  LogME {rows[-1]['LogME']:6.3f}"
                f"  H {rows[-1]['H-score']:6.2f}  frozen {100 * rows[-1]['frozen']:5.1f}"
                f"  last-blocks {100 * rows[-1]['last-blocks']:5.1f}", flush=True,
            )  # fmt: skip
        own = [row for row in rows if row["set"] == name]
        taus[name] = {}
        for score in SCORES:
            taus[name][score] = {}
            for measured in MEASURED:
                truth = np.array([row[measured] for row in own])
                if score == "random":
                    draws = [np.random.default_rng(i).permutation(len(own)) for i in range(_RANDOM)]
                    found = float(np.mean([weightedtau(truth, draw).statistic for draw in draws]))
                else:
                    found = float(weightedtau(truth, np.array([row[score] for row in own])).statistic)
                taus[name][score][measured] = found
        settings = {"size": options.size, "images": options.images, "epochs": options.epochs}
        write_evidence("choose", {"rows": rows, "weighted_tau": taus, **settings})
    told = "weighted Kendall tau with the accuracy of last-blocks (in brackets: of the frozen slda)"
    print(f"\n{told}, {len(BACKBONES)} backbones")
    print(f"{'':16}" + "".join(f"{name:>16}" for name in SETS) + f"{'mean':>16}")
    for score in SCORES:
        pairs = [taus[name][score] for name in SETS]
        pairs.append({m: float(np.mean([pair[m] for pair in pairs])) for m in MEASURED})
        print(f"{score:16}" + "".join(f"{pair['last-blocks']:8.2f} ({pair['frozen']:5.2f})" for pair in pairs))
    return 0


def _row(name: str, backbone: str, options: argparse.Namespace) -> dict[str, Any]:
    whole = SETS[name]()
    data = shots(whole, -(-options.images // len(whole.classes)))
    source = real_backbone(backbone, options.size)
    store = FeatureCache(ROOT / "build" / "features" / "tuning")
    samples = read_samples(source.preprocess, data.training, data.classes, silent, "")
    features = store.features(source, samples, open_workers())
    cache = ROOT / "build" / "features" / "tuning"
    compared = tune(source, data, "last-blocks", epochs=options.epochs, validation=0.0, cache=cache).comparison
    assert compared is not None and source.module is not None and compared.own is not None
    top1 = IMAGENET_TOP1[backbone]
    return {
        "set": name, "backbone": backbone, "trained": len(samples), "held_out": compared.samples,
        "leave-one-out": leave_one_out(features, samples.truth), "LogME": log_evidence(features, samples.truth),
        "H-score": h_score(features, samples.truth),
        "parameters": sum(value.numel() for value in source.module.parameters()),
        "ImageNet top-1": -1.0 if top1 is None else top1,
        "frozen": compared.frozen["slda"], "own head": compared.own, "last-blocks": compared.tuned["slda"],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
