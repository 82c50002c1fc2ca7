"""`make attacks`: hostile bundles, each in a child under limits and under strace, on every onnxruntime here.

Then 10,000 single bytes of a signed bundle changed at random, one by one, and the bundle cut at every KiB; what
verification costs of a cold start; and how long `inspect` takes for a bundle of 100 MB. Other onnxruntime
versions are those of the device environments that `make test` leaves in build/envs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.evidence import ROOT, write_evidence

__all__ = ["main"]

CHANGES = 10_000
RUNS = 7


def corpus(python: Path, strace: str | None) -> dict[str, Any]:
    """The corpus on one interpreter: rows, and what was opened outside the staging folders when strace is there."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'runtime'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/"),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        watched = [strace, "-f", "-qq", "-s", "400", "-e", "trace=%file,connect", "-o", str(trace)] if strace else []
        done = subprocess.run(
            [*watched, str(python), "-m", "tests.attacks.run"],
            cwd=ROOT, env={**environment, "TMPDIR": folder}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"the corpus did not run on {python}:\n{done.stderr[-2000:]}")
        lines = trace.read_text(errors="replace").splitlines() if strace else []
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        opened = _opened(lines, folder, python)
    version = subprocess.run(
        [str(python), "-c", "import onnxruntime, sys; print(onnxruntime.__version__, sys.version.split()[0])"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return {
        "onnxruntime": version[0], "python": version[1], "cases": len(rows),
        "refused": sum(row["refused"] and not row["installed"] for row in rows),
        "opened_early": len(opened) if strace else None, "over_limit": sum(row["over_limit"] for row in rows),
        "slowest_s": round(max(row["seconds"] for row in rows), 2),
        "most_grown_bytes": max(row["grown"] for row in rows),
        "not_refused": [row["name"] for row in rows if not row["refused"]], "opened": opened,
    }  # fmt: skip


def _opened(lines: list[str], folder: str, python: Path) -> dict[str, list[str]]:
    from tests.attacks.run import outside

    return outside(lines, (folder, str(python.parents[1]), str(python.resolve().parents[1])))


def bytes_changed(seed: int = 0) -> dict[str, int]:
    """Single bytes changed at random, and every KiB cut off: how many such bundles were accepted."""
    from edgetl_runtime.bundle import read_bundle
    from edgetl_runtime.bundle.signature import load_public_key
    from edgetl_runtime.errors import EdgetlError

    from tests.attacks.forge import TRUSTED, bundle, key_pair, public_pem

    right, trusted = bundle(), {key_pair(TRUSTED)[2]: load_public_key(public_pem(TRUSTED))}
    draw = random.Random(seed)
    accepted = cut_accepted = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "changed.edgetl"

        def taken(data: bytes) -> bool:
            path.write_bytes(data)
            try:
                read_bundle(path, trusted=trusted, allow_unsigned=False)
            except EdgetlError:
                return False
            return True

        assert taken(right), "the right bundle must be accepted, or nothing is shown"
        for _ in range(CHANGES):
            changed = bytearray(right)
            changed[draw.randrange(len(right))] ^= draw.randrange(1, 256)
            accepted += taken(bytes(changed))
        cuts = range(0, len(right), 1024)
        for size in cuts:
            cut_accepted += taken(right[:size])
    return {"changes": CHANGES, "changes_accepted": accepted, "cuts": len(cuts), "cuts_accepted": cut_accepted}


def costs() -> dict[str, float]:
    """Shares of a cold start, and `edgetl inspect` of 100 MB, medians.

    Reading a bundle is reading its bytes, which any start must, and verifying them: hashes, signature, every rule.
    """
    from tests.attacks.forge import TRUSTED, entries, key_pair, public_pem, zipped

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key.pub").write_bytes(public_pem(TRUSTED))
        bundle = _real_bundle(folder, key_pair(TRUSTED)[0])
        code = (
            "import time; t = time.perf_counter()\n"
            "import sys, edgetl_runtime as rt\n"
            "from edgetl_runtime.bundle import container\n"
            "from edgetl_runtime import opening\n"
            "real, plain, spent, reading = opening.read_bundle, container.read_entry, [], []\n"
            "def timed_entry(*a, **k):\n"
            "    s = time.perf_counter(); b = plain(*a, **k); reading.append(time.perf_counter() - s); return b\n"
            "container.read_entry = timed_entry\n"
            "def timed(*a, **k):\n"
            "    s = time.perf_counter(); b = real(*a, **k); spent.append(time.perf_counter() - s); return b\n"
            "opening.read_bundle = timed\n"
            "from edgetl_runtime import installation; installation.read_bundle = timed\n"
            "s = rt.open(sys.argv[1], sys.argv[2], trusted=[open(sys.argv[3], 'rb').read()], threads=1)\n"
            "import numpy as np; s.predict(np.zeros((480, 640, 3), np.uint8))\n"
            "print(sum(spent), sum(reading), time.perf_counter() - t)\n"
        )
        shares, whole = [], []
        state = folder / "state"
        for turn in range(RUNS + 1):
            out = subprocess.run(
                [sys.executable, "-c", code, str(bundle), str(state), str(folder / "key.pub")],
                capture_output=True, text=True, check=True,
            ).stdout.split()  # fmt: skip
            if turn:  # the first one installs
                both, reading, total = map(float, out)
                shares.append((both - reading) / total)
                whole.append(both / total)
        big = folder / "big.edgetl"
        big.write_bytes(zipped(entries({"extractor.onnx": os.urandom(100 << 20)})))
        seconds, used = [], []
        for _ in range(RUNS):
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [sys.executable, "-m", "edgetl.cli", "inspect", str(big), "--verify", str(folder / "key.pub")],
                stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            seconds.append(time.perf_counter() - start)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return {
            "bundle_bytes": bundle.stat().st_size,
            "verification_share_of_cold_start": round(statistics.median(shares), 4),
            "reading_and_verification_share_of_cold_start": round(statistics.median(whole), 4),
            "inspect_100_mb_s": round(statistics.median(seconds), 3),
            "inspect_100_mb_cpu_s": round(statistics.median(used), 3),
        }


def _real_bundle(folder: Path, private_pem: bytes) -> Path:
    """MobileNetV2 as a device would get it, signed."""
    from edgetl_runtime.bundle import read_bundle, write_bundle

    from benchmarks.bench import prepare

    prepare(folder)
    found = read_bundle(folder / "bench.edgetl")
    signed = folder / "signed.edgetl"
    write_bundle(signed, found.manifest, found.members, private_pem)
    return signed


def main(argv: list[str] | None = None) -> int:
    """Run everything; 1 when an attack got through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-trace", action="store_true", help="without strace, which also shows what is opened")
    args = parser.parse_args(argv)
    strace = None if args.no_trace else shutil.which("strace")
    pythons = [Path(sys.executable), *sorted((ROOT / "build" / "envs").glob("*/bin/python"))]
    runs = []
    for python in pythons:
        run = corpus(python, strace)
        runs.append(run)
        print(
            f"onnxruntime {run['onnxruntime']:<8} Python {run['python']:<8} {run['refused']} of {run['cases']} refused"
            f" by their own error, {run['opened_early']} opened a file outside, {run['over_limit']} beyond a limit"
            f" (slowest {run['slowest_s']} s, most memory {run['most_grown_bytes'] / 2**20:.0f} MiB)"
        )
        for name in run["not_refused"]:
            print(f"  NOT refused: {name}")
        for name, paths in run["opened"].items():
            print(f"  opened by {name!r}: {sorted(set(paths))[:4]}")
    changed = bytes_changed()
    print(
        f"{changed['changes']} single bytes changed: {changed['changes_accepted']} accepted;"
        f" cut at {changed['cuts']} places: {changed['cuts_accepted']} accepted"
    )
    cost = costs()
    print(
        f"verification is {100 * cost['verification_share_of_cold_start']:.1f} % of a cold start, with the reading of"
        f" the bytes {100 * cost['reading_and_verification_share_of_cold_start']:.1f} %"
        f" ({cost['bundle_bytes'] / 1e6:.1f} MB); inspect of 100 MB: {cost['inspect_100_mb_s']:.2f} s,"
        f" {cost['inspect_100_mb_cpu_s']:.2f} s of CPU"
    )
    totals = {
        "cases": sum(run["cases"] for run in runs),
        "refused": sum(run["refused"] for run in runs),
        "opened_early": sum(run["opened_early"] or 0 for run in runs) if strace else None,
        "over_limit": sum(run["over_limit"] for run in runs),
    }
    write_evidence("attacks", {**totals, "runs": runs, **changed, **cost})
    bad = totals["cases"] - totals["refused"] + (totals["opened_early"] or 0) + totals["over_limit"]
    return int(bool(bad + changed["changes_accepted"] + changed["cuts_accepted"]))


if __name__ == "__main__":
    raise SystemExit(main())
