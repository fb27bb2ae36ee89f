"""Where an InfluxDB is, and what of it is meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from fieldhand.errors import ConfigError


@dataclass(frozen=True)
class InfluxUrl:
    """Where to write: a database of InfluxDB 1.x, or an organisation's bucket of 2.x."""

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str | None = None
    policy: str | None = None
    org: str | None = None
    bucket: str | None = None

    @classmethod
    def of(cls, text: str, name: str = "service.influx") -> InfluxUrl:
        """http[s]://[user[:password]@]host[:port]/?db=NAME[&rp=POLICY], or ?org=ORG&bucket=BUCKET.

        Raises ConfigError; `name` is what the URL is called there.
        """
        parts = urlsplit(text)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ConfigError(name, ["is not http[s]://host[:port]/?..."])
        query = {name: words[-1] for name, words in parse_qs(parts.query).items()}
        unknown = sorted(set(query) - {"db", "rp", "org", "bucket"})
        if unknown:
            raise ConfigError(name, [f"'{unknown[0]}' is not known in the URL"])
        if ("db" in query) == ("bucket" in query) or ("bucket" in query) != ("org" in query):
            raise ConfigError(
                name,
                ["wants ?db=NAME (InfluxDB 1.x) or ?org=ORG&bucket=BUCKET (2.x) behind the host"],
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        where = host if port is None else f"{host}:{port}"
        return cls(
            f"{parts.scheme}://{where}{parts.path.rstrip('/')}",
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            query.get("db"),
            query.get("rp"),
            query.get("org"),
            query.get("bucket"),
        )

    def __str__(self) -> str:
        return f"{self.url} ({self.database or self.bucket})"
