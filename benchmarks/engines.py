"""`make engines`: every backbone that is promised, on every engine that a device may have.

Each is exported as `make extractors` does it (random weights, always the same, batch statistics settled). The one
graph then meets the lint, the ahead-of-time compiler of TensorRT for RTX, the onnxruntimes of JetPack 5, 6 and 7 on
their own Pythons, and OpenVINO; features of the same two images are compared with torch's. The limit is the
tolerance that a manifest allows at least. An engine or a Python that is not here is named and skipped.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence import ROOT, write_evidence
from benchmarks.extractors import TIMM, TORCHVISION, settled
from edgetl.backbones import extractor
from edgetl.errors import EdgetlError, MissingPackageError
from edgetl.export import export_onnx
from edgetl.export.lint import lint
from edgetl.export.tensorrt import check_ahead_of_time
from edgetl.features import reference_features
from edgetl.parity import compare

__all__ = ["MAX_REL", "measure"]

MAX_REL = 1e-2  # edgetl.build allows at least this
DEVICES = {"onnxruntime_1_19": "jetpack5", "onnxruntime_1_23": "jetpack6", "onnxruntime_1_31": "jetpack7"}
ENGINES = (*DEVICES, "openvino")
# Runs in the Python of a device, on the runtime of this checkout.
WORKER = """
import json, sys, time
import numpy as np
from edgetl_runtime.engines import open_engine
from edgetl_runtime.errors import EngineError
name, graph, samples, out = sys.argv[1:]
try:
    engine = open_engine(name, open(graph, "rb").read(), threads=1)
    spec, features = engine.inputs[0], []
    for sample in np.load(samples):
        start = time.perf_counter()
        features.append(engine.run({spec.name: sample[None]})["features"][0])
        seconds = time.perf_counter() - start
    np.save(out, np.stack(features))
    print(json.dumps({"description": engine.description, "run_s": seconds}))
    engine.close()
except EngineError as error:
    print(json.dumps({"error": str(error)}))
