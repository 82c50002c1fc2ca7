"""`make report`: the page of a build from real photographs, from real motion and of numbers, in a real browser.

Photographs of twelve vegetables, twelve each, with real ImageNet weights: choose, a short fine-tuning (that of an
earlier run is used again) and a build in INT8, all by command; motion of phones, and steering of a car for a Jetson, by
the library. Each page is opened at the width of a phone and of a desktop, light and dark: does it scroll sideways, does
the console complain, does it ask the network for anything, is it below 5 MB? Pages and pictures of them lie in
build/report, to be looked at. `python -m benchmarks.report PAGE ...` only opens these pages, and builds none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import edgetl
from benchmarks.browser import Browser, find_chromium
from benchmarks.evidence import ROOT, data_folder, write_evidence
from benchmarks.series import spsw
from edgetl.tuning import tune
from edgetl.tuning.record import record_of

FOLDER = ROOT / "build" / "report"
CLASSES, A_CLASS, EPOCHS, EVERY = 12, 12, 2, 4
WIDTHS = (390, 1280)
LARGEST = 5_000_000
WEIGHTS = "models/mobilenet_v2_torchvision_fp16.safetensors"
SMALL = "models/derived_onnx/mobilenet_v1_0.25_128_fp32.onnx"


def main() -> int:
    command = find_chromium()
    if command is None:
        raise SystemExit("no Chromium on PATH to open the pages in: install one (Debian: apt install chromium)")
    began = time.perf_counter()
    pages = [Path(name) for name in sys.argv[1:]]
    if not pages:
        data = data_folder()
        FOLDER.mkdir(parents=True, exist_ok=True)
        pages = [motion(), drive(data), *photographs(data)]
    built_s = time.perf_counter() - began
    with Browser(command) as browser:
        rows = [opened(browser, page) for page in pages]
    print(f"\n| {'page':<14} | {'kB':>6} | sections | sideways px at {WIDTHS[0]} / {WIDTHS[1]} | console | requests |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        overflow = " / ".join(str(row["overflow_px"][str(width)]) for width in WIDTHS)
        print(
            f"| {row['page']:<14} | {row['bytes'] / 1000:>6.0f} | {len(row['headings'])} | {overflow}"
            f" | {len(row['console'])} | {len(row['requests'])} |"
        )
    failed = [row["page"] for row in rows if not row["holds"]]
    print(f"built in {built_s:.0f} s; {'all hold' if not failed else 'NOT: ' + ', '.join(failed)}")
    if len(sys.argv) == 1:
        path = write_evidence("report", {"pages": rows, "largest_bytes": LARGEST, "built_s": built_s})
        print(f"{path.relative_to(ROOT)}; the pages and pictures of them lie in {FOLDER.relative_to(ROOT)}")
    return 1 if failed else 0


def photographs(data: Path) -> list[Path]:
    """Choose, fine-tune and build by the commands of the host, on a few photographs a class."""
    photos, source = FOLDER / "photos", data / "grocery_fruitveg" / "train" / "Vegetables"
    for folder in sorted({path.parent for path in source.rglob("*.jpg")})[:CLASSES]:
        for path in sorted(folder.glob("*.jpg"))[:A_CLASS]:
            target = photos / folder.relative_to(source) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.symlink_to(path.resolve())
    network = ("--backbone", "torchvision/mobilenet_v2", "--mean", "127.5", "--scale", str(1 / 127.5))
    choice, tuned, bundle = FOLDER / "choice.json", FOLDER / "tuned.safetensors", FOLDER / "shop.edgetl"
    names = (f"torchvision/mobilenet_v2={data / WEIGHTS}", f"onnx:{data / SMALL}#features")
    ranked = ("choose", "--data", str(photos), "--samples", "60", "--out", str(FOLDER / "choice.html"), *names)
    choice.write_text(run(*ranked, "--json"), encoding="utf-8")
    if not tuned.exists():
        run(
            "finetune", *network, "--weights", str(data / WEIGHTS), "--data", str(photos), "--recipe", "last-blocks",
            "--epochs", str(EPOCHS), "--out", str(tuned),
        )  # fmt: skip
    built = run(
        "build", *network, "--weights", str(tuned), "--data", str(photos), "--choice", str(choice), "--json",
        "--device", "x86-openvino", "--precision", "int8", "--out", str(bundle),
    )  # fmt: skip
    return [Path(json.loads(built)["report"]), FOLDER / "choice.html"]


def motion() -> Path:
    """Windows of phones at persons 1 to 7: a small network from scratch, whole persons held out."""
    shift = spsw("sp")
    data = edgetl.dataset(shift.parts[0], window=shift.window)
    tuned = tune(edgetl.extractor(shift.network, data=data, turn=shift.turn), data, "scratch", epochs=8)
    result = edgetl.build(tuned.extractor, data, out=FOLDER / "motion.edgetl")
    return edgetl.write_report(result, data, tuning=record_of(tuned))


def drive(data: Path) -> Path:
    """Steering and throttle from every fourth frame of a real drive, the last fifth of it held out."""
    tub = data / "donkey_tub"
    records = [json.loads(line) for line in (tub / "catalog_0.catalog").read_text().splitlines()][::EVERY]
    table = FOLDER / "drive.csv"
    rows = [f"{tub / 'images' / one['cam/image_array']},{one['user/angle']},{one['user/throttle']}" for one in records]
    table.write_text("\n".join(["path,angle,throttle", *rows]), encoding="utf-8")
    samples = edgetl.dataset(table, targets=["angle", "throttle"])
    extractor = edgetl.extractor(f"onnx:{data / SMALL}", output="features", mean=127.5, scale=1 / 127.5)
    result = edgetl.build(extractor, samples, out=FOLDER / "drive.edgetl", devices=["jetson-orin-nano"])
    return edgetl.write_report(result, samples)


def run(*arguments: str) -> str:
    print("$ edgetl", " ".join(arguments[:1]), "...", flush=True)
    script = Path(sys.executable).with_name("edgetl")
    return subprocess.run([str(script), *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def opened(browser: Browser, page: Path) -> dict[str, Any]:
    """What the browser says of a page at each width; a picture of each in light, and of the wide one in dark."""
    shown = [browser.show(page, width, page.with_name(f"{page.stem}-{width}.png")) for width in WIDTHS]
    shown.append(browser.show(page, WIDTHS[-1], page.with_name(f"{page.stem}-dark.png"), dark=True))
    console, requests = _all(one.console for one in shown), _all(one.requests for one in shown)
    overflow = {str(one.width): one.overflow_px for one in shown}
    wide = _all(one.wide for one in shown)
    size = page.stat().st_size
    return {
        "page": page.name, "bytes": size, "overflow_px": overflow, "wide": wide, "console": console,
        "requests": requests, "headings": list(shown[0].headings),
        "holds": size < LARGEST and not (any(overflow.values()) or wide or console or requests),
    }  # fmt: skip


def _all(parts: Any) -> list[str]:
    found: list[str] = []
    for part in parts:
        rows: Sequence[str] = part
        found += rows
    return found


if __name__ == "__main__":
    sys.exit(main())
