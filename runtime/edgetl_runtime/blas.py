"""How many threads NumPy's matrix products take, in this process.

Beside an engine with threads of its own, more than one makes learning 20 times slower and inference 6 times, because
OpenBLAS waits by spinning. A program's environment (`ENVIRONMENT`; the commands set it) decides as NumPy is first
imported; this decides afterwards, for the OpenBLAS that NumPy's wheels bring. Any other library (MKL, BLIS, a
distribution's) takes the environment, or threadpoolctl, only.
"""

from __future__ import annotations

import ctypes
import logging
import re
from pathlib import Path
from typing import List

__all__ = ["ENVIRONMENT", "blas_threads", "limit_blas_threads"]

logger = logging.getLogger(__name__)

# What each BLAS that NumPy may be built on reads as it loads, before OMP_NUM_THREADS, which is read by others too.
ENVIRONMENT = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
_LIBRARY = re.compile(r"\S+/lib[\w.-]*openblas[\w.-]*\.so[\w.-]*$")
# NumPy's wheels rename the functions: 2.x and 1.26 the first, before them the second; a distribution's own the last.
_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads64_",
          "openblas_{}_num_threads")  # fmt: skip


def limit_blas_threads(count: int) -> bool:
    """Let every OpenBLAS in this process use that many threads; False where there is none to tell."""
    functions = _functions("set")
    for function in functions:
        function.restype = None
        function(ctypes.c_int(count))
    if not functions:
        logger.debug("NumPy has no OpenBLAS here: set %s before Python starts", " or ".join(ENVIRONMENT))
    return bool(functions)


def blas_threads() -> List[int]:
    """How many threads each OpenBLAS in this process uses; empty where there is none."""
    functions = _functions("get")
    for function in functions:
        function.restype = ctypes.c_int
    return [int(function()) for function in functions]


def _functions(verb: str) -> List[ctypes._NamedFuncPointer]:
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for path in sorted({match[0] for match in map(_LIBRARY.search, lines) if match}):
        try:
            library = ctypes.CDLL(path)  # it is loaded already: this is a handle to it
        except OSError:
            continue
        for name in _NAMES:
            if hasattr(library, name.format(verb)):
                found.append(getattr(library, name.format(verb)))
                break
    return found
