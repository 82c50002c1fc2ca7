"""What runs on the device of the demo: a plain script, in a Python without torch.

    python device.py BUNDLE STATE DATA

It says all it does on stdout, one JSON object a line. It may be killed at any point: started again, it finds
in its own state how far it had come, and goes on. DATA holds test_frames.npy, test_labels.npy,
learn_frames.npy, learn_labels.npy and plan.json ({"stages": [1, 5, 10], "classes": [...]}).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

started = time.perf_counter()

import edgetl_runtime as rt  # noqa: E402
import numpy as np  # noqa: E402
from edgetl_runtime.board import peak_rss_bytes  # noqa: E402

__all__ = ["main"]


def main(bundle: str, state: str, data: str) -> None:
    """Install, meet the new domain, learn it label by label, and measure after every stage."""
    logging.disable(logging.WARNING)  # that the demo's bundle is unsigned is meant
    folder = Path(data)
    frames, truth = np.load(folder / "test_frames.npy"), np.load(folder / "test_labels.npy")
    shown, labels = np.load(folder / "learn_frames.npy"), np.load(folder / "learn_labels.npy")
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    classes: List[str] = plan["classes"]
    stages = [count * len(classes) for count in plan["stages"]]

    # The curve is of what was learnt, so all of it is live at once; a robot would leave that to the guard.
    with rt.open(bundle, state_dir=state, allow_unsigned=True, policy="immediate") as session:
        kept = [sample.id for sample in session.samples()]
        _say("opened", kept=kept, seconds=time.perf_counter() - started)
        if len(kept) in (0, *stages):
            # Nobody may have heard what was measured here before.
            _measure(session, frames, truth, classes, len(kept) // len(classes))
        learn_ms: List[float] = []
        for number in range(len(kept), len(labels)):
            label = classes[labels[number]]
            begin = time.perf_counter()
            sample_id = session.learn(shown[number], label)
            learn_ms.append((time.perf_counter() - begin) * 1e3)
            # Durable by now: whoever reads this line may pull the plug.
            _say("learnt", id=sample_id, number=number)
            if number + 1 in stages:
                _measure(session, frames, truth, classes, (number + 1) // len(classes))
        status = session.status()
        _say(
            "done",
            python=platform.python_version(),
            kept=[sample.id for sample in session.samples()],
            learnt_samples=status["learnt_samples"],
            generation=status["generation"],
            engine=status["engine"],
            learn_ms=learn_ms,
            state_bytes=sum(path.stat().st_size for path in Path(state).glob("state.sqlite*")),
            torch="torch" in sys.modules or importlib.util.find_spec("torch") is not None,
            packages=_packages(),
            peak_rss_bytes=peak_rss_bytes(),
            seconds=time.perf_counter() - started,
        )


def _measure(session: Any, frames: Any, truth: Any, classes: List[str], stage: int) -> None:
    """Answers on the test half, and where the time of one answer goes (medians over its frames)."""
    begin = time.perf_counter()
    session.predict(frames[0])
    first_ms = (time.perf_counter() - begin) * 1e3
    said: List[int] = []
    spent: Dict[str, List[float]] = {"preprocess": [], "extract": [], "head": []}
    for frame in frames:
        start = time.perf_counter()
        session.preprocess(frame)
        prepared = time.perf_counter()
        session.features(frame)
        extracted = time.perf_counter()
        said.append(classes.index(session.predict(frame).label))
        answered = time.perf_counter()
        # Each call does the work of the one before it once more.
        preprocess_s, features_s, predict_s = prepared - start, extracted - prepared, answered - extracted
        spent["preprocess"].append(preprocess_s * 1e3)
        spent["extract"].append((features_s - preprocess_s) * 1e3)
        spent["head"].append((predict_s - features_s) * 1e3)
    _say(
        "measured",
        stage=stage,
        accuracy=float(np.mean(np.array(said) == truth)),
        said=said,
        first_ms=first_ms,
        latency_ms={name: statistics.median(values) for name, values in spent.items()},
    )


def _packages() -> List[str]:
    """Top-level modules in memory that come from site-packages: the whole of what the device needs."""
    found = set()
    for name, module in list(sys.modules.items()):
        if "site-packages" in (getattr(module, "__file__", None) or "") and not name.startswith("_"):
            found.add(name.partition(".")[0])
    return sorted(found)


def _say(event: str, **fields: Any) -> None:
    """One line on stdout, out of this process when it returns."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4])
