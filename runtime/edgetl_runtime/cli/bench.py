"""`edgetl-runtime bench`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

from edgetl_runtime.arguments import whole
from edgetl_runtime.bench import BenchRow, bench_bundle, bench_ways, device_report
from edgetl_runtime.bench.rows import check_contract
from edgetl_runtime.board import read_board
from edgetl_runtime.bundle.container import read_bundle, replace_file
from edgetl_runtime.cli.progress import print_build_progress
from edgetl_runtime.doctor import diagnose
from edgetl_runtime.errors import EngineUnavailableError
from edgetl_runtime.out_files import checked_out
from edgetl_runtime.trust import trusted_keys

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime bench birds.edgetl --state state/\n"
    "  edgetl-runtime bench birds.edgetl --report results.json     (what this board proves, to be sent back)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("bundle", help="the .edgetl file")
    parser.add_argument("--runs", type=whole(), default=200, metavar="N", help="frames a measurement (default 200)")
    threads = "of the engine (default: the board's profile)"
    parser.add_argument("--threads", type=whole(1, 1024), metavar="N", help=threads)
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="also hold every engine to its contract, and write board, versions, golden parity, latency and heat"
        " as one JSON file without host name, user or paths",
    )
    parser.add_argument("--root", metavar="DIR", default="/", help="where the files of the board lie (default: /)")


def run(args: argparse.Namespace) -> int:
    """Measure every variant in every engine that is here; 0 when those that run reproduce the golden samples."""
    folder = Path(args.state)
    report_file = None if args.report is None else checked_out(args.report)
    bundle = read_bundle(args.bundle, trusted=trusted_keys(folder), allow_unsigned=args.allow_unsigned)
    before = read_board(args.root)
    row = before.identity.row
    threads = args.threads if args.threads is not None else (row.threads if row is not None else None)
    ways = bench_ways(bundle.manifest, row, args.engine, args.variant)
    if not ways:
        raise EngineUnavailableError("no engine is installed here: pip install 'edgetl-runtime[onnxruntime]'")
    cache_dir = folder / "engines" if folder.is_dir() else None
    rows: List[BenchRow] = []
    measured = bench_bundle(
        bundle, args.bundle, ways, threads=threads, runs=args.runs, cache_dir=cache_dir,
        progress=print_build_progress(),
    )  # fmt: skip
    if not args.json:
        print(_HEAD)
    for result in measured:
        rows.append(result)
        if not args.json:
            print(_line(result), flush=True)
    document: Dict[str, Any] = {
        "bundle": {"name": bundle.manifest.name, "id": bundle.id},
        "board": before.identity.board,
        "rows": [{**dataclasses.asdict(result), "passed": result.passed} for result in rows],
    }
    if report_file is not None:
        contract = {}
        for name in dict.fromkeys(way.engine for way in ways):
            print(f"the contract of {name} ...", file=sys.stderr, flush=True)
            contract[name] = check_contract(name, {}, threads, cache_dir)
        diagnosis = diagnose(args.state, args.root)
        report = device_report(diagnosis, bundle, rows, contract, before, read_board(args.root))
        replace_file(report_file, json.dumps(report, indent=1).encode())
        if not args.json:
            print(f"{report_file}: what this board proves; it holds no host name, user or path")
    if args.json:
        print(json.dumps(document))
    wrong = [result for result in rows if not result.error and not result.passed]
    return 1 if wrong or not any(result.passed for result in rows) else 0


_HEAD = (
    f"{'variant':<10} {'engine':<12} {'p50 ms':>8} {'p99 ms':>8} {'frames/s':>9} {'overhead':>9} {'start s':>8}"
    f" {'peak MB':>8} {'golden':>8}  in use"
)


def _line(row: BenchRow) -> str:
    if row.error:
        return f"{row.variant:<10} {row.engine:<12} {row.error}"
    golden = f"{row.golden['max_rel']:.0e}" if row.passed else "WRONG"
    overhead = "-" if row.overhead_pct is None else f"{row.overhead_pct:+.1f} %"
    return (
        f"{row.variant:<10} {row.engine:<12} {_number(row.p50_ms):>8} {_number(row.p99_ms):>8}"
        f" {_number(row.frames_per_s, 1):>9} {overhead:>9} {_number(row.cold_start_s):>8}"
        f" {_number(None if row.peak_rss_bytes is None else row.peak_rss_bytes / 1e6, 0):>8} {golden:>8}"
        f"  {row.description}"
    )


def _number(value: Optional[float], digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
