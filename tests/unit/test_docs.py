"""The README cannot drift: what it names exists, what it shows runs."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fieldhand.cli import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUN_TIMEOUT_S = 60
# What was there when this was written; fewer means the patterns below no longer find them.
AT_LEAST = {"console": 1, "python": 2, "json": 1, "": 3}
LEAST_COMMANDS = 3
# The dialect the README adds; a real one stands in for it here.
EXAMPLE, STAND_IN = "beehive", "farm"


def blocks(language: str) -> list[str]:
    """Bodies of the README's fenced blocks of `language`."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [body for name, body in found if name == language]


def spans() -> list[str]:
    """Texts in single backquotes outside the fenced blocks."""
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", prose)


def shown(word: str) -> list[str]:
    """Command lines starting with `word` in plain blocks, console blocks and spans."""
    lines = [
        line for name in ("", "console") for body in blocks(name) for line in body.splitlines()
    ]
    lines += spans()
    return [line for line in (line.removeprefix("$ ") for line in lines) if line.startswith(word)]


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Path of every command that is no group."""
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path


def sessions() -> list[list[tuple[str, str]]]:
    """Console blocks as lists of (command, output shown after it)."""
    found = []
    for body in blocks("console"):
        parts = re.split(r"^\$ ", body, flags=re.MULTILINE)
        assert not parts[0].strip(), f"output before the first command: {parts[0]!r}"
        found.append([tuple(part.split("\n", 1)) for part in parts[1:]])
    return found


@pytest.mark.parametrize("language", AT_LEAST)
def test_the_blocks_are_found(language):
    assert len(blocks(language)) >= AT_LEAST[language]


@pytest.mark.parametrize("path", list(commands(cli)), ids=" ".join)
def test_every_command_is_documented(path):
    assert re.search(r"\b" + r"\s+".join(map(re.escape, path)) + r"\b", " ".join(spans())), (
        f"README.md does not name `fieldhand {' '.join(path)}`"
    )


@pytest.mark.parametrize("line", sorted(set(shown("fieldhand "))))
def test_every_command_line_shown_is_understood(line):
    words = shlex.split(line.replace(EXAMPLE, STAND_IN), comments=True)[1:]
    command: click.Command = cli
    context = None
    while isinstance(command, click.Group):
        name = words.pop(0)
        assert name in command.commands, f"README.md shows `{line}`: no command {name}"
        context = click.Context(command, parent=context)
        command = command.commands[name]
    needed = any(isinstance(p, click.Argument) and p.required for p in command.params)
    if words or not needed:
        command.make_context(command.name, words, parent=context)


def test_every_console_block_runs(tmp_path):
    home = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{home}:{os.environ['PATH']}", "COLUMNS": "200"}
    ran = 0
    for session in sessions():
        for command, expected in session:
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
            )
            said = done.stdout + done.stderr
            assert done.returncode == 0, f"$ {command}\n{said}"
            for line in expected.splitlines():
                if line.strip(" .…"):
                    assert line.strip() in said, f"$ {command}\nprints no {line!r}:\n{said}"
            ran += 1
    assert ran >= LEAST_COMMANDS


@pytest.mark.parametrize("body", blocks("python"))
def test_python_blocks_compile_and_import_what_exists(body):
    for node in ast.walk(ast.parse(body)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


def test_make_targets_shown_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [re.sub(r"^(\w+=\S+ )+", "", line) for line in shown("")]
    named = {line.split()[1] for line in lines if re.match(r"make [a-z]", line)}
    assert {"demo", "test"} <= named
    assert named <= targets, f"README.md names {named - targets}"


def test_tests_named_exist():
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = {span for span in spans() if re.fullmatch(r"test_\w+", span)}
    assert len(named) >= 5
    assert named <= defined, f"README.md names {sorted(named - defined)}"


def test_paths_named_exist():
    tops = "boards|firmware|host|protocol|tests|tools"
    named = {s for s in spans() if re.fullmatch(rf"(?:{tops})/[\w./-]+", s) and EXAMPLE not in s}
    links = set(re.findall(r"\]\((?!https?:|#)([^)#]+)", README))
    assert named
    missing = [name for name in named | links if not (ROOT / name).exists()]
    assert not missing, f"README.md names {missing}"
