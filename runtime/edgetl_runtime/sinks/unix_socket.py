"""A UNIX socket: JSON lines to whoever connects, and their lines (labels) back. No port is opened on a robot.

    socat - UNIX-CONNECT:/run/edgetl.sock

A reader that does not keep up is let go; the loop never waits for one.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.sinks.sink import Listener
from edgetl_runtime.sources import Uri

__all__ = ["UnixSocket", "load"]

logger = logging.getLogger(__name__)

_MOST_CLIENTS = 16
_LONGEST_LINE = 4096
_POLL_S = 0.1


def load(uri: Uri, listener: Optional[Listener]) -> UnixSocket:
    """The sink of `unix:///PATH`."""
    uri.finish()
    return UnixSocket(Path(uri.path), listener)


class UnixSocket:
    """Only the owner of the process may connect (mode 0600)."""

    lost = 0  # who does not keep up is let go, and knows it

    def __init__(self, path: Path, listener: Optional[Listener] = None) -> None:
        self._path, self._listener = path, listener
        self._clients: Dict[socket.socket, bytes] = {}
        self._lock = threading.Lock()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if path.is_socket() and not _answers(path):
                path.unlink()  # left by a process that was killed
            before = os.umask(stat.S_IRWXG | stat.S_IRWXO | stat.S_IXUSR)
            try:
                self._server.bind(str(path))
            finally:
                os.umask(before)
            self._server.listen(4 * _MOST_CLIENTS)
        except OSError as error:
            self._server.close()
            raise SourceError(f"no socket can be made at {path}: {error}; is another process serving there?") from error
        self._server.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="edgetl socket", daemon=True)
        self._thread.start()

    def write(self, record: Mapping[str, Any]) -> None:
        """Send to all that are connected and keep up."""
        line = line_of(record).encode()
        with self._lock:
            for client in list(self._clients):
                try:
                    sent = client.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                except OSError:
                    sent = 0
                if sent != len(line):
                    self._drop(client)

    def close(self) -> None:
        """Let everybody go; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self._waker.send(b"x")
        self._thread.join(timeout=10.0)
        with self._lock:
            for client in list(self._clients):
                self._drop(client)
        for end in (self._server, self._waker, self._woken):
            end.close()
        self._selector.close()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while not self._closed:
            for key, _ in self._selector.select(timeout=1.0):
                if key.fileobj is self._server:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj is not self._woken:
                    self._hear(key.fileobj)

    def _accept(self) -> None:
        try:
            client, _ = self._server.accept()
        except OSError as error:
            logger.debug("nobody could be let in: %s", error)
            time.sleep(_POLL_S)  # out of file handles, say: the one who knocks goes on knocking
            return
        with self._lock:
            if len(self._clients) >= _MOST_CLIENTS:
                client.close()
                return
            client.setblocking(False)
            self._clients[client] = b""
            self._selector.register(client, selectors.EVENT_READ)

    def _hear(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        with self._lock:
            if client not in self._clients:
                return
            *lines, rest = (self._clients[client] + data).split(b"\n")
            self._clients[client] = rest
            if not data or len(rest) > _LONGEST_LINE:
                self._drop(client)
        for line in lines:
            if self._listener is not None and line.strip():
                try:
                    self._listener(line.decode("utf-8", "replace").strip())
                except Exception:  # this thread must outlive whatever one line does
                    logger.exception("a line from a client could not be taken")

    def _drop(self, client: socket.socket) -> None:
        if client in self._clients:
            del self._clients[client]
            self._selector.unregister(client)
            client.close()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
