"""The command line where no broker is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldhand import dialects
from fieldhand.cli import cli, main

ROOT = Path(__file__).parents[2]
# Of a frozen image or of a host: not on the flash of a node.
ELSEWHERE = ("manifest.py", "_boot.py", "flash.py", "jsonhost.py", "uplink.py")


@pytest.fixture
def project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    capsys.readouterr()
    return tmp_path


def run(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


def test_init_writes_once_and_never_overwrites(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gitignore").write_text("mine")
    code, out, _ = run(capsys, "init")
    assert code == 0 and out.split() == ["fleet.toml", ".env.example", ".gitignore"]
    ignored = (tmp_path / ".gitignore").read_text().split()
    assert ignored == ["mine", ".env", "build/", ".fieldhand/"]
    (tmp_path / "fleet.toml").write_text("# my own\n")
    code, out, err = run(capsys, "init")
    assert code == 2 and out == "" and err == "error: fleet.toml exists; it is left as it is\n"
    assert (tmp_path / "fleet.toml").read_text() == "# my own\n"
    code, out, _ = run(capsys, "init", "new/folder", "--json")
    assert code == 0 and len(json.loads(out)["written"]) == 3


def test_node_list_and_show(project, capsys):
    code, out, _ = run(capsys, "node", "list")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == [
        "greenhouse", "panel-7", "pool", "01", "farm_001",
    ]  # fmt: skip
    _, out, _ = run(capsys, "node", "list", "--json")
    assert json.loads(out)[2] == {
        "name": "pool", "dialect": "dese", "board": "esp32-devkitc", "options": {"org": "org-123"},
    }  # fmt: skip
    _, out, _ = run(capsys, "node", "show", "pool")
    assert "telemetry: devices/org-123/pool/telemetry" in out
    assert "command set_ph_target: target_ph (number, 0 to 14, required)" in out
    _, out, _ = run(capsys, "node", "show", "pool", "--json")
    assert json.loads(out)["topics"]["alert"] == "devices/org-123/pool/alert"


def test_build_keeps_secrets_apart(project, capsys, monkeypatch):
    monkeypatch.delenv("WIFI_PASSWORD", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))  # no image of before
    code, _, err = run(capsys, "build", "pool")
    assert code == 2 and "node_host: a node on a real board cannot reach 127.0.0.1" in err
    text = Path("fleet.toml").read_text()
    Path("fleet.toml").write_text(text.replace("# node_host", "node_host"))
    code, _, err = run(capsys, "build", "pool")
    assert code == 2 and "WIFI_PASSWORD is not set" in err and not Path("build/pool").exists()
    Path(".env").write_text("WIFI_PASSWORD=hunter2\n")
    code, out, err = run(capsys, "build", "pool", "--source")
    assert code == 0 and "hunter2" not in out + err
    files = Path("build/pool/files")
    assert json.loads((files / "node.json").read_text())["broker"]["host"] == "192.168.1.10"
    for source in ("firmware", "protocol"):
        for path in (ROOT / source).rglob("*.py"):
            copied = files / path.relative_to(ROOT / source)
            if path.name not in ELSEWHERE:
                assert copied.read_bytes() == path.read_bytes()
    assert not list(files.rglob("__pycache__"))
    telling = {path.name for path in Path("build").rglob("*.*") if b"hunter2" in path.read_bytes()}
    assert telling == {"nvs.bin"} and not (files / "secrets.json").exists()
    assert Path("build/pool/nvs.bin").stat().st_mode & 0o777 == 0o600
    code, _, _ = run(capsys, "build", "pool", "--with-secrets")
    secrets = files / "secrets.json"
    assert json.loads(secrets.read_text())["wifi_pass"] == "hunter2"
    assert secrets.stat().st_mode & 0o777 == 0o600
    run(capsys, "build", "pool")
    assert not secrets.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["node", "show", "pol"], "error: node 'pol': unknown (did you mean 'pool'?)"),
        (["send", "pool", "rebot"], "has no command 'rebot' (did you mean 'reboot'?)"),
        (["send", "pool", "set_pump", "pump_id=x"], "pump_id: 'x' is not a whole number"),
        (["send", "pool", "reboot", "--option", "a=b"], "--option needs --dialect"),
        (["send", "x", "y", "--broker", "h:p"], "--broker: is not mqtt[s]://host[:port] or HOST"),
        (["dialect", "show", "dess"], "unknown dialect 'dess' (did you mean 'dese'?)"),
        (["sim", "--count", "3"], "--count and --dialect belong together"),
        (["broker", "--user", "a=FH_TEST_UNSET"], "FH_TEST_UNSET is not set"),
        (["watch", "-f", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_mistakes_are_usage_errors(project, capsys, arguments, expected):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and expected in err


def test_every_problem_of_the_file_is_printed(project, capsys):
    Path("fleet.toml").write_text('[node.a]\ndialect = "x"\n[node.b]\ndialect = "y"\n')
    code, out, err = run(capsys, "node", "list")
    assert code == 2 and out == ""
    assert err.startswith("error: fleet.toml: [node.a] dialect") and "[node.b] dialect" in err


def test_no_broker_is_exit_code_4(project, capsys):
    for arguments in (["send", "pool", "reboot"], ["watch", "--seconds", "1"]):
        code, _, err = run(capsys, *arguments, "--broker", "127.0.0.1:1")
        assert code == 4 and err == "error: broker 127.0.0.1:1: Connection refused\n"


def test_without_a_file_or_a_broker_there_is_nothing_to_watch(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "watch")
    assert code == 2 and "'fieldhand init' writes one" in err


@pytest.mark.parametrize("name", dialects.names())
def test_dialect_commands(capsys, name):
    code, out, _ = run(capsys, "dialect", "list", "--json")
    assert code == 0 and name in [row["name"] for row in json.loads(out)]
    code, out, _ = run(capsys, "dialect", "show", name)
    for message in dialects.unbound(name).messages:
        assert message.name in out
        for topic in message.topics:
            assert f"topic {topic}" in out
    _, out, _ = run(capsys, "dialect", "show", name, "--json")
    assert json.loads(out)["name"] == name
    _, out, _ = run(capsys, "dialect", "asyncapi", name)
    assert json.loads(out)["asyncapi"] == "3.0.0"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(capsys, shell):
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0 and "_FIELDHAND_COMPLETE" in out


def test_completion_knows_nodes_and_dialects(project):
    def complete(*words):
        env = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'host'}:{ROOT / 'protocol'}",
            "_FIELDHAND_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["fieldhand", *words]),
            "COMP_CWORD": str(len(words)),
        }
        code = "import sys; from fieldhand.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30
        )
        return done.stdout.split()

    assert complete("send", "gr") == ["plain,greenhouse"]
    assert complete("dialect", "show", "d") == ["plain,dese"]


def test_every_command_says_what_it_does():
    def walk(group, path):
        for name, command in group.commands.items():
            assert command.help, (*path, name)
            if hasattr(command, "commands"):
                walk(command, (*path, name))

    walk(cli, ())


def test_help_is_quick_since_it_imports_click_alone(tmp_path):
    code = (
        "import sys; before = set(sys.modules); from fieldhand.cli import main; main(['--help']);"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "more = tops - sys.stdlib_module_names - {'click', 'fieldhand'};"
        "sys.exit(', '.join(sorted(more)) or 0)"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'host'}:{ROOT / 'protocol'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'host'}:{ROOT / 'protocol'}"}
    done = subprocess.run(
        f"{sys.executable} -m fieldhand.cli dialect asyncapi dese | head -c 10",
        shell=True, env=env, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == '{\n  "async' and done.stderr == ""
