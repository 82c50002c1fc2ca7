"""What learning costs, beside its peers and the machine's limits, in one run.

    python -m benchmarks.bench_heads        prints the tables and writes build/evidence/bench-heads.json

One learn (amortised over a stream, one sample a call) and one refresh, for D = 576, 1280, 2048 and K = 10, 100;
peers are asked one at a time, on one BLAS thread, and every figure is the best of repeats, because other load can
only add. A peer that is not installed is named and left out. `--quick` measures D = 1280, K = 10 only.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
from edgetl_runtime.heads import StreamingSoftmax, fit_head  # noqa: E402
from edgetl_runtime.outliers import fit_outliers  # noqa: E402
from edgetl_runtime.statistics import Statistics  # noqa: E402
from edgetl_runtime.statistics.waiting import BLOCK  # noqa: E402

from benchmarks.evidence import write_evidence  # noqa: E402

PEERS = {"sklearn": "scikit-learn", "torch": "torch", "river": "river", "scipy": "scipy"}
BUDGET_S = 1.2


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def samples(count: int, dim: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, k, count)
    centres = rng.standard_normal((k, dim)).astype(np.float32)
    rows = rng.standard_normal((count, dim), dtype=np.float32) + centres[codes]
    return np.maximum(rows + 0.5, 0), codes


def best_s(call: Callable[[], object], repeats: int = 7, budget_s: float = BUDGET_S) -> float:
    """Least seconds of a call, over at most `repeats` and about `budget_s`: other load can only add to it."""
    call()
    times: list[float] = []
    while len(times) < repeats and (not times or sum(times) < budget_s):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def per_sample_us(step: Callable[[int], object], count: int, chunk: int = 50, budget_s: float = BUDGET_S) -> float:
    """Microseconds of `step(i)` for i in a stream: the best chunk of `chunk` steps within about `budget_s`."""
    step(0)
    best, spent, i = float("inf"), 0.0, 0
    while i < count and (spent < budget_s or best == float("inf")):
        size = min(chunk, count - i)
        began = time.perf_counter()
        for k in range(i, i + size):
            step(k)
        took = time.perf_counter() - began
        best, spent, i = min(best, took / size), spent + took, i + size
    return 1e6 * best


# ---------------------------------------------------------------- one learn


def learn_figures(dim: int, k: int) -> dict[str, float]:
    x, y = samples(2048, dim, k)
    labels, rows = y.tolist(), [x[i : i + 1] for i in range(len(x))]
    shift, figures = x.mean(axis=0), {}
    statistics = Statistics(dim, shift)
    statistics.add(x[:BLOCK], y[:BLOCK])
    block, gram = x[:BLOCK].astype(np.float64), np.zeros((dim, dim))
    ours, limit = float("inf"), float("inf")
    # Taking turns, so that a busy moment of the machine meets both; whole blocks, so that each sample pays its share.
    for _ in range(9):
        began = time.perf_counter()
        for i in range(BLOCK):
            statistics.add(rows[i], labels[i : i + 1])
        between = time.perf_counter()
        gram += block.T @ block
        limit = min(limit, time.perf_counter() - between)
        ours = min(ours, between - began)
    figures["edgetl statistics (exact)"] = 1e6 * ours / BLOCK
    figures["limit: blocked Gram update, float64"] = 1e6 * limit / BLOCK
    sgd = StreamingSoftmax(shift, np.ones(dim))
    generator = np.random.default_rng(0)
    figures["edgetl streaming softmax (not exact)"] = per_sample_us(
        lambda i: sgd.learn(rows[i], labels[i : i + 1], generator), 1000
    )
    figures["plain softmax SGD as Coral trains, batch 1"] = coral_figure(x, y, k)
    if installed("torch"):
        figures.update(torch_figures(x, y, k))
    if installed("sklearn"):
        from sklearn.linear_model import SGDClassifier

        model, classes = SGDClassifier(loss="log_loss"), np.arange(k)
        model.partial_fit(x[:1], y[:1], classes)
        figures["scikit-learn SGDClassifier.partial_fit"] = per_sample_us(
            lambda i: model.partial_fit(rows[i], y[i : i + 1]), 1000, 10
        )
    if installed("river"):
        from river.linear_model import SoftmaxRegression

        model, names = SoftmaxRegression(), [str(d) for d in range(dim)]
        figures["river SoftmaxRegression (with its dict)"] = per_sample_us(
            lambda i: model.learn_one(dict(zip(names, x[i].tolist(), strict=True)), int(y[i])), 200, 10
        )
    return figures


def coral_figure(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Softmax regression by gradient steps on float32 weights with L2 decay, written from its description."""
    weights, bias = np.zeros((x.shape[1], k), np.float32), np.zeros(k, np.float32)
    rate, decay = np.float32(0.01), np.float32(1e-4)

    def step(i: int) -> None:
        row = x[i]
        logits = row @ weights + bias
        error = np.exp(logits - logits.max())
        error /= error.sum()
        error[y[i]] -= 1.0
        weights[...] -= rate * (np.outer(row, error) + decay * weights)
        bias[...] -= rate * error

    return per_sample_us(step, 1000)


