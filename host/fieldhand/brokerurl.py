"""Where a broker is, as a person writes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from fieldhand.errors import ConfigError

if TYPE_CHECKING:
    from fieldhand.connection import BrokerAddress


@dataclass(frozen=True)
class BrokerUrl:
    """HOST[:PORT], or a URL; `tls` is None where the text does not say."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool | None = None

    @classmethod
    def of(cls, text: str, name: str = "--broker") -> BrokerUrl:
        """mqtt://[user[:password]@]host[:port], mqtts:// with TLS, or HOST[:PORT].

        `%XX` stands for a character that a URL cannot have. Raises ConfigError; `name` is what the
        text is called there.
        """
        has_scheme = "://" in text
        try:
            parts = urlsplit(text if has_scheme else f"mqtt://{text}")
            port = parts.port
        except ValueError:
            raise ConfigError(name, ["is not mqtt[s]://host[:port] or HOST[:PORT]"]) from None
        if parts.scheme not in ("mqtt", "mqtts"):
            raise ConfigError(name, [f"'{parts.scheme}://...' is not mqtt[s]://host[:port]"])
        if not parts.hostname or port == 0:
            raise ConfigError(name, ["is not mqtt[s]://host[:port] or HOST[:PORT]"])
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigError(name, ["there is something behind the port"])
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname,
            port if port is not None else 8883 if tls else 1883,
            unquote(parts.username) if parts.username is not None else None,
            unquote(parts.password) if parts.password is not None else None,
            tls if has_scheme else None,
        )

    def over(self, address: BrokerAddress) -> BrokerAddress:
        """This instead of `address`, whose user and TLS stay where nothing is said of them."""
        changed = replace(address, host=self.host, port=self.port)
        if self.user is not None:
            changed = replace(changed, user=self.user, password=self.password)
        if self.tls is not None:
            changed = replace(changed, tls_ca=(address.tls_ca or "") if self.tls else None)
        return changed
