"""Opening the state that a command names, with the options that every command takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional, Union

from edgetl_runtime.engines import BuildProgress
from edgetl_runtime.opening import open_session
from edgetl_runtime.session import Session

__all__ = ["open_state"]


def open_state(
    args: argparse.Namespace,
    bundle: Union[str, Path, None] = None,
    *,
    read_only: bool = False,
    build: str = "never",
    progress: Optional[BuildProgress] = None,
) -> Session:
    """A session on `args.state`. A command that ends soon builds no engine for minutes: `install` did, or will."""
    return open_session(
        bundle,
        args.state,
        allow_unsigned=args.allow_unsigned,
        engine=args.engine,
        variant=args.variant,
        build=build,
        progress=progress,
        read_only=read_only,
    )
