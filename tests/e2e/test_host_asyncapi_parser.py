"""Our AsyncAPI documents before the AsyncAPI Initiative's own parser, where npm is to be had.

The unit tests hold them against the schema; the parser also follows references and checks what a
schema cannot.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import missing

from fieldhand import asyncapi, dialects

ROOT = Path(__file__).parents[2]
PARSER = "@asyncapi/parser@3.6.3"
SPECS = "@asyncapi/specs@6.11.1"
SCHEMA = "schemas/3.0.0-without-$id.json"

SCRIPT = """
import {Parser} from '@asyncapi/parser';
import fs from 'fs';
const parser = new Parser();
const found = {};
for (const file of process.argv.slice(2)) {
  const {document, diagnostics} = await parser.parse(fs.readFileSync(file, 'utf8'));
  found[file] = {
    parsed: document !== undefined,
    problems: diagnostics.filter(d => d.severity < 2).map(d => d.path.join('.') + ': ' + d.message),
  };
}
console.log(JSON.stringify(found));
"""


@pytest.fixture(scope="module")
def folder():
    """A folder with the parser installed; kept in build/ from one run to the next."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("npm and node are not installed: the AsyncAPI parser cannot be run")
    place = ROOT / "build" / "asyncapi-parser"
    wanted = f"{PARSER} {SPECS}"
    mark = place / "installed"
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text('{"private": true, "type": "module"}')
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock",
             "--silent", PARSER, SPECS],
            cwd=place, check=True, timeout=300, env={**os.environ, "NO_UPDATE_NOTIFIER": "1"},
        )  # fmt: skip
        mark.write_text(wanted)
    return place


def parse(folder, documents):
    script = folder / "parse.mjs"
    script.write_text(SCRIPT)
    names = []
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
        names.append(f"{name}.json")
    done = subprocess.run(
        ["node", script.name, *names], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_parser_accepts_every_dialect(folder):
    found = parse(folder, {name: asyncapi.document(name) for name in dialects.names()})
    assert found == {f"{name}.json": {"parsed": True, "problems": []} for name in dialects.names()}


def test_the_parser_does_refuse(folder):
    document = asyncapi.document("farm")
    document["operations"]["receive_telemetry"]["channel"]["$ref"] = "#/channels/nowhere"
    found = parse(folder, {"broken": document})["broken.json"]
    assert found["problems"]


def test_our_copy_of_the_schema_is_the_package_s(folder):
    ours = (ROOT / "tests" / "schemas" / "asyncapi-3.0.0.json").read_bytes()
    assert (folder / "node_modules" / "@asyncapi" / "specs" / SCHEMA).read_bytes() == ours
