"""The service is killed again and again while it sends: no answer lost, nothing sent twice."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from mosquitto import Mosquitto
from service.running import WAIT_S, Serve

KILLS = 2
POSTERS = 3
BODY = {"action": "reboot"}


class Pump:
    """A DESE device that answers at once; `got` counts each command, `answered` the answers."""

    def __init__(self, port: int) -> None:
        self.got: Counter[str] = Counter()
        self.answered: list[tuple[str, paho.MQTTMessageInfo]] = []
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda c, *_: c.subscribe([("devices/org/+/commands", 1)])
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(WAIT_S)

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        id = json.loads(message.payload)["command_id"]
        self.got[id] += 1
        answer = {"command_id": id, "success": True, "timestamp": "2025-01-27T10:00:05Z"}
        topic = message.topic.replace("commands", "command_response")
        self.answered.append((id, client.publish(topic, json.dumps(answer), 1)))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Poster(threading.Thread):
    """Posts one command after the other, whether the service is there or not."""

    def __init__(self, serve: Serve, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.made: list[str] = []
        self._serve = serve
        self._halt = stop

    def run(self) -> None:
        while not self._halt.is_set():
            try:
                status, made = post(self._serve, "/nodes/dese:org:p/commands", BODY)
                if status == 201:
                    self.made.append(made["id"])
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)


def post(serve: Serve, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(serve.url).netloc, timeout=WAIT_S)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.load(answer)
    finally:
        connection.close()


def until_more(posters: list[Poster], count: int) -> None:
    wanted = sum(len(poster.made) for poster in posters) + count
    deadline = time.monotonic() + WAIT_S
    while sum(len(poster.made) for poster in posters) < wanted:
        assert time.monotonic() < deadline, "no commands are made"
        time.sleep(0.005)


def commands(serve: Serve) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    before = ""
    while True:
        page = serve.get(f"/nodes/dese:org:p/commands?limit=1000{before}")
        found |= {command["id"]: command for command in page["commands"]}
        if page["next"] is None:
            return found
        before = f"&before={page['next']}"


def test_kill_9_between_post_and_answer(own_mosquitto: Mosquitto, tmp_path: Path) -> None:
    chance = random.Random(7)
    serve = Serve(tmp_path, "--broker", f"mqtt://127.0.0.1:{own_mosquitto.port}")
    serve.start()
    node = {"dialect": "dese", "name": "p", "options": {"org": "org"}}
    assert post(serve, "/nodes", node)[0] == 201
    pump = Pump(own_mosquitto.port)
    stop = threading.Event()
    posters = [Poster(serve, stop) for _ in range(POSTERS)]
    try:
        for poster in posters:
            poster.start()
        for _ in range(KILLS):
            until_more(posters, 15)
            time.sleep(chance.uniform(0, 0.02))  # anywhere within a command
            serve.kill()
            serve.start()
        until_more(posters, 5)
        stop.set()
        for poster in posters:
            poster.join(WAIT_S)
        made = {id for poster in posters for id in poster.made}
        deadline = time.monotonic() + WAIT_S
        while not made <= set(pump.got) and time.monotonic() < deadline:
            time.sleep(0.02)
        for _, info in pump.answered:
            info.wait_for_publish(WAIT_S)
        found = commands(serve)
        while time.monotonic() < deadline and any(
            found[id]["state"] != "done" for id in pump.got if id in found
        ):
            time.sleep(0.1)
            found = commands(serve)
        assert made <= set(pump.got), "a command that was made did not go out"
        assert set(pump.got.values()) == {1}, "a command went out twice"
        assert set(pump.got) <= set(found), "what went out is not on record"
        assert {found[id]["state"] for id in pump.got} == {"done"}, "an answer was lost"
        # What did not go out is not believed to have been done.
        rest = [command for id, command in found.items() if id not in pump.got]
        assert {command["state"] for command in rest} <= {"sending", "sent", "refused"}
    finally:
        stop.set()
        pump.close()
        serve.close()
