"""What `fieldhand export` writes, before the programs' own schemas and a real InfluxDB.

Telegraf is in no package registry: its options are checked against its documentation, and what its
json_v2 parser makes of the documents' payloads by a model of that parser.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from conftest import missing
from service.influxdb import InfluxDB
from service.test_influx import arrived

from fieldhand import dialects
from fieldhand.connection import BrokerAddress
from fieldhand.export import grafana, telegraf
from fieldhand.influxurl import InfluxUrl
from fieldhand.records import Reading, from_record
from fieldhand.service.influx import InfluxBridge, waiting
from fieldproto.quantities import UNITS

ROOT = Path(__file__).parents[2]
OPTIONS = json.loads((ROOT / "tests/schemas/telegraf.json").read_text())
SCHEMA, DATA, TYPESCRIPT = "@grafana/schema@11.6.16", "@grafana/data@11.6.16", "typescript@5.9.3"
URL = InfluxUrl.of("http://h:8086/?db=farm")
# After the documents' times.
RECEIVED = 1_795_000_000.0
EXTRAS = {"seq": 7, "boot": "1-ab", "q": "synced", "also": {"soil_temperature": 18.5}}


def vectors() -> list:
    """The readings of the seed documents: dialect, topic, payload."""
    found = []
    for name in dialects.names():
        for item in json.loads((ROOT / f"tests/vectors/{name}.json").read_text())["vectors"]:
            if item.get("kind") == "reading" and isinstance(item.get("payload"), dict):
                found.append(
                    pytest.param(
                        name, item["topic"], item["payload"], id=f"{name}: {item['source']}"
                    )
                )
    return found


# -- Telegraf --------------------------------------------------------------------------------------


def check(table: dict, name: str) -> None:
    known = OPTIONS[name]
    for key, value in table.items():
        assert key in known, f"{name} has no option {key}"
        kind = known[key]
        if kind in OPTIONS:
            for inner in value:
                check(inner, kind)
        else:
            assert type(value).__name__ == kind, f"{name}.{key}"


@pytest.mark.parametrize("url", ["http://h:8086/?db=farm&rp=month", "http://h/?org=o&bucket=b"])
def test_every_option_is_in_telegrafs_documentation(url: str):
    broker = BrokerAddress("broker.example", 8883, "telegraf", "hunter2", "/etc/ca.pem")
    text = telegraf.configuration(broker=broker, influx=InfluxUrl.of(url))
    assert "hunter2" not in text
    document = tomllib.loads(text)
    for kind, plugins in document.items():
        for plugin, tables in plugins.items():
            for table in tables:
                check(table, f"{kind}.{plugin}")
    inputs = document["inputs"]["mqtt_consumer"]
    assert len({item["client_id"] for item in inputs}) == len(inputs)
    assert {item["servers"][0] for item in inputs} == {"ssl://broker.example:8883"}


def test_the_topics_are_the_documents():
    inputs = tomllib.loads(telegraf.configuration())["inputs"]["mqtt_consumer"]
    tags = {}
    for item in inputs:
        rules = {rule["topic"]: rule["tags"] for rule in item.get("topic_parsing", [])}
        for topic in item["topics"]:
            tags[topic] = rules.get(topic, "")
            assert len(tags[topic].split("/")) in (1, len(topic.split("/")))
    assert tags == {
        "devices/+/data": "_/node/_",
        "plantnanny/+/sensors": "_/node/_",
        "company/+/machine/+/telemetry": "_/company/_/node/_",
        "devices/+/+/telemetry": "_/org/node/_",
        "iot/node/+/telemetry": "_/_/node/_",
        "farm/telemetry": "",
        "iot/broker/stats": "",
    }


def parsed(item: dict, topic: str, payload: dict) -> tuple[str, dict, dict, object]:
    """What the input makes of a message: measurement, tags, fields, the time as it is written."""
    tags = {}
    for rule in item.get("topic_parsing", []):
        pattern = rule["topic"].replace("+", "[^/]+")
        if re.fullmatch(pattern, topic):
            pairs = zip(rule["tags"].split("/"), topic.split("/"), strict=True)
            tags |= {name: level for name, level in pairs if name != "_"}
    fields: dict = {}
    when = None
    (options,) = item["json_v2"][0]["object"]
    assert options["path"] == "@this" and options["disable_prepend_keys"]

    def walk(value: dict, above: str) -> None:
        nonlocal when
        for key, inner in value.items():
            name = above + key
            if name in options.get("excluded_keys", []):
                continue
            called = options.get("renames", {}).get(name, key)
            if isinstance(inner, dict):
                walk(inner, name + "_")
            elif name == options.get("timestamp_key"):
                when = inner
            elif name in options.get("tags", []):
                tags[called] = str(inner)
            elif inner is not None:
                fields[called] = inner

    walk(payload, "")
    return item["json_v2"][0]["measurement_name"], tags, fields, when


def input_of(topic: str) -> dict:
    for item in tomllib.loads(telegraf.configuration())["inputs"]["mqtt_consumer"]:
        for pattern in item["topics"]:
            if re.fullmatch(pattern.replace("+", "[^/]+"), topic):
                return item
    raise AssertionError(topic)


@pytest.mark.parametrize("extras", [False, True], ids=["document", "extras"])
@pytest.mark.parametrize("name, topic, payload", vectors())
def test_telegraf_makes_the_points_the_bridge_writes(name, topic, payload, extras):
    if extras:
        payload = {**payload, "_fh": EXTRAS}
    (record,) = dialects.load(name).decode(topic, json.dumps(payload).encode())
    point = waiting(from_record(record, RECEIVED))
    measurement, tags, fields, when = parsed(input_of(topic), topic, payload)
    assert measurement == point.dialect
    assert tags == dict(point.tags)
    expected = dict(point.fields)
    assert {key: fields[key] for key in expected} == expected
    # Beyond them nothing but provenance and the firmware's version.
    assert set(fields) - set(expected) <= {"seq", "boot", "q", "firmware_version"}
    if name == "iotnode":
        assert when * 1000 == point.time_ms


def test_an_answer_on_the_farms_topic_gives_no_point():
    answer = {"type": "STATUS", "irrigation": "ON", "farm_id": "f", "timestamp": "x"}
    _, _, fields, _ = parsed(input_of("farm/telemetry"), "farm/telemetry", answer)
    assert fields == {}


# -- Grafana ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def npm() -> Path:
    """A folder with Grafana's schema and the TypeScript compiler; kept in build/."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("npm and node are not installed: Grafana's schema cannot be had")
    place = ROOT / "build" / "grafana-schema"
    place.parent.mkdir(exist_ok=True)
    # The tests may run in several processes.
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install(place)
    return place


