"""`edgetl demo`."""

from __future__ import annotations

import argparse
import os

from edgetl_runtime.arguments import whole
from edgetl_runtime.sinks.encoding import line_of

from edgetl.cli.progress import shown_progress
from edgetl.demo import DemoResult, run_demo

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "--seeds", type=whole(1, 100), default=5, metavar="N", help="how many networks and splits (default 5)"
    )
    parser.add_argument(
        "--out", default="build/demo", metavar="FOLDER", help="where everything is written (default build/demo)"
    )
    parser.add_argument(
        "--device-python",
        metavar="PYTHON",
        help="interpreter of an environment with edgetl-runtime[onnxruntime]; without it one is made",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo; print what came out."""
    # Before torch is loaded: threads that wait without spinning train as fast alone, and several times as
    # fast beside other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with shown_progress() as progress:
        result = run_demo(args.out, seeds=args.seeds, python=args.device_python, progress=progress)
    print(line_of(result.to_json()).strip() if args.json else _text(result, args.out))
    return 0


def _text(result: DemoResult, out: str) -> str:
    after, only, metric = (
        result.shots(lambda s: s.target_after),
        result.shots(lambda s: s.target_only),
        result.shots(lambda s: s.source_metric),
    )
    counts = list(after)
    ms = result.latency_ms
    kills = [seed.kill for seed in result.seeds]
    rows: list[tuple[str, list[str | float]]] = [
        ("% right on the new domain, labels a class:", ["0", *counts]),
        ("the device's head, learning label by label", [result.mean(lambda s: s.target_before), *after.values()]),
        ("target labels alone, nearest mean", ["", *only.values()]),
        ("target labels alone, in the source's covariance", ["", *metric.values()]),
        ("full fine-tune of the network (workstation)", ["", "", "", result.mean(lambda s: s.finetuned)]),
        ("oracle: every label of the pool", ["", "", "", result.mean(lambda s: s.oracle)]),
    ]
    lines = [
        name.ljust(50) + "".join(f"{cell:8.1f}" if isinstance(cell, float) else cell.rjust(8) for cell in cells)
        for name, cells in rows
    ]
    peak = max(seed.device_peak_rss_bytes for seed in result.seeds) / 2**20
    return "\n".join(
        [
            f"{len(result.seeds)} seed{'s' * (len(result.seeds) > 1)} in {result.seconds:.0f} s; on the source the"
            f" head is right in {result.mean(lambda s: s.source_accuracy):.1f} %",
            *lines,
            f"10 labels a class recover {100 * result.gap_recovered_at_10:.0f} % of the gap to the oracle",
            f"device: preprocess {ms['preprocess']:.2f}, extract {ms['extract']:.2f}, head {ms['head']:.2f},"
            f" learn {ms['learn']:.2f} ms; at most {peak:.0f} MiB; torch there:"
            f" {'YES' if any(seed.device_modules_torch for seed in result.seeds) else 'no'}",
            f"killed {len(kills)} times after {sum(k.acknowledged for k in kills)} acknowledged labels in all;"
            f" {sum(seed.acknowledged_lost for seed in result.seeds)} lost",
            f"the page: {out}/index.html",
        ]
    )
