"""The doctor of a node that is on no cable."""

import socket
import tomllib

from e2e.doctor.ward import assert_fails

from fieldhand import fleetfile
from fieldhand.connection import BrokerAddress
from fieldhand.doctor import remote
from fieldhand.fleetfile import template
from fieldhand.sim import Simulator


def test_a_node_over_mqtt(mosquitto, tmp_path):
    text = template.FLEET_TOML.replace("port = 1883", f"port = {mosquitto.port}")
    file = fleetfile.check(tomllib.loads(text), tmp_path / "fleet.toml")
    config = file.nodes["greenhouse"]
    settings = fleetfile.node_json(file, config, broker=(mosquitto.host, mosquitto.port))
    address = file.broker.address()
    with Simulator(broker=(mosquitto.host, mosquitto.port)) as simulator:
        node = simulator.add(settings | {"interval_ms": 1000, "status_interval_ms": 1000})
        node.start()
        found = {f.check: f for f in remote.examine(file, config, address, 20)}
        assert [f for f in found.values() if f.state == "fail"] == []
        assert found["heard"].state == found["command"].state == found["memory"].state == "ok"
        assert found["gaps"].state == "skipped"
        node.faults.sensor("dht")
        node.wait_console("dht22@4", 20)
        failing = {}
        for _ in range(20):  # until the status says so, each second
            failing = {f.check: f for f in remote.examine(file, config, address, 20)}
            if failing["sensors"].state == "fail":
                break
        assert_fails(failing["sensors"], "dht22@4", "--port PORT")
        node.stop()
        gone = {f.check: f for f in remote.examine(file, config, address, 1)}
        assert_fails(gone["heard"], "nothing in 1 s; its status is offline", "powered")
        assert gone["memory"].state == gone["command"].state == "skipped"


def test_a_broker_that_is_not_there_or_refuses_this_host(pool, strict):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = BrokerAddress("127.0.0.1", held.getsockname()[1])
        found = {f.check: f for f in remote.examine(pool.file, pool.config, address, 1)}
    assert_fails(found["TCP"], "refused", "running")
    assert found["heard"].state == "skipped"
    address = BrokerAddress(strict.host, strict.port, "host", "wrong")
    found = {f.check: f for f in remote.examine(pool.file, pool.config, address, 1)}
    assert_fails(found["CONNACK"], "not authorized", "[broker]")
