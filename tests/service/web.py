"""A plain HTTP client for a service under test, and accounts to come with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from fieldhand.service.access import accounts
from fieldhand.service.store.database import Database

TIMEOUT_S = 20.0


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Web:
    """Requests to one URL with one token, or none."""

    url: str
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        request = Request(self.url + path, data, sent, method=method)
        try:
            with urlopen(request, timeout=TIMEOUT_S) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)


def part(word: str) -> str:
    """A word as one part of a path."""
    return quote(word, safe="")


def token(database: Database, scope: str, org: str | None = None, days: float | None = None) -> str:
    """A new token, itself."""
    with database.writing() as connection:
        return accounts.make_token(connection, f"{org} {scope}", scope, org, days)[0]
