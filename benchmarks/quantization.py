"""`make quantization`: INT8 beside float32 on real weights and real photographs, in onnxruntime and OpenVINO.

Bundles are built for an x86 board by the public call, from the authors' training photographs of the grocery set; every
accuracy is of the factory head. `held out` are source photographs that no head saw, `test` the authors' test
photographs (other days and shops), where float32 itself loses much. `float32 head` and `own head` are on INT8
features, `equal` is the share of decisions as float32 decides. The baseline always says the commonest class.
Latencies are medians in turn, one run: the engine's library called by hand, and the runtime's call beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import edgetl_runtime as rt
import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.engines import open_engine
from edgetl_runtime.extractor import Extractor as Deployed

import edgetl
from benchmarks.evidence import ROOT, data_folder, write_evidence
from edgetl.quantize import CALIBRATION_SAMPLES, calibrate, choose_calibration, prepare
from edgetl.quantize.fidelity import signal_to_noise_db
from edgetl.quantize.ladder import engine_features
from edgetl.quantize.recipes import U8S8

__all__ = ["MODELS", "main"]

# name -> (backbone, weights, options)
MODELS: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "mobilenet_v1_0.25": (
        "onnx:models/derived_onnx/mobilenet_v1_0.25_128_fp32.onnx", None,
        {"output": "features", "mean": 127.5, "scale": 1 / 127.5},
    ),
    "mobilenet_v2": (
        "torchvision/mobilenet_v2", "models/mobilenet_v2_torchvision_fp16.safetensors",
        {"mean": 127.5, "scale": 1 / 127.5},
    ),
    "squeezenet1_0": (
        "torchvision/squeezenet1_0", "models/squeezenet_dc/squeezenet1_0_torchvision_fp16.pth",
        {"mean": (104, 117, 123), "scale": 1.0, "channels": "BGR", "size": 227},
    ),
}  # fmt: skip
ENGINES = ("onnxruntime", "openvino")
DEVICE = "x86-openvino"
THREADS = 1
MOST_OVERHEAD = 0.03
WARM_UP, PAIRS = 20, 300
COUNTS = (10, 30, 100, 300)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these networks only; no evidence is written")
    chosen = parser.parse_args().names or list(MODELS)
    data, rows = data_folder(), []
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="quantization-", dir=ROOT / "build") as work:
        for name in chosen:
            print(f"{name} ...", flush=True)
            rows.append(_measure(name, data, Path(work)))
            _print(rows[-1])
    counts = _calibration(data)
    print("calibration samples -> dB of MobileNetV1 0.25 features, U8S8 without corrected biases:", counts)
    if chosen == list(MODELS):
        write_evidence("quantization", {"device": DEVICE, "threads": THREADS, "rows": rows, "calibration": counts})
    failed = [row["name"] for row in rows if row["failed"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} networks hold every line" + (f"; not: {failed}" if failed else ""))
    return 1 if failed else 0


def _open(name: str, data: Path) -> edgetl.Extractor:
    backbone, weights, options = MODELS[name]
    kind, _, path = backbone.partition(":")
    full = f"{kind}:{data / path}" if path else backbone
    return edgetl.extractor(full, weights=str(data / weights) if weights else None, **options)


def _measure(name: str, data: Path, work: Path) -> dict[str, Any]:
    source, shop = _open(name, data), data / "grocery_fruitveg"
    started = time.perf_counter()
    samples = edgetl.dataset(str(shop / "train"))
    built = edgetl.build(source, samples, out=work / f"{name}.edgetl", devices=[DEVICE], threads=THREADS)
    seconds = time.perf_counter() - started
    bundle = rt.read_bundle(built.path)
    graphs = {v.name: bundle.members[v.extractor] for v in bundle.manifest.variants}
    heads = {
        v.name: HeadMember.unpack(bundle.members[v.head], v.head, v.feature_space, v.dim).factory
        for v in bundle.manifest.variants
    }
    parts = {"held_out": samples.held_out, "test": edgetl.dataset(str(shop / "test"), holdout=0)}
    features: dict[tuple[str, str, str], Any] = {}
    truth = {}
    tensors: list[Any] = []
    for part, dataset in parts.items():
        tensors, labels = [], []
        for sample, label in dataset:
            tensors.append(source.preprocess.apply(sample))
            labels.append(str(label))
        truth[part] = labels
        for variant, graph in graphs.items():
            for engine in ENGINES:
                features[part, variant, engine] = engine_features(graph, tensors, engine, THREADS)
    reports = {report.name: report for report in built.variants}
    row: dict[str, Any] = {
        "name": name, "dim": built.dim, "build_seconds": seconds, "majority": built.majority_accuracy,
        "samples": {part: len(labels) for part, labels in truth.items()},
        "bytes": {variant: len(graph) for variant, graph in graphs.items()},
        "float32": {
            f"{part} {engine}": _share(heads["fp32"].predict(features[part, "fp32", engine]), truth[part])
            for part in parts for engine in ENGINES
        },
        "int8": [], "offered": [f"{c.variant} in {c.engine}" for c in (built.plans or {})[DEVICE]],
        "why": {report.name: report.why for report in reports.values()},
        "refused": [f"{v.wish.precision} in {v.wish.engine}: {v.why}" for v in built.verdicts if not v.offered],
        "judged": {e: vars(f) for r in reports.values() for e, f in r.fidelity.items()},
    }  # fmt: skip
    for part in parts:
        decided = list(heads["fp32"].predict(features[part, "fp32", "onnxruntime"]))
        for engine in ENGINES:
            if "u8s8" in graphs:
                now = features[part, "u8s8", engine]
                own = list(heads["u8s8"].predict(now))
                row["int8"].append(
                    {
                        "part": part, "engine": engine, "float32_head": _share(heads["fp32"].predict(now), truth[part]),
                        "own_head": _share(own, truth[part]), "equal": _share(own, decided),
                        "snr_db": signal_to_noise_db(features[part, "fp32", "onnxruntime"], now),
                    }
                )  # fmt: skip
    row["latency"] = {
        f"{variant} {engine}": _latency(engine, graph, bundle.manifest.variant(variant), tensors[0])
        for variant, graph in graphs.items()
        for engine in ENGINES
    }
    row["failed"] = _failures(row, reports.get("u8s8"))
    return row


def _failures(row: dict[str, Any], report: Any) -> list[str]:
    """Lines of the acceptance that do not hold."""
    found = []
    for way, one in row["latency"].items():
        if one["overhead"] > MOST_OVERHEAD:
            found.append(f"{way}: overhead {100 * one['overhead']:.1f} %")
    for engine in ENGINES:
        int8, plain = row["latency"].get(f"u8s8 {engine}"), row["latency"][f"fp32 {engine}"]
        if f"u8s8 in {engine}" in row["offered"] and int8 is not None and int8["by_hand"] >= plain["by_hand"]:
            found.append(f"u8s8 is offered in {engine} and is not faster than float32")
    if report is not None and report.shipped and any(one.drop > 0.5 for one in report.fidelity.values()):
        found.append("u8s8 is shipped and loses more than 0.5 points")
    return found


def _latency(engine: str, graph: bytes, variant: Any, tensor: Any) -> dict[str, float]:
    """Median ms by hand and of the runtime, in turn; `overhead` is the median of what a call takes longer, of that."""
    opened = open_engine(engine, graph, threads=THREADS)
    deployed = Deployed(opened, variant, None)  # type: ignore[arg-type]  # a tensor needs no preprocessing
    calls = {"by_hand": _by_hand(engine, graph, tensor), "runtime": lambda: deployed.run(tensor)}
    pairs = []
    for number in range(WARM_UP + PAIRS):
        took = {}
        for name in sorted(calls, reverse=bool(number % 2)):
            started = time.perf_counter()
            calls[name]()
            took[name] = 1e3 * (time.perf_counter() - started)
        pairs.append(took)
    deployed.close()
    ms = {name: float(np.median([took[name] for took in pairs[WARM_UP:]])) for name in calls}
    longer = float(np.median([took["runtime"] - took["by_hand"] for took in pairs[WARM_UP:]]))
    return {**ms, "overhead": longer / ms["by_hand"]}


def _by_hand(engine: str, graph: bytes, tensor: Any) -> Callable[[], Any]:
    """The library as its own manual has it called, with the settings of the runtime."""
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
        )
        name, outputs = session.get_inputs()[0].name, [session.get_outputs()[0].name]
        return lambda: session.run(outputs, {name: tensor})
    from edgetl_runtime.engines.openvino_engine import import_openvino

    core = import_openvino().Core()
    hints = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS,
        "NUM_STREAMS": 1,
    }  # fmt: skip
    request = core.compile_model(core.read_model(graph), "CPU", hints).create_infer_request()

    def call() -> Any:
        request.infer([tensor], share_inputs=True)
        return request.get_output_tensor().data

    return call


def _calibration(data: Path) -> dict[int, float]:
    """How near features come to float32's by the number of calibration samples; the default is among them."""
    assert CALIBRATION_SAMPLES in COUNTS
    source = _open("mobilenet_v1_0.25", data)
    from edgetl.export import export_onnx

    graph = export_onnx(source)
    part = edgetl.dataset(str(data / "grocery_fruitveg" / "train"))
    tensors, labels = [], []
    for sample, label in part.training:
        tensors.append(source.preprocess.apply(sample))
        labels.append(str(label))
    held_out = [source.preprocess.apply(sample) for sample, _ in part.held_out]
    reference, model, found = engine_features(graph, held_out, "onnxruntime", THREADS), prepare(graph), {}
    for count in COUNTS:
        ranges = calibrate(model, [tensors[i] for i in choose_calibration(labels, count)])
        quantized = engine_features(ranges.graph(U8S8), held_out, "onnxruntime", THREADS)
        found[count] = round(signal_to_noise_db(reference, quantized), 2)
    return found


