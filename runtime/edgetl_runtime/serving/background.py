"""An engine that is built for minutes while another serves the same features, and takes over when it has proved itself.

The other goes on serving when the build fails, or when the new engine does not reproduce the golden samples.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from edgetl_runtime.engines import BuildProgress, Engine
from edgetl_runtime.errors import BundleError, EngineError
from edgetl_runtime.extractor import Extractor
from edgetl_runtime.serving.ways import Way

__all__ = ["Choice", "Loader", "Tester"]

logger = logging.getLogger(__name__)

# Loads an engine, telling of its build; it ends when the event is set.
Loader = Callable[[BuildProgress, threading.Event], Engine]
# Raises BundleError or EngineError unless the engine reproduces the golden samples.
Tester = Callable[[Engine], None]


class Choice:
    """How the engine in use came to be chosen, and the one that is being built in its place, if any."""

    def __init__(self, refused: List[str], held: Optional[str]) -> None:
        self._refused = list(refused)
        self._held = held
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self._building: Optional[Dict[str, Any]] = None
        self._started = 0.0

    def state(self) -> Dict[str, Any]:
        """Plain data: ways refused and why, what is being built, and why the variant is kept."""
        with self._lock:
            building = self._building
            if building is not None:
                building = {**building, "seconds": round(time.monotonic() - self._started, 1)}
            return {"engines_refused": list(self._refused), "building": building, "variant_held": self._held}

    def build(self, way: Way, extractor: Extractor, load: Loader, test: Tester) -> None:
        """Start building `way`; `extractor` serves meanwhile and gets the engine when it passes `test`."""
        self._started = time.monotonic()
        self._building = {"way": str(way), "phase": "starting"}
        name = f"edgetl-build-{way.engine}"
        self._thread = threading.Thread(target=self._build, args=(way, extractor, load, test), name=name, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: Optional[float] = None) -> bool:
        """Until nothing is being built any more; False when that took longer."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def close(self) -> None:
        """End the build, and wait for that; harmless when repeated."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _build(self, way: Way, extractor: Extractor, load: Loader, test: Tester) -> None:
        why = ""
        try:
            engine = load(self._progress, self._stop)
            try:
                self._progress("golden samples", 0.0)
                test(engine)
                if self._stop.is_set():
                    raise EngineError("the session was closed")
            except BaseException:
                engine.close()
                raise
            extractor.replace(engine)
            logger.info("%s was built in %.0f s and serves from now on", way, time.monotonic() - self._started)
        except (EngineError, BundleError) as error:
            why = str(error)
        except Exception as error:  # nobody reads a trace back from a thread of a robot: it belongs into the status
            logger.exception("building %s failed", way)
            why = f"{type(error).__name__}: {error}"
        with self._lock:
            self._building = None
            if why and not self._stop.is_set():
                self._refused.append(f"{way}: {why}")
        if why and not self._stop.is_set():
            logger.warning("%s is not used, %s goes on serving: %s", way, extractor.description, why)

    def _progress(self, phase: str, seconds: float) -> None:
        with self._lock:
            if self._building is not None:
                self._building = {**self._building, "phase": phase}
