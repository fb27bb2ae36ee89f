"""A running service with its web application, and a device that answers as the test says."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
import sqlalchemy as sa
from fastapi.testclient import TestClient

from fieldhand.connection import BrokerAddress
from fieldhand.service import settings
from fieldhand.service.api.app import create_app
from fieldhand.service.api.deps import LOCAL, current_caller
from fieldhand.service.service import Service
from fieldhand.service.store import nodes, schema

WAIT_S = 15.0
# Long enough for an answer that comes, short enough to wait for one that does not.
SOON_S = 0.3
PLANT = nodes.key_of("plantnanny", {}, "g1")
POOL = nodes.key_of("dese", {"org": "org-123"}, "pool")
PANEL = nodes.key_of("solar", {"company": "acme"}, "m1")
LED = nodes.key_of("iotnode", {}, "01")
FARM = nodes.key_of("farm", {}, "farm_001")
OPTIONS: dict[nodes.NodeKey, dict[str, Any]] = {
    PLANT: {},
    POOL: {"org": "org-123"},
    PANEL: {"company": "acme"},
    LED: {},
    FARM: {},
}


class Device:
    """The nodes' end: hears every command, says what it is told to."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._on_message
        filters = [
            "devices/+/command",
            "devices/+/+/commands",
            "devices/+/+/config",
            "company/+/machine/+/command",
            "iot/node/+/command",
            "farm/+/commands",
        ]
        self._client.on_connect = lambda c, *_: c.subscribe([(name, 1) for name in filters])
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(WAIT_S)

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self.got.append((message.topic, json.loads(message.payload)))
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[tuple[str, dict[str, Any]]]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, WAIT_S), self.got
            return list(self.got)

    def say(self, topic: str, payload: dict[str, Any]) -> None:
        self._client.publish(topic, json.dumps(payload), 1).wait_for_publish(WAIT_S)

    def answer(self, id: str, node: str = "pool", **answer: Any) -> None:
        """DESE's command_response."""
        answer = {"success": True, "timestamp": "2025-01-27T10:00:05Z", **answer}
        self.say(f"devices/org-123/{node}/command_response", {"command_id": id, **answer})

    def acknowledge(self, id: str, number: int, state: str, **ack: Any) -> None:
        """What PlantNanny's document has no message for, in the extension key of the status."""
        extension = {"boot": "b1", "n": number, "ack": {"id": id, "state": state, **ack}}
        self.say("devices/g1/status", {"status": "online", "_fh": extension})

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Desk:
    """A running service, its web application and the device."""

    def __init__(self, url: str, port: int, **given: Any) -> None:
        chosen = settings.load(
            {"database": url, "client_id": f"t-{time.monotonic_ns()}", **given}, environment={}
        )
        self.caller = LOCAL
        self.service = Service(chosen, broker=BrokerAddress(port=port))
        self.service.database.open()
        with self.service.database.writing() as connection:
            self.register(connection)
        app = create_app(self.service)
        app.dependency_overrides[current_caller] = lambda: self.caller
        self.http = TestClient(app)
        self.device = Device(port)

    def __enter__(self) -> "Desk":
        self.service.start()
        self.http.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.__exit__(None, None, None)
        self.service.stop()
        self.device.close()

    def clear(self) -> None:
        """As new: what other tests left is gone."""
        self.caller = LOCAL
        with self.service.database.writing() as connection:
            for table in (schema.command, schema.answer, schema.reading, schema.node):
                connection.execute(table.delete())
            self.register(connection)
        self.service.ingest.nodes.forget()
        self.device.got.clear()

    def register(self, connection: sa.Connection) -> None:
        for key, options in OPTIONS.items():
            nodes.register(connection, self.service.database, key, options=options)

    def send(self, node: str, action: str, **given: Any) -> dict[str, Any]:
        headers = given.pop("headers", {})
        body = {"action": action, "params": given.pop("params", {}), **given}
        answer = self.http.post(f"/nodes/{node}/commands", json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()  # type: ignore[no-any-return]

    def look(self, command: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.get(f"/nodes/{command['node']}/commands/{command['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def until(
        self, command: dict[str, Any], wanted: str | Callable[[dict[str, Any]], object]
    ) -> dict[str, Any]:
        """The command as soon as it is in this state, or as is wanted of it."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found = self.look(command)
            if found["state"] == wanted if isinstance(wanted, str) else wanted(found):
                return found
            assert time.monotonic() < deadline, f"it is still {found}"
            time.sleep(0.02)

    def steps(self, command: dict[str, Any]) -> list[str]:
        return [step["step"] for step in self.look(command)["steps"]]

    def node(self, key: nodes.NodeKey) -> nodes.NodeRow:
        with self.service.database.writing() as connection:
            return nodes.ensure(connection, self.service.database, key, None)