def _share(decided: Any, wanted: list[Any]) -> float:
    return float(np.mean([str(a) == str(b) for a, b in zip(decided, wanted, strict=True)]))


def _print(row: dict[str, Any]) -> None:
    sizes = ", ".join(f"{variant} {size / 1e6:.2f} MB" for variant, size in row["bytes"].items())
    print(f"\n{row['name']}: D {row['dim']}, {sizes}; built in {row['build_seconds']:.0f} s; majority class"
          f" {100 * row['majority']:.1f} %")  # fmt: skip
    print("| part | engine | float32 | float32 head on INT8 | own head on INT8 | equal | features |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for one in row["int8"]:
        plain = row["float32"][f"{one['part']} {one['engine']}"]
        print(f"| {one['part']} | {one['engine']} | {100 * plain:.1f} | {100 * one['float32_head']:.1f}"
              f" | {100 * one['own_head']:.1f} | {100 * one['equal']:.1f} | {one['snr_db']:.1f} dB |")  # fmt: skip
    for way, one in row["latency"].items():
        print(f"  {way}: by hand {one['by_hand']:.3f} ms, runtime {one['runtime']:.3f} ms"
              f" ({100 * one['overhead']:+.1f} %)")  # fmt: skip
    for name, why in row["why"].items():
        print(f"  {name}: {why}")
    print(f"  offered: {', '.join(row['offered'])}")
    for words in [*row["refused"], *(f"MISSED: {words}" for words in row["failed"])]:
        print(f"  {words}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
