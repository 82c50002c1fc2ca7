"""`edgetl-runtime drift`."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from edgetl_runtime.arguments import number, whole
from edgetl_runtime.cli.progress import shown_count
from edgetl_runtime.cli.sessions import open_state
from edgetl_runtime.errors import SampleError, SourceError
from edgetl_runtime.live import inputs_of
from edgetl_runtime.observing import ObservePolicy
from edgetl_runtime.session import Session
from edgetl_runtime.sources import Uri, open_source

__all__ = ["EXAMPLE", "add_arguments", "run"]

logger = logging.getLogger(__name__)

EXAMPLE = (
    "edgetl-runtime drift --state state/     (what `run` has seen)\n"
    "  edgetl-runtime drift day.mcap --state state/ --json > day.json && edgetl drift day.json --out day.html\n"
    "  edgetl-runtime drift 'dir://shop/test?labels=yes' --gap 0 --state state/"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument(
        "recording", nargs="?", metavar="RECORDING",
        help="a recording, a folder of images, or the address of either (default: what this state has observed)",
    )  # fmt: skip
    parser.add_argument("--gap", type=number(), default=1.0, metavar="S", help="keep one in S seconds (default 1)")
    parser.add_argument("--every", type=whole(), default=32, metavar="N", help="look after N samples (default 32)")
    parser.add_argument(
        "--judge-every", type=whole(), default=5, metavar="N",
        help="of a recording with labels, let every N-th judge the adapters (default 5)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Say what the samples without labels show; nothing is learnt or stored."""
    with open_state(args, read_only=True) as session:
        found = session.drift() if args.recording is None else _recorded(session, args)
    if args.json:
        print(json.dumps(found))
    else:
        print("\n".join(_lines(found)))
    return 0


def _recorded(session: Session, args: argparse.Namespace) -> Dict[str, Any]:
    address = _address(args.recording)
    samples: List[Any] = []
    stamps: List[float] = []
    labels: List[Optional[str]] = []
    unusable, kept_s = 0, float("-inf")
    with open_source(address) as source, shown_count("samples ...") as tell:
        if source.about.live:
            raise SourceError(f"{source.about.name} is live: `edgetl-runtime run` observes it; or record it first")
        cut = inputs_of(source.about, session.takes)
        while True:
            batch = source.read()
            if batch is None:
                break
            for item in cut(batch):
                if item.doubt or item.stamp_s - kept_s < args.gap:
                    continue
                try:
                    samples.append(session.features(item.data))
                except SampleError as error:
                    unusable += 1
                    logger.debug("input %d cannot be used: %s", item.number, error)
                    continue
                kept_s = item.stamp_s
                tell(len(samples))
                stamps.append(item.stamp_s)
                labels.append(item.label)
    policy = ObservePolicy(gap_s=0.0, look_every=args.every)
    found = session.rehearse(samples, stamps, labels, policy, args.judge_every)
    return {"recording": address, "bundle": session.status()["bundle"]["name"], "unusable": unusable, **found}


def _address(text: str) -> str:
    if "://" in text:
        return text
    path = Path(text)
    if path.is_dir():
        return Uri.of_path(text) + ("?labels=yes" if any(one.is_dir() for one in path.iterdir()) else "")
    return text


def _lines(found: Dict[str, Any]) -> List[str]:
    lines = [f"drift       {found['kind']}: {found['words']}"]
    if found["why"]:
        lines.append(f"why         {found['why']}")
    if "kept" in found:
        lines.append(f"seen        {found['seen']} samples without labels, {found['kept']} kept")
    else:
        lines.append(f"seen        {found['samples']} samples, {found['labelled']} with labels")
    if found["follows"]:
        lines.append(f"live head   follows by {found['follows']}")
    for name, outcome in found.get("tests", {}).items():
        lines.append(f"  {name:<22}p {outcome['p_value']:.3g}")
    lines += [_step(step) for step in found.get("steps", [])]
    for one in found.get("decisions", []):
        who = f" {one['adapter']}" if one["adapter"] else ""
        lines.append(f"at {one['samples']:<8} {one['decision']}{who}: {one['reason']}")
    for one in found["challengers"]:
        lines.append(
            f"challenger  {one['adapter']}: changes {100 * one['changes']:.0f} % of the answers; judged by"
            f" {one['judged']} labels, {one['ahead']:.0f} turn right, {one['behind']:.0f} turn wrong"
        )
    lines += [f"refused     {name}: {why}" for name, why in found["refused"].items()]
    if found["verdict"]:
        lines.append(f"guard       {found['verdict']['decision']}: {found['verdict']['reason']}")
    questions: Dict[str, Any] = found.get("questions", {})
    if questions.get("left_today"):
        lines.append(f"questions   {questions['left_today']} may be asked today: edgetl-runtime ask")
    return lines


def _step(step: Dict[str, Any]) -> str:
    shares: List[Tuple[str, float]] = sorted(step["right"].items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares if name != "guard")
    return f"  up to {step['samples']:<6}{step['kind']:<17}" + (f"right: {told}" if told else "")
