"""The README's sixth dialect, made exactly as the README says: two files, no other change."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import missing
from get_umqtt import micropython

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"### A sixth dialect\n(.*?)\n## ", re.DOTALL)
FILE = re.compile(r"`((?:protocol|tests)/[^`*]+\.(?:py|json))`.*?\n```\w+\n(.*?)```\n", re.DOTALL)
PROVE = """
import sys
sys.path.insert(0, sys.argv[1] + "/tests/vectors")
sys.path.insert(0, sys.argv[1] + "/protocol")
import vectorcheck
book = vectorcheck.load(sys.argv[1] + "/tests/vectors/beehive.json")
for vector in book["vectors"]:
    vectorcheck.check(book, vector)
print(len(book["vectors"]), "hold")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for part in ("protocol", "tests/vectors"):
        shutil.copytree(ROOT / part, tmp_path / part)
    section = SECTION.search((ROOT / "README.md").read_text("utf-8"))
    assert section is not None
    files = dict(FILE.findall(section[1]))
    assert set(files) == {"protocol/fieldproto/dialects/beehive.py", "tests/vectors/beehive.json"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "prove.py").write_text(PROVE)
    return tmp_path


def run(*command: object, **env: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_vectors_hold_on_cpython(tree: Path) -> None:
    assert run(sys.executable, tree / "prove.py", tree) == "4 hold\n"


def test_its_vectors_hold_on_micropython(tree: Path) -> None:
    command = micropython()
    if command is None:
        missing("no micropython command: make venv")
    assert run(command, tree / "prove.py", tree, MICROPYPATH=".frozen") == "4 hold\n"


def test_the_command_line_knows_it(tree: Path) -> None:
    path = f"{tree / 'protocol'}{os.pathsep}{ROOT / 'host'}"
    cli = (sys.executable, "-m", "fieldhand.cli")
    assert "beehive" in run(*cli, "dialect", "list", PYTHONPATH=path)
    assert "hive/{node}/reading" in run(*cli, "dialect", "show", "beehive", PYTHONPATH=path)
    assert "hive/{node}/reading" in run(*cli, "dialect", "asyncapi", "beehive", PYTHONPATH=path)


BATCH = """
import json, sys
sys.path.insert(0, sys.argv[1] + "/protocol")
from fieldproto import dialects
from fieldproto.errors import MessageError

hive = dialects.load("beehive")
READING = "hive/7/reading"


def tried(call, *args):
    try:
        return call(*args)
    except MessageError as error:
        return str(error)


def heard(payload, topic=READING):
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return tried(hive.decode, topic, raw)


entries = [({"air_temperature": 30.0 + n / 2}, {"boot": "3-a1b2", "seq": n}) for n in range(1, 21)]
packet = hive.encode_batch("7", entries)
assert packet.topic == READING and packet.qos == 1 and not packet.retain
records = heard(packet.payload)
assert [record.ext["seq"] for record in records] == list(range(1, 21))
got = [record.values["air_temperature"] for record in records]
assert got == [values["air_temperature"] for values, _ in entries]
assert len(heard(hive.encode_batch("7", entries[:1]).payload)) == 1
good = {"t": 35}
for said in (
    tried(hive.encode_batch, "7", entries + entries[:1]),
    tried(hive.encode_batch, "7", []),
    tried(hive.encode_batch, "7", [entries[0], ({"air_temperature": "warm"}, None)]),
    tried(dialects.load("farm").encode_batch, "7", entries[:1]),
    heard([]),
    heard([good] * 21),
    heard([good, good, {"t": "warm"}]),
    heard([good, {"t": 35, "_fh": {"seq": -1}}]),
    heard([good, [good]]),
    heard([{}]),
    heard([{"state": "online"}], "hive/7/state"),
    tried(hive.decode, "hive/7/do", b'[{"do": "measure"}]', "node", "7"),
):
    print(said)
"""
REFUSALS = """\
beehive reading: holds up to 20 readings, not 21
beehive reading: holds up to 20 readings, not 0
beehive reading: t: is a string, not a number
farm reading: holds up to 0 readings, not 1
beehive reading: is a list of 0, not of 1 to 20
beehive reading: is a list of 21, not of 1 to 20
beehive reading: [2].t: is a string, not a number
beehive reading: [1]._fh.seq: -1 is below 0
beehive reading: [1]: is not a JSON object
beehive reading: [0]: carries no reading
beehive state: is not a JSON object
beehive do: is not a JSON object
"""


def test_a_batch_is_read_as_written_and_a_bad_entry_refuses_it_on_cpython(tree: Path) -> None:
    (tree / "batch.py").write_text(BATCH)
    assert run(sys.executable, tree / "batch.py", tree) == REFUSALS


def test_a_batch_is_read_as_written_and_a_bad_entry_refuses_it_on_micropython(tree: Path) -> None:
    command = micropython()
    if command is None:
        missing("no micropython command: make venv")
    (tree / "batch.py").write_text(BATCH)
    assert run(command, tree / "batch.py", tree, MICROPYPATH=".frozen") == REFUSALS


VALIDATE = """
import json
import jsonschema
from fieldhand import asyncapi, dialectdoc, dialects, models

hive = dialects.unbound("beehive")
schema = asyncapi.document("beehive")["components"]["messages"]["reading"]["payload"]
adapter = models.adapter("beehive", "reading")
one = {"t": 35}
for payload in (one, [one], [one] * 20, [], [one] * 21, [{"t": "warm"}], [[]], 3):
    text = json.dumps(payload)
    verdicts = [jsonschema.Draft7Validator(schema).is_valid(payload)]
    for reader in (adapter.validate_json, lambda t: hive.decode("hive/7/reading", t.encode())):
        try:
            reader(text)
            verdicts.append(True)
        except ValueError:
            verdicts.append(False)
    print(*verdicts)
print([message["batch"] for message in dialectdoc.describe(hive)["messages"]])
"""


def test_schema_model_and_decoder_agree_on_a_batch(tree: Path) -> None:
    (tree / "validate.py").write_text(VALIDATE)
    path = f"{tree / 'protocol'}{os.pathsep}{ROOT / 'host'}"
    said = run(sys.executable, tree / "validate.py", PYTHONPATH=path).splitlines()
    assert said == 3 * ["True True True"] + 5 * ["False False False"] + ["[20, 0, 0]"]
    cli = (sys.executable, "-m", "fieldhand.cli")
    shown = run(*cli, "dialect", "show", "beehive", PYTHONPATH=path)
    assert "reading (reading, node -> host, QoS 1, up to 20 in a list)" in shown
