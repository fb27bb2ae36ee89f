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
    assert run(sys.executable, tree / "prove.py", tree) == "3 hold\n"


def test_its_vectors_hold_on_micropython(tree: Path) -> None:
    command = micropython()
    if command is None:
        missing("no micropython command: make venv")
    assert run(command, tree / "prove.py", tree, MICROPYPATH=".frozen") == "3 hold\n"


def test_the_command_line_knows_it(tree: Path) -> None:
    path = f"{tree / 'protocol'}{os.pathsep}{ROOT / 'host'}"
    cli = (sys.executable, "-m", "fieldhand.cli")
    assert "beehive" in run(*cli, "dialect", "list", PYTHONPATH=path)
    assert "hive/{node}/reading" in run(*cli, "dialect", "show", "beehive", PYTHONPATH=path)
    assert "hive/{node}/reading" in run(*cli, "dialect", "asyncapi", "beehive", PYTHONPATH=path)
