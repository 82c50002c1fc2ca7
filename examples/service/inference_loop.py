"""An inference loop under a supervisor: answers every image that appears in a folder, and says that it is alive.

    python inference_loop.py FOLDER

A camera takes the place of the folder. The watchdog is fed by the loop itself, after an answer: if the engine or the
sensor hangs, so does the feeding, and the supervisor starts it again. After three starts without one answer the
factory head serves.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Set

import edgetl_runtime as rt
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.sources.images import read_image
from edgetl_runtime.watchdog import Watchdog


def main(folder: Path) -> None:
    """Answer what is in the folder, then what comes; one JSON object a line."""
    allowed = os.environ.get("EDGETL_ALLOW_UNSIGNED") == "1"
    watchdog = Watchdog()
    with rt.open(None, os.environ["EDGETL_STATE"], allow_unsigned=allowed) as session:
        status = session.status()
        facts = {"policy": status["policy"], "recovered": status["recovered"], "engine": status["engine"]}
        watchdog.ready(generation=status["generation"], **facts)
        answered: Set[Path] = set()
        while True:
            for path in sorted(set(folder.iterdir()) - answered):
                answered.add(path)
                try:
                    found = session.predict(read_image(path))
                except EdgetlError as error:  # this image, not the loop
                    say(image=path.name, error=str(error))
                    continue
                say(image=path.name, label=found.label)
                watchdog.alive(generation=found.generation, latency_ms=found.latency_ms)
            watchdog.alive()  # an empty folder is no failure; a camera that gives no frame would be
            time.sleep(0.05)


def say(**fields: object) -> None:
    """One line for the journal."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
