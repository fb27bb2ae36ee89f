"""Nodes and brokers for the doctor; the brokers are Mosquitto."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from e2e.doctor.ward import Ward
from mosquitto import Mosquitto

from fieldhand.doctor import checks
from fieldhand.sim import Simulator


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come back on loopback within a second does not come."""
    monkeypatch.setattr(checks, "LOOP_MS", 1000)


@pytest.fixture(scope="module")
def simulator(mosquitto: Mosquitto) -> Iterator[Simulator]:
    with Simulator(broker=(mosquitto.host, mosquitto.port)) as made:
        yield made


@pytest.fixture(scope="module")
def pool_(simulator: Simulator, mosquitto: Mosquitto) -> Ward:
    return Ward(simulator, "pool", mosquitto)


@pytest.fixture
def pool(pool_: Ward) -> Iterator[Ward]:
    """DESE, with pumps, two EZO circuits, a DS18B20, a flow meter."""
    yield pool_
    pool_.well()


@pytest.fixture
def broker_of(pool: Ward) -> Iterator[Any]:
    """Give the pool's node another broker for this test."""
    first = pool.simulator.broker

    def other(broker: Mosquitto) -> None:
        pool.simulator.broker = (broker.host, broker.port)

    yield other
    pool.simulator.broker = first


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Mosquitto with users and an ACL: `deaf` may not read, `mute` may not write."""
    folder = tmp_path_factory.mktemp("strict")
    users, acl = folder / "users", folder / "acl"
    for name in ("good", "deaf", "mute", "host"):
        create = [] if users.exists() else ["-c"]
        command = [shutil.which("mosquitto_passwd") or "mosquitto_passwd", "-b", *create]
        subprocess.run([*command, str(users), name, "secret"], check=True, capture_output=True)
    rules = ["user host", "topic readwrite #"]
    for name, rights in (("good", "readwrite"), ("deaf", "write"), ("mute", "read")):
        rules += [f"user {name}", f"topic {rights} devices/#"]
    acl.write_text("\n".join(rules) + "\n")
    for path in (users, acl, folder):
        path.chmod(0o755)
    extra = (f"password_file {users}", f"acl_file {acl}", "allow_anonymous false")
    with Mosquitto(persistent=False, extra=extra) as broker:
        yield broker