"""


def device_pythons() -> tuple[dict[str, Path], dict[str, str]]:
    """Interpreters with the onnxruntime of each JetPack, made when they are not there yet; and why some are not."""
    from tests.house.environments import build_wheel, environment, find_python
    from tests.house.test_environments import ALSO
    from tests.house.test_environments import DEVICES as TRIPLES

    found: dict[str, Path] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        wheel: Path | None = None
        for engine, device in DEVICES.items():
            version, pins = TRIPLES[device]
            ready = list((ROOT / "build" / "envs").glob(f"{device}-*/ready"))
            if len(ready) == 1:
                found[engine] = ready[0].parent / "bin" / "python"
                continue
            python = find_python(version)
            if python is None:
                absent[engine] = f"no Python {version} here"
                continue
            wheel = wheel or build_wheel("edgetl-runtime", Path(folder) / "wheel")
            with environment(device, python, [*pins, *ALSO], wheel) as inside:
                found[engine] = inside
    return found, absent


def exported(name: str) -> tuple[bytes, Any, Any]:
    """Graph, two samples (2, H, W, C) uint8, and the features (2, D) that torch gives for them."""
    backbone = extractor(name)
    shape = backbone.preprocess.input.shape
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, shape[2])[:, None], shape).astype(np.uint8)
    samples = np.concatenate([noise, ramp])
    backbone = settled(backbone, samples)
    return export_onnx(backbone), samples, reference_features(backbone, samples)


def measure(name: str, pythons: dict[str, Path], absent: dict[str, str]) -> dict[str, Any]:
    """One row: true, false, or null where it was not run; `reason` says why of everything that is not true."""
    row: dict[str, Any] = {"name": name, "lint": None, "tensorrt_rtx": None, **dict.fromkeys(ENGINES)}
    row.update(reason="", max_rel={}, seconds={})
    reasons: list[str] = []
    start = time.perf_counter()
    try:
        graph, samples, expected = exported(name)
    except EdgetlError as error:
        row.update(lint=False, reason=f"export: {error}")
        return row
    row["seconds"]["export"] = time.perf_counter() - start
    findings = lint(graph)
    row["lint"] = not findings
    reasons += [f"lint: {finding}" for finding in findings]
    try:
        row["seconds"]["tensorrt_rtx"] = check_ahead_of_time(graph).seconds
        row["tensorrt_rtx"] = True
    except MissingPackageError as error:
        reasons.append(f"tensorrt_rtx was not asked: {error}")
    except EdgetlError as error:
        row["tensorrt_rtx"] = False
        reasons.append(f"tensorrt_rtx: {error}")
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        (folder / "extractor.onnx").write_bytes(graph)
        np.save(folder / "samples.npy", samples)
        for engine in ENGINES:
            if engine not in pythons:
                reasons.append(f"{engine} was not run: {absent[engine]}")
                continue
            said = run_worker(pythons[engine], engine.partition("_")[0], folder)
            if "error" in said:
                row[engine] = False
                reasons.append(f"{engine}: {said['error']}")
                continue
            row["seconds"][engine] = said["run_s"]
            try:
                row["max_rel"][engine] = compare(expected, np.load(folder / "features.npy")).max_rel
                row[engine] = row["max_rel"][engine] <= MAX_REL
            except EdgetlError as error:
                row[engine] = False
                reasons.append(f"{engine}: {error}")
            if row["max_rel"].get(engine, 0.0) > MAX_REL:
                reasons.append(f"{engine}: features are off by {row['max_rel'][engine]:.1e}, {MAX_REL:g} is allowed")
    row["reason"] = "; ".join(reasons)
    return row


def run_worker(python: Path, engine: str, folder: Path) -> dict[str, Any]:
    command: Sequence[str | Path] = (
        python, "-c", WORKER, engine, folder / "extractor.onnx", folder / "samples.npy", folder / "features.npy",
    )  # fmt: skip
    variables = {"PYTHONPATH": str(ROOT / "runtime"), "PATH": "/usr/local/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=600)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        return {"error": f"its process ended with {done.returncode}: {last[0]}"}
    return dict(json.loads(lines[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these backbones only; no evidence is written")
    asked = parser.parse_args().names
    names = asked or [*TORCHVISION, *TIMM]
    import torch

    torch.set_num_threads(1)
    pythons, absent = device_pythons()
    if importlib.util.find_spec("openvino") is None:
        absent["openvino"] = "it is not installed: pip install 'edgetl[openvino]'"
    else:
        pythons["openvino"] = Path(sys.executable)
    for engine, why in absent.items():
        print(f"{engine} is skipped: {why}")
    columns = ("lint", "tensorrt_rtx", *ENGINES)
    print(f"{'backbone':42} " + " ".join(f"{column.replace('onnxruntime', 'ort'):>12}" for column in columns))
    rows = []
    for name in names:
        row = measure(name, pythons, absent)
        rows.append(row)
        cells = [
            {None: "-", False: "FAILED", True: f"{row['max_rel'][c]:.1e}" if c in row["max_rel"] else "ok"}[row[c]]
            for c in columns
        ]
        print(f"{name:42} " + " ".join(f"{cell:>12}" for cell in cells), flush=True)
        if row["reason"]:
            print(f"    {row['reason']}", flush=True)
        if not asked:  # after each row: an hour's work survives what may come
            write_evidence("engines", {"max_rel_allowed": MAX_REL, "skipped": absent, "rows": rows})
    failed = [row["name"] for row in rows if False in [row[column] for column in columns]]
    print(f"{len(rows) - len(failed)} of {len(rows)} on every engine that is here; largest relative difference of a"
          f" feature {max((v for row in rows for v in row['max_rel'].values()), default=float('nan')):.1e}"
          f" (at most {MAX_REL:g}); failed: {failed or 'none'}")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