def torch_figures(x: np.ndarray, y: np.ndarray, k: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    rows, truth = torch.from_numpy(x), torch.from_numpy(y)
    layer = torch.nn.Linear(x.shape[1], k)
    optimiser = torch.optim.Adam(layer.parameters())

    def step(i: int) -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(rows[i : i + 1]), truth[i : i + 1]).backward()
        optimiser.step()

    return {"torch nn.Linear, Adam": per_sample_us(step, 1000)}


# ---------------------------------------------------------------- one refresh


def refresh_figures(dim: int, k: int) -> dict[str, float]:
    x, y = samples(4096, dim, k)
    prior, learnt = Statistics(dim, x.mean(axis=0)), Statistics(dim, x.mean(axis=0))
    prior.add(x[:3000], y[:3000])
    learnt.add(x[3000:3100], y[3000:3100])
    matrix = prior.within_scatter() / 3000 + 0.1 * np.eye(dim)
    right = prior.means().T.copy()
    figures = {
        "edgetl slda, source and learnt": 1e3 * best_s(lambda: fit_head("slda", learnt, prior)),
        "edgetl slda, statistics only": 1e3 * best_s(lambda: fit_head("slda", prior)),
        "edgetl ncm": 1e3 * best_s(lambda: fit_head("ncm", learnt, prior)),
        "edgetl ridge, given penalty": 1e3 * best_s(lambda: fit_head("ridge", prior, penalty=10.0)),
        "edgetl ridge, penalty by GCV": 1e3 * best_s(lambda: fit_head("ridge", prior), 3),
    }
    head = fit_head("slda", learnt, prior)
    figures["edgetl outlier score, from the head"] = 1e3 * best_s(lambda: fit_outliers(learnt, prior, head))
    if installed("scipy"):
        from scipy.linalg import cho_factor, cho_solve

        figures["limit: scipy cho_factor and cho_solve, float64"] = 1e3 * best_s(
            lambda: cho_solve(cho_factor(matrix), right)
        )
    figures["numpy.linalg.solve, float64"] = 1e3 * best_s(lambda: np.linalg.solve(matrix, right))
    outliers, row = fit_outliers(learnt, prior, head), x[:1]
    figures["decide one sample, us"] = per_sample_us(lambda i: head.predict_proba(row), 2000)
    figures["score one sample, us"] = per_sample_us(lambda i: outliers.score(row), 2000)
    return figures


# ---------------------------------------------------------------- fitting at once, memory, beside inference


