"""`make bench`: the device process beside the same model run by torch, and by onnxruntime called by hand.

Each row is a process of its own, started in turn with the others (median of so many rounds): import, start of
the process to the first prediction, peak memory, and, warm, the time from a 1280x720 frame to a decision.
All three run MobileNetV2 on one thread, with the same weights and the same ten-class head.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.evidence import ROOT, write_evidence

ROUNDS = 5
FRAMES = 30
# cython_runtime is a name that NumPy's own extension modules register.
_ALLOWED = {"cython_runtime", "numpy", "safetensors", "PIL", "onnxruntime", "edgetl_runtime"}

# What every worker ends with: its peak memory (VmHWM: not inherited, unlike ru_maxrss) and its figures.
_REPORT = """
import json, re
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)) * 1024
tops = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"first": first, "import": imported, "frame_ms": frame_ms, "peak_rss_bytes": peak, "modules": tops}))
"""
_LOOP = """
frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
answer(frame)
first = time.time() - started
times = []
for _ in range(FRAMES):
    t = time.perf_counter(); answer(frame); times.append((time.perf_counter() - t) * 1e3)
frame_ms = sorted(times)[len(times) // 2]
"""
_WORKERS = {
    "edgetl-runtime": """
import sys, time
t = time.perf_counter()
import edgetl_runtime as rt
rt.open
imported = time.perf_counter() - t
import numpy as np
session = rt.open(None, WORK + "/state", allow_unsigned=True, threads=1, read_only=True)
answer = lambda frame: session.predict(frame).label
""",
    "onnxruntime by hand": """
import sys, time
t = time.perf_counter()
import numpy as np, onnxruntime
from PIL import Image
imported = time.perf_counter() - t
options = onnxruntime.SessionOptions(); options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(WORK + "/extractor.onnx", options, providers=["CPUExecutionProvider"])
head = np.load(WORK + "/head.npy")
def answer(frame):
    image = Image.fromarray(frame).resize((455, 256), 2).crop((115, 16, 339, 240))
    features = session.run(["features"], {"image": np.asarray(image)[None]})[0]
    return int((features @ head).argmax())
""",
    "torch": """
import sys, time
t = time.perf_counter()
import numpy as np, torch, torchvision
from PIL import Image
imported = time.perf_counter() - t
torch.set_num_threads(1)
model = torchvision.models.mobilenet_v2(num_classes=10)
model.load_state_dict(torch.load(WORK + "/weights.pth", weights_only=True)); model.eval()
transform = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
def answer(frame):
    with torch.inference_mode():
        return int(model(transform(Image.fromarray(frame))[None]).argmax())
""",
}


def main() -> int:
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build") as work:
        print("preparing one model for all three ...", flush=True)
        prepare(Path(work))
        runs: dict[str, list[dict]] = {name: [] for name in _WORKERS}
        for number in range(ROUNDS):
            for name in _WORKERS:
                print(f"round {number + 1} of {ROUNDS}: {name} ...", flush=True)
                runs[name].append(_measure(name, work))
    rows = [{"what": name, **_median(results)} for name, results in runs.items()]
    modules = sorted(_third_party(runs["edgetl-runtime"][0]["modules"]))
    figures = {"rounds": ROUNDS, "rows": rows, "runtime_modules": modules, "unexpected": sorted({*modules} - _ALLOWED)}
    torch_row = rows[-1]
    print("\n| process | import s | start to first prediction s | peak memory MB | frame to decision ms |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        ratio = ", ".join(
            f"{torch_row[key] / row[key]:.1f}x"
            for key in ("import_s", "first_prediction_s", "peak_rss_bytes", "frame_ms")
        )
        print(
            f"| {row['what']} | {row['import_s']:.3f} | {row['first_prediction_s']:.2f}"
            f" | {row['peak_rss_bytes'] / 1e6:.0f} | {row['frame_ms']:.1f} |  torch over it: {ratio}"
        )
    print(f"the runtime loads {', '.join(modules)}; unexpected: {figures['unexpected'] or 'nothing'}")
    print(write_evidence("bench", figures).relative_to(ROOT))
    return 1 if figures["unexpected"] else 0


def prepare(work: Path) -> None:
    """Weights (random, the same for all), a bundle of ten made-up classes, its state, and the bare parts by hand."""
    import edgetl_runtime as rt
    import torch
    import torchvision

    import edgetl

    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2(num_classes=10)
    torch.save(model.state_dict(), work / "weights.pth")
    extractor = edgetl.extractor("torchvision/mobilenet_v2", weights=str(work / "weights.pth"))
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 64 + 18 * (i % 10), (64, 64, 3), dtype=np.uint8) for i in range(40)]
    samples = edgetl.dataset(np.stack(frames), [f"class {i % 10}" for i in range(40)])
    edgetl.build(extractor, samples, out=work / "bench.edgetl")
    with rt.open(work / "bench.edgetl", work / "state", allow_unsigned=True):
        pass
    (work / "extractor.onnx").write_bytes(rt.read_bundle(work / "bench.edgetl").members["extractor.onnx"])
    np.save(work / "head.npy", generator.normal(size=(1280, 10)).astype(np.float32))


def _measure(name: str, work: str) -> dict:
    code = f"WORK, FRAMES = {work!r}, {FRAMES}\n" + _WORKERS[name]
    started = time.time()
    text = code + f"\nstarted = {started!r}\n" + _LOOP + _REPORT
    done = subprocess.run([sys.executable, "-c", text], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)


def _median(results: list[dict]) -> dict[str, float]:
    names = {
        "import": "import_s",
        "first": "first_prediction_s",
        "peak_rss_bytes": "peak_rss_bytes",
        "frame_ms": "frame_ms",
    }
    return {name: float(np.median([result[key] for result in results])) for key, name in names.items()}


def _third_party(modules: list[str]) -> set[str]:
    """Top-level modules that are not Python's own, nor what `site` loads for an editable installation."""
    return {
        name
        for name in modules
        if name not in sys.stdlib_module_names and not name.startswith(("_", "sitecustomize")) and name != "__main__"
    }


if __name__ == "__main__":
    sys.exit(main())
