"""`edgetl bench`."""

from __future__ import annotations

import argparse
import dataclasses

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.out_files import checked_out
from edgetl_runtime.sinks.encoding import line_of

from edgetl.bench import BenchResult, bench
from edgetl.cli.progress import shown_progress
from edgetl.html.page import write_page
from edgetl.reporting.bench_page import bench_page

__all__ = ["EXAMPLE", "add_arguments", "interrupted", "run"]

EXAMPLE = "edgetl bench birds.edgetl --data photos/ --out bench.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")
    parser.add_argument("--data", metavar="FOLDER", help="labelled samples: a folder a class, or a CSV; for accuracy")
    parser.add_argument("--out", metavar="FILE", help="write a page with the plot of accuracy against latency")
    parser.add_argument("--engine", metavar="NAME", help="this engine only (default: all that are installed)")
    parser.add_argument("--variant", metavar="NAME", help="this variant only (default: all of the bundle)")
    parser.add_argument("--threads", type=whole(1, 1024), metavar="N", help="of the engine (default: up to four)")
    parser.add_argument("--runs", type=whole(), default=200, metavar="N", help="frames a measurement (default 200)")
    parser.add_argument("--samples", type=whole(), default=500, metavar="N", help="at most so many (default 500)")
    parser.add_argument("--seed", type=whole(0, MOST_WHOLE), default=0, help="of the draw of samples (default 0)")


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table or JSON; 0 when every way that runs reproduces the golden samples."""
    out = None if args.out is None else checked_out(args.out)
    with shown_progress() as progress:
        result = bench(
            args.bundle, args.data, engine=args.engine, variant=args.variant, threads=args.threads, runs=args.runs,
            most=args.samples, seed=args.seed, progress=progress,
        )  # fmt: skip
    if out is not None:
        write_page(out, bench_page(result))
    if args.json:
        print(line_of(dataclasses.asdict(result)).strip())
    else:
        print(_table(result))
        if out is not None:
            print(f"the page is {out}")
    wrong = [way for way in result.ways if not way.row.error and not way.row.passed]
    return 1 if wrong or not any(way.row.passed for way in result.ways) else 0


def interrupted(args: argparse.Namespace) -> str:
    """What Ctrl-C left behind."""
    return "nothing was kept; the same command starts anew, and fewer --runs or one --engine take less time"


def _table(result: BenchResult) -> str:
    lines = [
        f"{'variant':<10} {'engine':<12} {'p50 ms':>8} {'p99 ms':>8} {'frames/s':>9} {'start s':>8} {'peak MB':>8}"
        f" {'golden':>8} {'right %':>8} {'same %':>7}"
    ]
    for way in result.ways:
        row = way.row
        if row.error:
            lines.append(f"{row.variant:<10} {row.engine:<12} {row.error}")
            continue
        golden = f"{row.golden['max_rel']:.0e}" if row.passed else "WRONG"
        peak = None if row.peak_rss_bytes is None else row.peak_rss_bytes / 1e6
        lines.append(
            f"{row.variant:<10} {row.engine:<12} {_number(row.p50_ms):>8} {_number(row.p99_ms):>8}"
            f" {_number(row.frames_per_s, 1):>9} {_number(row.cold_start_s):>8} {_number(peak, 0):>8} {golden:>8}"
            f" {_share(way.accuracy):>8} {_share(way.agreement):>7}"
        )
    if result.dataset is not None:
        lines.append(f"accuracy of each factory head on {result.samples} samples of {result.dataset}")
    return "\n".join(lines)


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
