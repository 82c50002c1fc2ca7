"""`edgetl-runtime ask`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any, Dict

from edgetl_runtime.arguments import MOST_WHOLE, whole
from edgetl_runtime.cli.sessions import add_policy, open_state

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = (
    "edgetl-runtime ask --state state/\n"
    "  edgetl-runtime ask --question 3 --label kestrel --state state/     (one label teaches all samples of a question)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of this command."""
    left = "at most N new questions (default: what is left today)"
    parser.add_argument("--most", type=whole(), metavar="N", help=left)
    answered = "the question to answer, with --label"
    parser.add_argument("--question", type=whole(0, MOST_WHOLE), metavar="NUMBER", help=answered)
    parser.add_argument("--label", help="what its samples are")
    add_policy(parser)


def run(args: argparse.Namespace) -> int:
    """Print what is worth asking a person, or take an answer."""
    if (args.question is None) != (args.label is None):
        raise SystemExit("edgetl-runtime ask: --question and --label belong together")
    with open_state(args) as session:
        if args.question is not None:
            ids = session.answer(args.question, args.label)
            told: Dict[str, Any] = {"learnt": ids, "generation": session.status()["generation"]}
        else:
            told = {"questions": [asdict(one) for one in session.questions(args.most)]}
    if args.json:
        print(json.dumps(told))
    elif args.question is not None:
        samples = "1 sample" if len(told["learnt"]) == 1 else f"{len(told['learnt'])} samples"
        print(f"learnt {samples} as {args.label}; generation {told['generation']}")
    elif not told["questions"]:
        print("nothing to ask: nothing was observed, or today's questions are used up")
    for one in told.get("questions", []) if not args.json else []:
        guesses = ", ".join(f"{label} {100 * share:.0f} %" for label, share in one["guesses"])
        print(f"question {one['number']}  {one['words']}")
        print(f"  input{'s' if len(one['observed']) > 1 else ''} {_numbers(one['observed'])}; the live head: {guesses}")
    return 0


def _numbers(numbers: Any) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")

