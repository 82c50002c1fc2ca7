"""`make data-check`: shop photographs with planted faults, and what `edgetl data check` finds of them.

Planted into the authors' training photographs: 5 % wrong labels; copies of 10 % of the photographs in the other split
(the same bytes, saved again as JPEG, half the size); one drive of a camera on a car, 60 frames at random on both sides;
one class of three samples; three damaged files. The photographs as they are, without anything planted, are checked too:
what is named there are false alarms, or faults that the set already has. Then a CSV of a million rows.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import edgetl
from benchmarks.evidence import ROOT, data_folder, write_evidence
from edgetl.checking import CheckResult, check_data, check_page

SAVED = (
    "same bytes", "saved again, quality 60", "half the size", "half the size, quality 50", "cropped by 2 %", "mirrored"
)  # fmt: skip
ROWS = (10_000, 100_000, 1_000_000)


def main() -> int:
    data = data_folder()
    (ROOT / "build").mkdir(exist_ok=True)
    out = ROOT / "build" / "data-check"
    out.mkdir(exist_ok=True)
    network = edgetl.extractor(
        f"onnx:{data}/models/derived_onnx/mobilenet_v2_1.0_224_fp32.onnx",
        output="features", mean=127.5, scale=1 / 127.5,
    )  # fmt: skip
    figures: dict[str, Any] = {"faults": [], "clean": {}}
    with tempfile.TemporaryDirectory(prefix="data-check-", dir=ROOT / "build") as work:
        folder = Path(work)
        truth = plant(data, folder)
        for name, extractor in (("pixels only", None), ("MobileNetV2", network)):
            print(f"checking the planted set, {name} ...", flush=True)
            result = check_data(
                edgetl.dataset(folder / "planted.csv", split="domain:split=held out", verify=False),
                extractor=extractor, device_data=folder / "device",
            )  # fmt: skip
            (out / f"{name.split()[0]}.html").write_text(check_page(result), encoding="utf-8")
            figures["faults"] += judged(name, result, truth, extractor is not None)
            figures[f"seconds {name}"] = result.seconds
            figures[f"device {name}"] = [f.summary for f in result.findings if f.kind.startswith("device")]
        print("checking the set as it is ...", flush=True)
        clean = check_data(control(data, folder), extractor=network, device_data=folder / "alike")
        (out / "clean.html").write_text(check_page(clean), encoding="utf-8")
        figures["clean"] = alarms(clean)
        figures["device control"] = [f"{f.kind}: {f.summary}" for f in clean.findings if f.kind.startswith("device")]
        print("reading long tables ...", flush=True)
        figures["rows"] = [million(folder, rows) for rows in ROWS]
    report(figures)
    print(write_evidence("data-check", figures).relative_to(ROOT))
    return 0


def plant(data: Path, folder: Path) -> dict[str, Any]:
    """The planted set as a CSV of path, label and split, and what was planted where."""
    rng = np.random.default_rng(0)
    shop = data / "grocery_fruitveg" / "train"
    paths = sorted(shop.rglob("*.jpg"))
    labels = [path.parent.relative_to(shop).as_posix() for path in paths]
    classes = sorted(set(labels))
    order = rng.permutation(len(paths))
    wrong = set(order[: round(0.05 * len(paths))].tolist())
    copied = order[len(wrong) : len(wrong) + round(0.1 * len(paths))].tolist()
    held = set(rng.permutation(len(paths))[: round(0.2 * len(paths))].tolist())
    few = classes[0]
    spare = [i for i, label in enumerate(labels) if label == few and i not in wrong and i not in copied]
    gone = {i for i, label in enumerate(labels) if label == few} - set(spare[:3])
    held -= set(spare[:3])
    rows, truth = [], {"wrong": {}, "copies": {}, "drive": set(), "few": few, "damaged": set()}
    for i, (path, label) in enumerate(zip(paths, labels, strict=True)):
        if i in gone:
            continue
        said = label
        if i in wrong:
            said = str(rng.choice([other for other in classes if other not in (label, few)]))
            truth["wrong"][str(path)] = label
        rows.append((str(path), said, "held out" if i in held else "training"))
    names = {path for path, _, _ in rows}
    (folder / "copies").mkdir()
    for number, i in enumerate(i for i in copied if str(paths[i]) in names):
        how = SAVED[number % len(SAVED)]
        target = folder / "copies" / f"{rng.integers(1 << 40):x}.jpg"
        save(paths[i], target, how)
        rows.append((str(target), labels[i], "training" if i in held else "held out"))
        truth["copies"][frozenset((str(paths[i]), str(target)))] = how
    frames = sorted((data / "donkey_tub" / "images").glob("*.jpg"), key=lambda path: int(path.name.split("_")[0]))
    for path in frames[200:260]:
        rows.append((str(path), "Track", "held out" if rng.random() < 0.2 else "training"))
        truth["drive"].add(str(path))
    for number in range(3):
        target = folder / f"damaged {number}.jpg"
        target.write_bytes(paths[number].read_bytes()[: 2000 * number])
        rows.append((str(target), labels[number], "training"))
        truth["damaged"].add(str(target))
    with (folder / "planted.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    # What the device sees: photographs of the same classes by other people on other days, darkened by half.
    (folder / "device").mkdir()
    for number, path in enumerate(sorted((data / "grocery_fruitveg" / "test").rglob("*.jpg"))[::8]):
        target = folder / "device" / path.parent.name / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        dark = Image.open(path).convert("RGB").point([v // 2 for v in range(256)] * 3)
        dark.save(target)
    truth["samples"] = len(rows)
    return truth


def control(data: Path, folder: Path) -> edgetl.Dataset:
    """The photographs but 200, which are the control: a device that sees what the data shows."""
    shop = data / "grocery_fruitveg" / "train"
    paths = sorted(shop.rglob("*.jpg"))
    device = set(np.random.default_rng(1).permutation(len(paths))[:200].tolist())
    for i in device:
        target = folder / "alike" / paths[i].parent.name / paths[i].name
        target.parent.mkdir(exist_ok=True, parents=True)
        target.symlink_to(paths[i])
    with (folder / "control.csv").open("w", newline="") as file:
        rows = [(path, path.parent.relative_to(shop).as_posix()) for i, path in enumerate(paths) if i not in device]
        csv.writer(file).writerows([("path", "label"), *rows])
    return edgetl.dataset(folder / "control.csv", verify=False)


def save(source: Path, target: Path, how: str) -> None:
    if how == "same bytes":
        shutil.copy(source, target)
        return
    image = Image.open(source).convert("RGB")
    if "half" in how:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    if "cropped" in how:
        x, y = image.width * 0.02, image.height * 0.02
        image = image.crop((round(x), round(y), round(image.width - x), round(image.height - y)))
    if how == "mirrored":
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image.save(target, "JPEG", quality=int(how.split()[-1]) if "quality" in how else 90)


def judged(name: str, result: CheckResult, truth: dict[str, Any], features: bool) -> list[dict[str, Any]]:
    """Found, missed and false alarms of each kind of fault."""
    rows = []
    pairs = [
        {frozenset((a, b)) for a in names for b in names if a != b}
        for names in ([str(Path(m.name)) for m in group.members] for group in result.copies)
        if not set(names) & truth["drive"]
    ]
    linked = set().union(*pairs) if pairs else set()
    for how in SAVED:
        planted = {pair for pair, said in truth["copies"].items() if said == how}
        rows.append(row(name, f"copies across splits: {how}", len(planted), len(planted & linked), 0))
    false = sum(1 for group in pairs if not group & set(truth["copies"]))
    rows.append(row(name, "groups of copies that were not planted", 0, 0, false))
    if features:
        said = {suspect.sample.name for suspect in result.suspects}
        wrong = set(truth["wrong"])
        rows.append(row(name, "wrong labels", len(wrong), len(wrong & said), len(said - wrong)))
    runs = [run for run in result.sequences if run.torn]
    drive = [run for run in runs if run.first.name in truth["drive"]]
    rows.append(row(name, "leaking sequence", 1, len(drive), len(runs) - len(drive)))
    small = [c.label for c in result.classes if c.few]
    rows.append(row(name, "class of 3", 1, int(truth["few"] in small), len(set(small) - {truth["few"]})))
    damaged = {path for path, _ in result.unreadable}
    rows.append(row(name, "damaged files", 3, len(damaged & truth["damaged"]), len(damaged - truth["damaged"])))
    return rows


def row(check: str, fault: str, planted: int, found: int, false: int) -> dict[str, Any]:
    return {
        "check": check, "fault": fault, "planted": planted, "found": found, "missed": planted - found, "false": false
    }  # fmt: skip


def alarms(result: CheckResult) -> dict[str, Any]:
    return {
        "samples": result.samples,
        "copies": [[member.name for member in group.members] for group in result.copies],
        "suspects": [[s.sample.name, s.sample.label, s.likelier, s.posterior] for s in result.suspects],
        "sequences": [[run.name, run.samples, run.neighbourly, run.torn] for run in result.sequences],
        "seconds": result.seconds,
    }


def million(folder: Path, rows: int) -> dict[str, Any]:
    """Opening and splitting a CSV of that many rows in a process of its own: seconds and peak memory."""
    path = folder / f"{rows}.csv"
    (folder / "tiny").mkdir(exist_ok=True)
    pictures = [folder / "tiny" / f"{i:04}.png" for i in range(1000)]
    rng = np.random.default_rng(0)
    for picture in pictures:
        if not picture.exists():
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(picture)
    with path.open("w") as file:
        file.write("path,label,drive\n")
        for i in range(rows):
            file.write(f"tiny/../tiny/../tiny/{i % 1000:04}.png,class {i % 37},drive {i // 500}\n")
    script = (
        "import sys, json, time, edgetl\n"
        # Not ru_maxrss, which a process takes over from the one that started it.
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024\n"
        "from edgetl.data import dataset\n"
        "before, start = peak(), time.perf_counter()\n"
        "data = dataset(sys.argv[1], split='group:drive', verify=False)\n"
        "opened = time.perf_counter() - start\n"
        "held = len(data.held_out)\n"
        "split = peak(), time.perf_counter() - start\n"
        "print(json.dumps(dict(rows=len(data), held_out=held, before_mb=before, peak_mb=split[0], opened_s=opened,"
        " split_s=split[1])))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    path.unlink()
    return figures


def report(figures: dict[str, Any]) -> None:
    print("\n| check | fault | planted | found | missed | false alarms |\n|---|---|---:|---:|---:|---:|")
    for one in figures["faults"]:
        cells = [one[name] for name in ("check", "fault", "planted", "found", "missed", "false")]
        print("| " + " | ".join(map(str, cells)) + " |")
    clean = figures["clean"]
    print(
        f"\nnothing planted, {clean['samples']} photographs: {len(clean['copies'])} groups of copies,"
        f" {len(clean['suspects'])} labels, {len(clean['sequences'])} sequences"
    )
    for name in ("device pixels only", "device MobileNetV2", "device control"):
        print(f"{name}: {'; '.join(figures[name]) or 'nothing'}")
    for one in figures["rows"]:
        more = one["peak_mb"] - one["before_mb"]
        print(
            f"CSV of {one['rows']:,} rows: opened and split in {one['split_s']:.1f} s, {more:.0f} MB more at the peak"
            f" ({more * 1e6 / one['rows']:.0f} bytes a row)"
        )


if __name__ == "__main__":
    sys.exit(main())
