"""Opening the state that a command names, with the options that every command takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Optional, Union

from edgetl_runtime.arguments import whole
from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.guard import POLICIES
from edgetl_runtime.opening import open_session
from edgetl_runtime.session import Session

__all__ = ["add_keep_raw", "add_policy", "open_state"]

_RAW_MB = 64


def add_policy(parser: argparse.ArgumentParser) -> None:
    """The option of the commands that may move the live head."""
    risks = " ".join(f"{name}: {policy.risk}" for name, policy in POLICIES.items())
    parser.add_argument(
        "--policy", choices=sorted(POLICIES), default="guarded",
        help=f"what of the learnt goes live (default: %(default)s). {risks}".replace("% ", "%% "),
    )  # fmt: skip


def add_keep_raw(parser: argparse.ArgumentParser) -> None:
    """The option of the commands that learn."""
    parser.add_argument(
        "--keep-raw", type=whole(0, 1 << 20), nargs="?", const=_RAW_MB, default=0, metavar="MB",
        help="keep the newest learnt samples themselves beside their features, up to so many megabytes (default"
        f" {_RAW_MB}), so that an update with another extractor can learn them again; off unless asked for",
    )  # fmt: skip


def open_state(
    args: argparse.Namespace,
    bundle: Union[str, Path, None] = None,
    *,
    read_only: bool = False,
    build: str = "never",
    progress: Optional[BuildProgress] = None,
    **options: Any,
) -> Session:
    """A session on `args.state`. A command that ends soon builds no engine for minutes: `install` did, or will.

    `options` are those of `open_session`.
    """
    return open_session(
        bundle,
        args.state,
        allow_unsigned=args.allow_unsigned,
        engine=args.engine,
        variant=args.variant,
        policy=getattr(args, "policy", "guarded"),
        keep_raw_bytes=1_000_000 * max(0, getattr(args, "keep_raw", 0)),
        build=build,
        progress=progress,
        read_only=read_only,
        **options,
    )