def fit_figures(dim: int, k: int, count: int) -> dict[str, float]:
    x, y = samples(count, dim, k)
    figures = {}

    def ours(name: str) -> Callable[[], object]:
        def fit() -> object:
            statistics = Statistics(dim)
            statistics.add(x, y)
            return fit_head(name, statistics)

        return fit

    for name in ("slda", "ridge"):
        figures[f"edgetl {name}, add all and fit"] = 1e3 * best_s(ours(name), 2)
    if installed("sklearn"):
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        from sklearn.linear_model import LogisticRegression, RidgeClassifier

        figures["scikit-learn LDA (lsqr, shrunk)"] = 1e3 * best_s(
            lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x, y), 1
        )
        figures["scikit-learn RidgeClassifier"] = 1e3 * best_s(lambda: RidgeClassifier(10.0).fit(x, y), 1)
        if count * dim * k <= 1000 * 1280 * 10:
            figures["scikit-learn LogisticRegression"] = 1e3 * best_s(lambda: LogisticRegression().fit(x, y), 1)
    return figures


MEMORY = """
import sys, numpy as np
def peak_kb():
    # Of this program alone: ru_maxrss would carry over what the parent had before it started this one.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak_kb()
from edgetl_runtime.statistics import Statistics
from edgetl_runtime.heads import fit_head
dim, rng = 1280, np.random.default_rng(0)
learnt = Statistics(dim)
for i in range(2000):
    learnt.add(rng.standard_normal((1, dim), dtype=np.float32), [i % 10])
learning = peak_kb()
fit_head("slda", learnt)
peak = peak_kb()
print(before * 1024, learning * 1024, peak * 1024, int("torch" in sys.modules))
"""


def memory_figures() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    numpy_bytes, learning, peak, torch_there = (int(value) for value in done.stdout.split())
    assert not torch_there
    return {
        "NumPy alone": numpy_bytes / 1e6,
        "learning, D = 1280, K = 10": learning / 1e6,
        "and a refresh of slda": peak / 1e6,
    }


def beside_inference() -> dict[str, float]:
    """p99 of an inference in ms, alone and with learning and refreshing in another thread of the process."""
    x, y = samples(2000, 1280, 10)
    prior = Statistics(1280)
    prior.add(x, y)
    if installed("onnxruntime"):
        infer, what = engine_step()
    else:
        weights = np.random.default_rng(0).standard_normal((1280, 1280), dtype=np.float32)
        infer, what = (lambda: weights @ (weights @ (weights @ x[0]))), "three matrix products"
    def learn(stop: threading.Event) -> None:
        learnt, i = Statistics(1280, prior.shift), 0
        while not stop.is_set():
            learnt.add(x[i % 2000 : i % 2000 + 1], y[i % 2000 : i % 2000 + 1])
            i += 1
            if i % 10 == 0:
                fit_head("slda", learnt, prior)
            # A camera's pace: thirty labelled samples a second would already be a great many.
            time.sleep(1 / 30)

    def p99(rounds: int = 200) -> float:
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            infer()
            times.append(time.perf_counter() - began)
        return 1e3 * float(np.quantile(times, 0.99))

    p99(30)
    alone, beside = [], []
    # Taking turns, and the median of the turns: what else runs on the machine shows in a tail first.
    for _ in range(5):
        alone.append(p99())
        stop = threading.Event()
        thread = threading.Thread(target=learn, args=(stop,), daemon=True)
        thread.start()
        beside.append(p99())
        stop.set()
        thread.join()
    first, second = float(np.median(alone)), float(np.median(beside))
    return {f"alone ({what})": first, "with learning beside it": second, "ratio": second / first}


