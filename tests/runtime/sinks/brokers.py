"""A real MQTT broker for the tests: mosquitto where it is installed, else amqtt, in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List

import pytest


class MqttBroker:
    """On a port of its own; may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._command = self._how(folder)
        self._process: Any = None
        self.start()

    def _how(self, folder: Path) -> List[str]:
        mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if mosquitto:
            settings = folder / "mosquitto.conf"
            settings.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
            return [mosquitto, "-c", str(settings)]
        if importlib.util.find_spec("amqtt") is None:
            pytest.skip("neither mosquitto nor amqtt is installed")
        settings = folder / "amqtt.yaml"  # JSON is YAML
        listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}}
        settings.write_text(json.dumps({"listeners": listeners, "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        }}))  # fmt: skip
        return [sys.executable, "-c", "from amqtt.scripts.broker_script import main; main()", "-c", str(settings)]

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20.0
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the broker does not listen: {self._command}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
