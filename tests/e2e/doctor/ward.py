"""One simulated node for the doctor, whose modules are compiled as on a board."""

import json
import tomllib
from pathlib import Path
from typing import Any

from mosquitto import Mosquitto

from fieldhand import fleetfile
from fieldhand.doctor import CHECKS, Finding, Patient, cable
from fieldhand.fleetfile import template
from fieldhand.sim import Simulator
from fieldhand.sim.executor import SimulatedExecutor


class Ward:
    """One simulated node, whose configuration and surroundings each test changes."""

    def __init__(self, simulator: Simulator, name: str, broker: Mosquitto) -> None:
        text = template.FLEET_TOML.replace("port = 1883", f"port = {broker.port}")
        self.file = fleetfile.check(tomllib.loads(text), Path("example.toml"))
        self.config = self.file.nodes[name]
        self.simulator = simulator
        settings = fleetfile.node_json(self.file, self.config, broker=(broker.host, broker.port))
        self.executor = SimulatedExecutor(simulator, settings)
        self.node = self.executor.node
        self.settings: dict[str, Any] = json.loads(self._file("node.json").read_text())
        self.first = self.settings | {}

    def _file(self, name: str) -> Path:
        return self.node.flash / name

    def change(self, **sections: Any) -> None:
        """node.json with other values: a dict is laid over a section."""
        settings = json.loads(json.dumps(self.first))
        for key, value in sections.items():
            over = isinstance(value, dict) and key in settings
            settings[key] = {**settings[key], **value} if over else value
        self.write("node.json", json.dumps(settings))

    def write(self, name: str, content: str) -> None:
        self._file(name).write_text(content, "utf-8")

    def well(self) -> None:
        """All as it was."""
        self.node.faults.clear()
        self.node.nvs["fieldhand"].clear()
        self.write("node.json", json.dumps(self.first))

    def patient(self, *, witness: bool = False) -> Patient:
        found = cable.patient(self.executor)  # type: ignore[arg-type]
        found.root = "."
        if witness:
            cable.describe(found, self.file, self.config)
        return found

    def findings(self, line: str, *, patient: Patient | None = None) -> dict[str, Finding]:
        """What the check that gives `line` finds, by line."""
        patient = patient or self.patient()
        check = next(check for check in CHECKS if line in check.names)
        if line in ("DNS", "TCP", "TLS", "CONNACK", "ACL"):
            patient.run("settings", 20)
        return {finding.check: finding for finding in check.run(patient)}

    def finding(self, line: str, **options: Any) -> Finding:
        return self.findings(line, **options)[line]


def assert_fails(finding: Finding, *words: str) -> None:
    assert finding.state == "fail", finding
    assert finding.advice
    for word in words:
        assert word in f"{finding.text} | {finding.advice}", finding