def install(place: Path) -> None:
    wanted = f"{SCHEMA} {DATA} {TYPESCRIPT}"
    mark = place / "installed"
    if mark.exists() and mark.read_text() == wanted:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "package.json").write_text('{"private": true, "type": "module"}')
    run = {"cwd": place, "check": True, "timeout": 300, "capture_output": True, "text": True,
           "env": {**os.environ, "NO_UPDATE_NOTIFIER": "1"}}  # fmt: skip
    subprocess.run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock",
         "--silent", SCHEMA, TYPESCRIPT],
        **run,
    )  # fmt: skip
    # Of this one only the list of units, without all it depends on.
    archive = subprocess.run(["npm", "pack", "--silent", DATA], **run).stdout.split()[-1]
    units = "package/dist/esm/valueFormats/categories.mjs"
    subprocess.run(["tar", "-xzf", archive, units], **run)
    mark.write_text(wanted)


def compiled(place: Path, name: str, document: object) -> str:
    """What the compiler says of a dashboard; nothing when it is one."""
    source = "import type { Dashboard } from '@grafana/schema';\n"
    source += f"export const dashboard: Dashboard = {json.dumps(document)};\n"
    (place / f"{name}.ts").write_text(source)
    done = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck",
         "--module", "nodenext", "--moduleResolution", "nodenext", f"{name}.ts"],
        cwd=place, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode == 0) == (done.stdout == ""), done.stdout + done.stderr
    return done.stdout


def test_grafanas_schema_takes_the_dashboard_and_no_other(npm: Path):
    document = grafana.dashboard()
    assert compiled(npm, "ours", document) == ""
    document["panels"][1]["gridPos"] = "left"
    told = compiled(npm, "wrong", document)
    assert "'GridPos'" in told
    document = grafana.dashboard()
    document["tittle"] = "misspelled"
    assert "tittle" in compiled(npm, "wrong", document)


