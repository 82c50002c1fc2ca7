"""What TensorRT says goes to logging, never to the standard output, where its own logger would print it."""

from __future__ import annotations

import logging
from typing import Any, List

__all__ = ["listen"]

logger = logging.getLogger(__name__)


def listen(trt: Any) -> Any:
    """A logger for a builder, parser or runtime of the module `trt`; its `errors` are what went wrong, in order."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: List[str] = []

        def log(self, severity: Any, msg: str) -> None:
            worst = severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)
            if worst:
                self.errors.append(msg)
            logger.log(logging.WARNING if worst else logging.DEBUG, "TensorRT: %s", msg)

    return Listener()
