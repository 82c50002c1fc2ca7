"""`python -m edgetl.cli`."""

from __future__ import annotations

import sys

from edgetl.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
