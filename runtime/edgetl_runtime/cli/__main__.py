"""`python -m edgetl_runtime.cli`."""

from __future__ import annotations

import sys

from edgetl_runtime.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
