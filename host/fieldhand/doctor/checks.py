"""The checks of a board on a cable, in their order: one table.

Each runs a script of `ondevice/` on the board and judges what it found. A check that `needs`
others is left out while one of them fails: its own failure would say nothing new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from fieldhand import scripts
from fieldhand.connection import BrokerAddress
from fieldhand.doctor import broker, clock, power, radio, relay, sensors, settings, system
from fieldhand.doctor.findings import Finding
from fieldhand.doctor.witness import Loop, Witness
from fieldhand.errors import BrokerUnavailable
from fieldproto.dialect import Dialect

# What a node's words may take, on the chip: 30 s of Wi-Fi, 30 of NTP where a certificate is checked
# (its name is looked up twice), 20 of DNS, 10 of TCP, 20 of TLS, 10 of CONNACK, and as much for
# subscriptions and the PUBACK (fieldnode/wifi.py, transport.py).
_WIFI_S = 60.0
_BROKER_S = 180.0
LOOP_MS = 5000  # for a message to come back


@dataclass
class Patient:
    """A board under examination. `results` holds what each script has told.

    `name`, `dialect`, `address` and `i2c` (the board's pins for a bus none is configured for) come
    from the fleet file, None where only a port is known. `words` are what could not be done.
    """

    node: scripts.Executor
    host_version: str
    name: str | None = None
    dialect: Dialect | None = None
    address: BrokerAddress | None = None
    kept_session: bool = False
    i2c: Mapping[str, int] | None = None
    root: str = "/"
    relay: str | None = None
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    def run(self, script: str, timeout: float, **arguments: Any) -> dict[str, Any]:
        found = scripts.run(self.node, script, timeout, **arguments)
        self.results[script] = found
        return found


@dataclass(frozen=True)
class Check:
    """`names`: the lines it gives, for when it is left out; `needs`: lines that must be fine."""

    names: tuple[str, ...]
    run: Callable[[Patient], Iterator[Finding]]
    needs: tuple[str, ...] = ()


def _power(patient: Patient) -> Iterator[Finding]:
    yield from power.judge(patient.run("power", 10.0))


def _system(patient: Patient) -> Iterator[Finding]:
    found = patient.run("system", 60.0, root=patient.root)
    yield from system.judge(found, patient.host_version)


def _settings(patient: Patient) -> Iterator[Finding]:
    yield from settings.judge(patient.run("settings", 20.0), patient.name)


def _wifi(patient: Patient) -> Iterator[Finding]:
    yield from radio.judge(patient.run("wifi", _WIFI_S))


def _broker(patient: Patient) -> Iterator[Finding]:
    told = patient.results["settings"]
    name = str(told["node"])
    loop = Loop.of(
        _dialect(patient, str(told["dialect"])), name, int(time.time()), patient.host_version
    )
    witness = None
    if patient.address is not None:
        witness = Witness(patient.address, loop, ask=not patient.kept_session)
    try:
        with witness or nullcontext():
            found = _talk(patient, loop, witness is not None and not patient.kept_session)
            report = witness.report() if witness is not None else None
    except BrokerUnavailable as error:
        patient.words.append(f"this host cannot listen in: {error}")
        found, report = _talk(patient, loop, False), None
    yield from broker.judge(found, report)


def _talk(patient: Patient, loop: Loop, answered: bool) -> dict[str, Any]:
    return patient.run(
        "broker",
        _BROKER_S,
        subscribe=list(loop.subscribe),
        publish=list(loop.publish),
        mark=loop.mark,
        witness=answered,
        wait_ms=LOOP_MS,
    )


def _dialect(patient: Patient, name: str) -> Dialect:
    if patient.dialect is not None:
        return patient.dialect
    from fieldhand import dialects

    return dialects.load(name, patient.results["settings"].get("options") or {})


def _clock(patient: Patient) -> Iterator[Finding]:
    found = patient.run("clock", _WIFI_S)
    yield from clock.judge(found, time.time())


def _sensors(patient: Patient) -> Iterator[Finding]:
    bus = dict(patient.i2c) if patient.i2c else None
    yield from sensors.judge(patient.run("sensors", 90.0, i2c=bus))


def _relay(patient: Patient) -> Iterator[Finding]:
    if patient.relay is not None:
        found = patient.run("relay", 15.0, relay=patient.relay, ms=relay.PULSE_MS)
        yield from relay.judge(found, patient.relay)


_VALID = ("firmware", "node.json")
_CONNECTED = (*_VALID, "identity", "Wi-Fi")

CHECKS = (
    Check(("power", "crashes"), _power),
    Check(("MicroPython", "firmware", "memory", "file system"), _system),
    Check(("node.json", "identity"), _settings, ("firmware",)),
    Check(("Wi-Fi",), _wifi, (*_VALID, "identity")),
    Check(broker.STEPS, _broker, _CONNECTED),
    Check(("clock",), _clock, _CONNECTED),
    Check(("sensors",), _sensors, _VALID),
    Check(("relay",), _relay, _VALID),
)
