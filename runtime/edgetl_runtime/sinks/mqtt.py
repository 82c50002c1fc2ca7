"""MQTT, by paho: a topic a kind of record, and a topic for labels.

    mqtt://broker/robot7/sorter                    robot7/sorter/prediction, .../health, .../learnt, ... in JSON
    mqtts://user@broker:8883/robot7?qos=1&labels=yes

`.../online` says "true", and "false" once the connection is lost: retained, by the broker's last will. With
`labels=yes` lines that come on `.../label` teach, as on the standard input: whoever may publish there teaches this
device, so it is off unless asked for. The password is read from EDGETL_MQTT_PASSWORD as it is, or from the address,
where signs like @ and / are escaped; `ca=FILE` is the authority that signed the broker's certificate (default: the
system's). A broker that is not there is tried again, every 1 to 30 seconds.
"""

from __future__ import annotations

import collections
import logging
import os
import threading
import urllib.parse
from typing import Any, Deque, Mapping, Optional

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edgetl_runtime.errors import SourceError
from edgetl_runtime.sinks.encoding import line_of
from edgetl_runtime.sinks.sink import Listener
from edgetl_runtime.sources import Uri

__all__ = ["Broker", "load"]

logger = logging.getLogger(__name__)

_LONGEST_LINE = 4096
_MOST_UNDER_WAY = 20
_PATIENCE_S = 5.0
_KEEPALIVE_S = 15


def load(uri: Uri, listener: Optional[Listener]) -> Broker:
    """The sink of an `mqtt://` or `mqtts://` address."""
    parts = urllib.parse.urlsplit(uri.text)
    prefix = urllib.parse.unquote(parts.path).strip("/")
    qos, labels = int(uri.choice("qos", ("0", "1"))), uri.choice("labels", ("no", "yes")) == "yes"
    client_id, authority = uri.option("client"), uri.option("ca")
    uri.finish()
    try:
        host, port = parts.hostname, parts.port or (8883 if uri.scheme == "mqtts" else 1883)
    except ValueError as error:
        raise SourceError(f"the port of an mqtt address must be a number: {error}") from error
    if not host or not prefix or any(sign in uri.text for sign in "#+\0"):
        raise SourceError("an mqtt address has a broker and a topic without # and +, like mqtt://10.0.0.2/robot7/sorter")
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id)
    if parts.username:
        password = os.environ.get("EDGETL_MQTT_PASSWORD") or urllib.parse.unquote(parts.password or "")
        client.username_pw_set(urllib.parse.unquote(parts.username), password or None)
    if uri.scheme == "mqtts":
        try:
            client.tls_set(ca_certs=authority or None)
        except (OSError, ValueError) as error:
            raise SourceError(f"the certificates {authority or 'of this system'} cannot be read: {error}") from error
    return Broker(client, host, port, prefix, qos, listener if labels else None)


class Broker:
    """A client that connects by itself, whenever the broker is there. `write` waits for it: see sinks.Queued."""

    def __init__(
        self, client: Any, host: str, port: int, prefix: str, qos: int = 0, listener: Optional[Listener] = None
    ) -> None:
        self._client, self._prefix, self._qos, self._listener = client, prefix, qos, listener
        self._name = f"{host}:{port}"
        self._under_way: Deque[Any] = collections.deque()
        self._connected, self._closing = threading.Event(), threading.Event()
        self._lost, self._refused = 0, ""
        client.on_connect, client.on_disconnect, client.on_message = self._arrived, self._gone, self._heard
        client.will_set(f"{prefix}/online", "false", qos=1, retain=True)
        client.reconnect_delay_set(1, 30)
        client.connect_async(host, port, _KEEPALIVE_S)
        client.loop_start()

    @property
    def lost(self) -> int:
        """Records that were on their way when the connection broke and did not arrive."""
        return self._lost

    def write(self, record: Mapping[str, Any]) -> None:
        """Publish one record; waits for a connection, and while twenty are under way."""
        while not self._connected.wait(0.5):
            if self._closing.is_set():
                raise SourceError(f"the broker {self._name} was not there")
        payload = line_of(record).strip()
        self._under_way.append(self._client.publish(f"{self._prefix}/{record['kind']}", payload, qos=self._qos))
        while len(self._under_way) > _MOST_UNDER_WAY:
            self._settle()

    def close(self) -> None:
        """Wait a moment for what is under way, say so, and disconnect; harmless when repeated."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._connected.is_set():
            self._under_way.append(self._client.publish(f"{self._prefix}/online", "false", qos=1, retain=True))
        while self._under_way and self._connected.is_set():
            self._settle()
        self._client.disconnect()
        self._client.loop_stop()

    def _settle(self) -> None:
        """Wait for the oldest that is under way."""
        info = self._under_way.popleft()
        try:
            info.wait_for_publish(_PATIENCE_S)
            self._lost += not info.is_published()
        except (RuntimeError, ValueError):  # the connection broke before it was sent
            self._lost += 1

    def _arrived(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            if str(reason) != self._refused:
                logger.error("the broker %s refuses us: %s; trying again", self._name, reason)
            self._refused = str(reason)
            return
        self._refused = ""
        logger.info("connected to the broker %s", self._name)
        client.publish(f"{self._prefix}/online", "true", qos=1, retain=True)
        if self._listener is not None:
            client.subscribe(f"{self._prefix}/label", qos=1)
        self._connected.set()

    def _gone(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._connected.is_set() and not self._closing.is_set():
            logger.warning("the broker %s is gone: %s; waiting for it", self._name, reason)
        self._connected.clear()

    def _heard(self, client: Any, userdata: Any, message: Any) -> None:
        if message.retain or len(message.payload) > _LONGEST_LINE:
            return  # a label that was kept from an earlier day says nothing of what is seen now
        line = message.payload.decode("utf-8", "replace").strip()
        if line and self._listener is not None:
            try:
                self._listener(line)
            except Exception:  # paho's thread must outlive whatever one line does
                logger.exception("a label from %s could not be taken", self._name)