def engine_step() -> tuple[Callable[[], object], str]:
    import onnxruntime

    root = Path(os.environ.get("EDGETL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    path = root / "models" / "derived_onnx" / "mobilenet_v2_1.0_224_fp32.onnx"
    if not path.exists():
        weights = np.random.default_rng(0).standard_normal((1280, 1280), dtype=np.float32)
        return (lambda: weights @ weights[0]), "a matrix product; no model at hand"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    net = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    tensor = np.zeros((1, 3, 224, 224), np.float32)
    return (lambda: net.run(["features"], {"image": tensor})), "MobileNetV2 in onnxruntime, one thread"


def machine() -> dict[str, float]:
    a = np.random.default_rng(0).standard_normal((1024, 1024))
    seconds = best_s(lambda: a @ a, 9)
    b = a.astype(np.float32)
    single = best_s(lambda: b @ b, 9)
    big = np.zeros(2**25)
    copied = best_s(lambda: np.copyto(big[: 2**24], big[2**24 :]), 9)
    return {
        "GEMM float64, GFLOP/s": 2 * 1024**3 / seconds / 1e9,
        "GEMM float32, GFLOP/s": 2 * 1024**3 / single / 1e9,
        "copy, GB/s read and written": 2 * 8 * 2**24 / copied / 1e9,
    }


def show(title: str, figures: dict[str, float], unit: str) -> None:
    print(f"\n{title}")
    for name, value in figures.items():
        print(f"  {name:52s} {value:12,.1f} {unit if not name.endswith(', us') else 'us'}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="D = 1280 and K = 10 only")
    options = parser.parse_args()
    missing = [name for module, name in PEERS.items() if not installed(module)]
    if missing:
        print(f"not installed, so left out: {', '.join(missing)} (pip install them to have them measured)")
    evidence: dict = {"missing": missing, "machine": machine(), "learn_us": {}, "refresh_ms": {}, "fit_ms": {}}
    show("the machine, one thread", evidence["machine"], "")
    for dim in (1280,) if options.quick else (1280, 576, 2048):
        for k in (10,) if options.quick else (10, 100):
            case = f"D={dim} K={k}"
            evidence["learn_us"][case] = learn_figures(dim, k)
            show(f"one learn, {case}", evidence["learn_us"][case], "us")
            evidence["refresh_ms"][case] = refresh_figures(dim, k)
            show(f"one refresh, {case}", evidence["refresh_ms"][case], "ms")
    for count in (1000,) if options.quick else (1000, 10_000):
        case = f"D=1280 K=10 N={count}"
        evidence["fit_ms"][case] = fit_figures(1280, 10, count)
        show(f"fitting at once, {case}", evidence["fit_ms"][case], "ms")
    evidence["memory_mb"] = memory_figures()
    show("resident memory of a learning process", evidence["memory_mb"], "MB")
    evidence["inference_p99_ms"] = beside_inference()
    show("p99 of an inference", evidence["inference_p99_ms"], "ms")
    evidence["goals"] = goals(evidence)
    print("\ngoals at D=1280, K=10")
    for name, (value, bound, met) in evidence["goals"].items():
        print(f"  {name:60s} {value:8.2f}  (goal {bound})  {'met' if met else 'NOT MET'}")
    evidence["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    write_evidence("bench-heads", evidence)
    return 0


def goals(evidence: dict) -> dict[str, tuple[float, str, bool]]:
    learn, refresh = evidence["learn_us"]["D=1280 K=10"], evidence["refresh_ms"]["D=1280 K=10"]
    ours, result = learn["edgetl statistics (exact)"], {}

    def at_most(name: str, value: float, bound: float) -> None:
        result[name] = (value, f"at most {bound:g}", value <= bound)

    def at_least(name: str, peer: str, bound: float) -> None:
        if peer in learn:
            result[name] = (learn[peer] / ours, f"at least {bound:g}", learn[peer] / ours >= bound)

    at_most("exact learning / blocked Gram update", ours / learn["limit: blocked Gram update, float64"], 2)
    at_least("times faster than torch", "torch nn.Linear, Adam", 5)
    at_least("times faster than scikit-learn", "scikit-learn SGDClassifier.partial_fit", 50)
    at_least("times faster than river", "river SoftmaxRegression (with its dict)", 100)
    at_most("exact learning, us; onnxruntime-training 36, LiteRT 23", ours, 36)
    limit = refresh.get("limit: scipy cho_factor and cho_solve, float64")
    if limit:
        at_most("refresh of slda / SciPy's Cholesky solve", refresh["edgetl slda, source and learnt"] / limit, 2)
    at_most("resident memory of a learning process, MB", evidence["memory_mb"]["and a refresh of slda"], 120)
    at_most("p99 of inference beside learning / alone", evidence["inference_p99_ms"]["ratio"], 1.5)
    return result


if __name__ == "__main__":
    sys.exit(main())
