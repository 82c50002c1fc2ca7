"""`make fuzz HOURS=0.05`: atheris on every parser of foreign bytes, so long for each; only EdgetlError may come out.

A finding stays in build/fuzz/TARGET/; mend it, and put it into tests/fuzz/found/TARGET/, which every commit reads.
Every run is a line of build/fuzz/hours.jsonl, so that several add up: `cpu_hours` over all code,
`cpu_hours_this_code` over the runs in which the target's own parser was what it is now, `cpu_hours_by_form` over those
that also made changes which keep lengths, checksums and quotes right (tests/fuzz/mutators.py). HOURS=0 only tells.
atheris is x86 and CPython 3.11 to 3.13 only: `pip install atheris`, or PYTHONPATH with a folder that has it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.evidence import ROOT, write_evidence
from tests.fuzz.targets import TARGETS

__all__ = ["main"]

FOLDER = ROOT / "build" / "fuzz"
HOURS = FOLDER / "hours.jsonl"
TIMEOUT_S = 10  # of CPU; libFuzzer itself looks at the clock, and this machine may be busy
CLOCK_S = 60
MEMORY_MIB = 1024
BY_FORM = 0.7  # the share of changes that keep the outer form; the others are libFuzzer's own


def run_target(name: str, seconds: float) -> dict[str, Any]:
    """One target in a process of its own, from the seeds and all that was kept of earlier runs."""
    corpus = FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in TARGETS[name].seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    before = {path.name for path in (FOLDER / name).iterdir()}
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.fuzz", "--one", name, str(corpus), f"-max_total_time={int(seconds)}",
            f"-max_len={TARGETS[name].most_bytes}", f"-timeout={CLOCK_S}",
            f"-report_slow_units={CLOCK_S}", f"-rss_limit_mb={MEMORY_MIB}",
            f"-artifact_prefix={FOLDER / name}/",
        ],
        cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, env=_environment(),
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs = re.findall(r"Done (\d+) runs|^#(\d+)\s", done.stderr, re.M)
    kept = sorted({path.name for path in (FOLDER / name).iterdir()} - before)
    found = [file for file in kept if _is_finding(name, FOLDER / name / file)]
    if done.returncode and not kept:
        raise SystemExit(f"the target {name} did not run:\n{done.stderr[-2000:]}")
    figures = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime, 1),
        "runs": max((int(a or b) for a, b in runs), default=0), "by_form": BY_FORM, "findings": found,
        "said": _said(done.stderr) if found else "",
    }  # fmt: skip
    with HOURS.open("a") as log:
        log.write(json.dumps({"target": name, "at": time.time(), "code": code_of(name), **figures}) + "\n")
    return figures


def _environment() -> dict[str, str]:
    folders = [str(ROOT), str(ROOT / "runtime"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(folders)}


def _is_finding(name: str, path: Path) -> bool:
    """Whatever libFuzzer kept, but what was slow by the clock only: that is removed."""
    if not path.name.startswith(("timeout-", "slow-unit-")):
        return True
    tried = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", "--try", name, str(path)],
        cwd=ROOT, env=_environment(), capture_output=True, check=False,
    )  # fmt: skip
    if tried.returncode == 0:
        path.unlink()
    return tried.returncode != 0


def _try(name: str, path: str) -> int:
    """One input, with so much CPU and no more."""
    target = TARGETS[name].load()
    used = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + TIMEOUT_S, int(used) + TIMEOUT_S))
    from edgetl_runtime.errors import EdgetlError

    with contextlib.suppress(EdgetlError):
        target(Path(path).read_bytes())
    return 0


def code_of(name: str) -> str:
    """A hash of the parser that a target tries: the rooms of the runtime that it names."""
    digest = hashlib.sha256()
    for room in TARGETS[name].rooms:
        for path in sorted((ROOT / "runtime" / "edgetl_runtime" / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def totals() -> dict[str, dict[str, Any]]:
    """By target: all runs that were noted, added up."""
    lines = HOURS.read_text().splitlines() if HOURS.exists() else []
    rows = [json.loads(line) for line in lines]
    found = {}
    for name in TARGETS:
        mine = [row for row in rows if row["target"] == name]
        now = [row for row in mine if row.get("code") == code_of(name)]
        found[name] = {
            "cpu_hours": round(sum(row["cpu_s"] for row in mine) / 3600, 3),
            "cpu_hours_this_code": round(sum(row["cpu_s"] for row in now) / 3600, 3),
            "cpu_hours_by_form": round(sum(row["cpu_s"] for row in mine if row.get("by_form")) / 3600, 3),
            "runs": sum(row["runs"] for row in mine),
            "findings": sorted({finding for row in mine for finding in row["findings"]}),
        }
    return found


def _said(output: str) -> str:
    """The exception that came out, as far as it is told."""
    lines = [line for line in output.splitlines() if re.match(r" *([\w.]*(Error|Exception)\b|==\d+== ERROR)", line)]
    return lines[0].strip()[:300] if lines else output[-300:]


def _one(name: str, options: list[str]) -> int:
    """This process is the fuzzer of that target."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["edgetl_runtime", "json", "zipfile", "mcap", "mcap_ros2", "safetensors"]):
        target = TARGETS[name].load()
    from edgetl_runtime.errors import EdgetlError

    def test_one_input(data: bytes) -> None:
        with contextlib.suppress(EdgetlError):
            target(data)

    def change(data: bytes, most_bytes: int, seed: int) -> bytes:
        rng = random.Random(seed)
        changed = TARGETS[name].change(data, rng) if rng.random() < BY_FORM else data
        if changed == data or len(changed) > most_bytes:
            return bytes(atheris.Mutate(data, most_bytes))
        return changed

    atheris.Setup([sys.argv[0], *options], test_one_input, custom_mutator=change)
    atheris.Fuzz()
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run every target; 1 when one of them found something."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--try"]:
        return _try(arguments[1], arguments[2])
    if arguments[:1] == ["--one"]:
        return _one(arguments[1], arguments[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=float(os.environ.get("HOURS") or 0.05), help="for each target")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)} (default: all)")
    args = parser.parse_args(arguments)
    if args.hours > 0 and importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed (x86 and CPython 3.11 to 3.13): pip install atheris")
        return 0
    new = False
    for name in (args.targets or TARGETS) if args.hours > 0 else ():
        found = run_target(name, 3600 * args.hours)
        new = new or bool(found["findings"])
        print(
            f"{name:<10} {found['cpu_s'] / 3600:.3f} CPU-hours, {found['runs']:>9,} runs,"
            f" {len(found['findings'])} findings {' '.join(found['findings'])} {found['said']}",
            flush=True,
        )
    added = totals()
    print("in all:")
    for name, row in added.items():
        print(
            f"{name:<10} {row['cpu_hours']:.2f} CPU-hours ({row['cpu_hours_by_form']:.2f} by form,"
            f" {row['cpu_hours_this_code']:.2f} of this code), {row['runs']:>12,} runs, {len(row['findings'])} findings"
        )
    write_evidence("fuzz", added)
    return int(new)


if __name__ == "__main__":
    raise SystemExit(main())
