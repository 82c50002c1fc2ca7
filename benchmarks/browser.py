"""A page in headless Chromium: does it fit, does it complain, does it ask the network for anything?

Chromium is driven by its own protocol over two pipes (`--remote-debugging-pipe`): no driver, no port, no package.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Browser", "Shown", "find_chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_S = 60.0
# How far the page itself scrolls sideways, and what reaches out of it without a box of its own that scrolls.
_LAYOUT = """(() => {
  const page = document.documentElement, wide = [];
  for (const one of document.querySelectorAll('body *')) {
    let box = one.parentElement, boxed = false;
    for (; box && !boxed; box = box.parentElement) boxed = /auto|scroll|hidden/.test(getComputedStyle(box).overflowX);
    const right = one.getBoundingClientRect().right;
    if (!boxed && right > page.clientWidth + 1) wide.push(one.tagName + '.' + (one.getAttribute('class') || ''));
  }
  return JSON.stringify({overflow: page.scrollWidth - page.clientWidth, height: page.scrollHeight,
    wide: wide.slice(0, 5), headings: [...document.querySelectorAll('h2')].map(one => one.innerText)});
})()"""


def find_chromium() -> str | None:
    """Its command, None where it is not installed."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Shown:
    """A page at one width: `overflow_px` that it scrolls sideways, `wide` elements that reach out of it, what the
    console said, the requests for anything but the page itself, its headings and its height in px."""

    width: int
    overflow_px: int
    wide: tuple[str, ...]
    console: tuple[str, ...]
    requests: tuple[str, ...]
    headings: tuple[str, ...]
    height: int


class Browser:
    """One headless Chromium; use it with `with`. Raises OSError where it does not start or answer."""

    def __init__(self, command: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        options = (
            "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-extensions"
            " --disable-background-networking --disable-component-update --hide-scrollbars --remote-debugging-pipe"
        )
        # Chromium reads its descriptor 3 and writes its 4; a shell puts the pipes there.
        script = f'exec "$0" {options} --user-data-dir="$1" about:blank 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, command, self._folder.name],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        os.set_blocking(ours_in, False)
        self._in, self._out = ours_in, ours_out
        self._buffer, self._number = b"", 0
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def show(self, path: Path, width: int, picture: Path | None = None, dark: bool = False) -> Shown:
        """Load the file at that width in CSS px; `picture` gets a PNG of all of it (at most 30,000 px high)."""
        self._events.clear()
        screen: dict[str, Any] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._ask("Emulation.setDeviceMetricsOverride", **screen)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=scheme)
        url = path.resolve().as_uri()
        self._ask("Page.navigate", url=url)
        self._until("Page.loadEventFired")
        layout = json.loads(self._ask("Runtime.evaluate", expression=_LAYOUT)["result"]["value"])
        if picture is not None:
            clip = {"x": 0, "y": 0, "width": width, "height": min(layout["height"], 30000), "scale": 1}
            shot = self._ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
            picture.write_bytes(base64.b64decode(shot["data"]))
        return Shown(
            width, layout["overflow"], tuple(layout["wide"]), tuple(self._said()), tuple(self._requested(url)),
            tuple(layout["headings"]), layout["height"],
        )  # fmt: skip

    def _said(self) -> list[str]:
        """Errors and warnings; a page that is right has nothing to say."""
        found = []
        for event in self._events:
            about = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(about["exceptionDetails"]["text"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                found.append(f"{about['type']}: {about['args']}")
            elif event["method"] == "Log.entryAdded":
                found.append(f"{about['entry']['level']}: {about['entry']['text']}")
        return found

    def _requested(self, url: str) -> list[str]:
        urls = [e["params"]["request"]["url"] for e in self._events if e["method"] == "Network.requestWillBeSent"]
        return [one[:200] for one in urls if one != url and not one.startswith("data:")]

    def _ask(self, method: str, **about: Any) -> dict[str, Any]:
        return self._call(method, self._session, **about)

    def _call(self, method: str, session: str = "", **about: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": about}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise OSError(f"Chromium refused {method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def _until(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._message())

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while b"\0" not in self._buffer:
            try:
                block = os.read(self._in, 1 << 20)
            except BlockingIOError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise OSError("Chromium does not answer; try it by hand: chromium --headless --dump-dom") from None
                time.sleep(0.005)
                continue
            if not block:
                raise OSError("Chromium went away")
            self._buffer += block
        first, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message
