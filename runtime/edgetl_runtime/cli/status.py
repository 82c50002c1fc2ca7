"""`edgetl-runtime status`."""

from __future__ import annotations

import argparse
import json

from edgetl_runtime.cli.sessions import open_state

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "edgetl-runtime status --state state/ --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    parser.add_argument("--samples", action="store_true", help="list every learnt sample, with its id")


def run(args: argparse.Namespace) -> int:
    """Print the status; reading beside a process that learns is fine."""
    with open_state(args, read_only=True) as session:
        status = session.status()
        samples = session.samples() if args.samples else []
    if args.json:
        if args.samples:
            status["samples"] = [sample.__dict__ for sample in samples]
        print(json.dumps(status))
        return 0
    bundle = status["bundle"]
    print(
        f"bundle      {bundle['name']} ({bundle['id'][:12]}), sequence {bundle['sequence']},"
        f" {_signature(bundle['signed_by'])}"
    )
    if not bundle["confirmed"]:
        print("trial       no answer yet; after 3 failed starts the bundle before it serves")
    print(f"engine      {status['variant']} in {status['engine']}, {status['dim']} features, head {status['head']}")
    for words in status["engines_refused"]:
        print(f"not used    {words}")
    if status["variant_held"]:
        print(f"variant     {status['variant_held']}")
    print(f"generation  {status['generation']}, {status['learnt_samples']} samples learnt here, {status['policy']}")
    print(f"live        {status['live_head']}")
    if status["waiting_samples"] or status["guard_samples"]:
        waiting, held = status["waiting_samples"], status["guard_samples"]
        print(f"candidate   {waiting} samples are not live yet, {held} are kept to judge heads")
    if status["kept_samples"]:
        print(f"kept        {status['kept_samples']} samples themselves, for an update with another extractor")
    kept = ", ".join(str(number) for number in status["generations"])
    print(f"go back to  {kept} (0 is the factory head)")
    if status["recovered"]:
        print(f"recovered   {status['recovered']}")
    if status["unconfirmed_starts"]:
        print(f"starts      {status['unconfirmed_starts']} without an answer yet; after 3 the factory head serves")
    quota = status["quota"]
    print(f"state       {quota['used_bytes'] / 1e6:.1f} MB of {quota['bytes'] / 1e6:.0f} MB")
    if status["quarantined"]:
        print(f"damaged     {status['quarantined']} stored samples did not match their hash and are not used")
    if status["kept_aside"]:
        print(f"damaged     the state file was; kept aside as {', '.join(status['kept_aside'])}")
    for output in status["outputs"]:
        low, high = ("" if output[side] is None else f"{output[side]:g}" for side in ("low", "high"))
        unit = f" {output['unit']}" if output["unit"] else ""
        print(f"  {output['name']:<30} {low}..{high}{unit}" if low or high else f"  {output['name']:<30}{unit}")
    for label, counts in status["classes"].items():
        print(f"  {label:<30} {counts['source']:>6} at the host {counts['learnt']:>6} here")
    for sample in samples:
        print(f"  sample {sample.id}: {sample.label}" + (f" from {sample.source}" if sample.source else ""))
    return 0


def _signature(signed_by: object) -> str:
    return "NOT SIGNED (allowed on purpose)" if signed_by is None else f"signed by {signed_by}"