def test_grafana_knows_the_units(npm: Path):
    known = set(re.findall(r'id: "([^"]+)"', (
        npm / "package/dist/esm/valueFormats/categories.mjs").read_text()))  # fmt: skip
    assert len(known) > 100
    used = {panel["fieldConfig"]["defaults"]["unit"] for panel in panels()}
    assert {unit for unit in used if not unit.startswith("suffix:")} <= known
    assert {unit for unit in used if unit.startswith("suffix:")} == {"suffix:dS/m", "suffix:msg/s"}


def panels() -> list[dict]:
    return [panel for panel in grafana.dashboard()["panels"] if panel["type"] != "row"]


def test_there_is_a_row_for_each_dialect_and_a_panel_for_each_quantity():
    rows: dict[str, list[str]] = {}
    for panel in grafana.dashboard()["panels"]:
        if panel["type"] == "row":
            rows[panel["title"]] = []
        else:
            rows[list(rows)[-1]].append(panel["title"])
    assert list(rows)[:-1] == list(dialects.names())
    # As the documents name them, in canonical words.
    assert rows["plantnanny"] == ["Air temperature", "Relative humidity", "Luminosity"]
    assert rows["dese"][:4] == ["Ph", "Chlorine", "Water temperature", "Orp"]
    assert set(UNITS.values()) <= set(grafana.UNITS) | {"dS/m"}


def test_panels_do_not_overlap():
    taken = set()
    ids = set()
    for panel in grafana.dashboard()["panels"]:
        ids.add(panel["id"])
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert 0 <= x < 24 and (x, y) not in taken
                taken.add((x, y))
    assert len(ids) == len(grafana.dashboard()["panels"])


def test_every_query_finds_what_the_bridge_wrote(influx: InfluxDB, base: str):
    now = time.time()
    bridge = InfluxBridge(f"{influx.url}/?db={base}")
    bridge.start()
    wanted = set()
    for name in dialects.names():
        quantities = dict.fromkeys(
            q for q in _quantities(name)
        )  # fmt: skip
        tenant = {"dese": {"org": "o"}, "solar": {"company": "c"}}.get(name, {})
        values = dict.fromkeys(quantities, 1.0)
        bridge.committed(arrived(Reading("n 1", name, values, int(now), now, tenant=tenant)))
        wanted |= {(name, quantity) for quantity in quantities}
    bridge.stop()
    found = set()
    for panel in panels():
        query = panel["targets"][0]["query"]
        if '"broker"' in query:
            continue
        for name, value in (("$timeFilter", "time > now() - 1h"), ("$__interval", "10s")):
            query = query.replace(name, value)
        query = re.sub(r"\$\{\w+:regex\}", ".*", query)
        (series,) = influx.query(query, base)
        assert series["tags"]["node"] == "n 1"
        field = re.search(r'mean\("(\w+)"\)', query)
        assert field is not None
        assert 1.0 in [row[1] for row in series["values"]]
        found.add((series["name"], field[1]))
    assert found == wanted
    variables = grafana.dashboard()["templating"]["list"]
    (node,) = [item for item in variables if item["name"] == "node"]
    assert {row[1] for s in influx.query(node["query"], base) for row in s["values"]} == {"n 1"}


def _quantities(name: str) -> list[str]:
    return [
        field.means
        for message in dialects.unbound(name).messages
        if message.kind == "reading"
        for field in message.fields
        if field.means in UNITS and field.means != "uptime"
    ]


# -- the command -----------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fieldhand.cli", "export", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_writes_both(tmp_path):
    done = run("grafana", "--dialect", "farm", "-o", str(tmp_path / "farm.json"))
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads((tmp_path / "farm.json").read_text()) == grafana.dashboard(["farm"])
    done = run("telegraf", "--dialect", "farm", "--influx", "http://h:8086/?db=farm")
    assert tomllib.loads(done.stdout)["outputs"]["influxdb"][0]["database"] == "farm"
    done = run("telegraf", "--influx", "h:8086")
    assert done.returncode == 2 and len(done.stderr.splitlines()) <= 2
