"""`fieldhand user`, `token`, `organisation`, and a service that is not left open."""

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
import time
from typing import NamedTuple
from unittest import mock

import pytest
from service.running import serving
from service.web import Web

from fieldhand.cli import main

PASSWORD = "correct horse battery"


class Done(NamedTuple):
    stdout: str
    stderr: str


def fieldhand(folder, *arguments, stdin="", code=0):
    """The command, in this process: starting one takes most of a second."""
    out, error = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
    ):
        returned = main(arguments)
    assert returned == code, error.getvalue()
    return Done(out.getvalue(), error.getvalue())


def test_people_tokens_and_organisations_from_the_command_line(tmp_path):
    fieldhand(tmp_path, "organisation", "add", "farm_001", "--name", "Sunny Side")
    added = fieldhand(
        *(tmp_path, "user", "add", "ada", "--organisation", "farm_001", "--scope", "admin"),
        stdin=PASSWORD + "\n",
    )
    assert added.stdout == "" and PASSWORD not in added.stderr
    made = fieldhand(tmp_path, "token", "add", "script", "--days", "2")
    secret = made.stdout.strip()
    assert secret.startswith("fh_") and secret not in made.stderr
    with serving(tmp_path, "--broker-port", "0", "--host", "0.0.0.0") as serve:
        url = serve.url.replace("0.0.0.0", "127.0.0.1")
        assert Web(url).get("/me").status == 401
        entered = Web(url).ask("POST", "/login", {"name": "ada", "password": PASSWORD})
        assert entered.json()["organisation"] == "farm_001"
        assert Web(url, secret).get("/me").json()["scopes"] == ["read"]
        # While it runs: the next request knows.
        fieldhand(tmp_path, "token", "revoke", "1")
        assert Web(url, secret).get("/me").status == 401
        fieldhand(tmp_path, "user", "password", "ada", stdin="another horse battery\n")
        again = Web(url).ask("POST", "/login", {"name": "ada", "password": PASSWORD})
        assert again.status == 401
    (person,) = json.loads(fieldhand(tmp_path, "user", "list", "--json").stdout)
    assert (person["name"], person["organisation"]) == ("ada", "farm_001")
    (token,) = json.loads(fieldhand(tmp_path, "token", "list", "--json").stdout)
    assert token["revoked"] and token["expires"] == pytest.approx(time.time() + 172_800, abs=300)
    assert secret not in json.dumps(token)
    listed = fieldhand(tmp_path, "organisation", "list").stdout
    assert listed == "farm_001 (Sunny Side): 0 nodes\n"
    fieldhand(tmp_path, "user", "remove", "ada")
    assert fieldhand(tmp_path, "user", "list").stderr == "nobody yet: fieldhand user add NAME\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("user", "add", "ada"), "", "no password"),
        (("user", "add", "ada"), "short\n", "10 characters or more"),
        (("user", "add", "ada", "--organisation", "x"), PASSWORD, "no organisation 'x'"),
        (("user", "add", "a\nb"), PASSWORD, "one line"),
        (("user", "remove", "eve"), "", "no person 'eve'"),
        (("token", "revoke", "7"), "", "no token 7"),
        (("organisation", "add", "a/b"), "", "cannot stand in a topic"),
        (("user", "list", "--database", "mysql://h/d"), "", "is neither sqlite"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_one_line(tmp_path, arguments, stdin, says):
    done = fieldhand(tmp_path, *arguments, stdin=stdin, code=2)
    assert says in done.stderr.splitlines()[-1]


def test_a_password_is_asked_for_on_a_terminal_and_not_shown(tmp_path):
    outside, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldhand.cli", "user", "add", "ada"],
        cwd=tmp_path,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    shown = ""
    try:
        for prompt in ("Password: ", "Repeat for confirmation: "):
            while prompt not in shown:
                shown += os.read(outside, 1024).decode()
            # getpass empties the terminal's input as it starts to read.
            time.sleep(0.3)
            os.write(outside, f"{PASSWORD}\n".encode())
        assert process.wait(30) == 0
        while "added ada" not in shown:
            shown += os.read(outside, 1024).decode()
    finally:
        process.kill()
        process.wait(30)
        os.close(outside)
    assert PASSWORD not in shown


def test_a_service_for_others_wants_somebody_first(tmp_path):
    arguments = ("serve", "--port", "0", "--broker-port", "0", "--host", "0.0.0.0")
    refused = fieldhand(tmp_path, *arguments, code=2)
    last = refused.stderr.splitlines()[-1]
    assert last.startswith("error: listening on 0.0.0.0") and "fieldhand user add" in last
    with serving(tmp_path, "--broker-port", "0", "--host", "0.0.0.0", "--open") as serve:
        url = serve.url.replace("0.0.0.0", "127.0.0.1")
        assert Web(url).get("/me").json()["name"] == "local"
        assert serve.log.count("there is no person and no token yet") == 1


def test_a_named_proxy_is_believed_and_no_other(tmp_path):
    fieldhand(tmp_path, "user", "add", "ada", stdin=PASSWORD + "\n")
    login = {"name": "ada", "password": PASSWORD}
    forwarded = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.7"}
    for proxies, expected in (('["127.0.0.1"]', "__Host-fieldhand_session="), ("", "fieldhand_s")):
        env = {"FIELDHAND_SERVICE_PROXIES": proxies} if proxies else {}
        with serving(tmp_path, "--broker-port", "0", env=env) as serve:
            entered = Web(serve.url).ask("POST", "/login", login, **forwarded)
            assert entered.headers["Set-Cookie"].startswith(expected)
            assert ("Secure" in entered.headers["Set-Cookie"]) is bool(proxies)


@pytest.mark.parametrize(
    "command",
    [
        ("user", "list"),
        ("token", "list"),
        ("organisation", "list"),
        ("dead-letter", "list"),
        ("dead-letter", "show", "1"),
        ("dead-letter", "replay", "--all"),
    ],
)
def test_a_database_that_is_not_there_is_said_and_not_made(tmp_path, command):
    url = f"sqlite:///{tmp_path}/new/typo.db"
    told = fieldhand(tmp_path, *command, "--database", url, code=2)
    assert told.stdout == "" and "typo.db: is not there" in told.stderr
    assert list(tmp_path.iterdir()) == []
