"""What the service is told: by the command line, the environment and [service] of the fleet file.

In that order: the command line wins. An environment variable is FIELDHAND_SERVICE_ and the
setting's name in capitals.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from fieldhand import dialects
from fieldhand.errors import ConfigError, FieldhandError, did_you_mean
from fieldhand.service.farm import FarmSettings
from fieldproto.jsonstrict import MAX_PAYLOAD

PREFIX = "FIELDHAND_SERVICE_"
DATABASE_NAME = "service.db"
# Not to stand in a file that is committed.
SECRETS = frozenset({"influx_token"})


class ServiceSettings(BaseModel):
    """Every setting with its default; times in seconds unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    database: str = Field("", description="its URL; empty: SQLite beside the fleet file")
    host: str = Field("127.0.0.1", description="address the service listens on")
    port: int = Field(8000, ge=0, le=65535, description="its port; 0 takes a free one")

    open: bool = Field(False, description="let everybody in while there is no person and no token")
    proxies: tuple[str, ...] = Field(
        (), description="addresses of reverse proxies whose X-Forwarded-* are believed"
    )
    session_s: float = Field(604_800, ge=60, le=31_536_000, description="how long a login lasts")
    max_connections: int = Field(16_384, ge=1, le=1_000_000, description="HTTP and WebSocket")
    request_s: float = Field(30, gt=0, le=3_600, description="what a request may take to come in")
    max_body: int = Field(262_144, ge=1_024, description="bytes of one request's body")

    client_id: str = Field(
        "fieldhand-service", min_length=1, max_length=64, description="MQTT client id"
    )
    dialects: tuple[str, ...] = Field((), description="those to listen to; none: all")
    workers: int = Field(1, ge=1, le=64, description="connections that share the load")
    group: str = Field("fieldhand", pattern=r"^[^/+#\x00]+$", description="their $share group")

    batch_rows: int = Field(500, ge=1, le=10_000, description="messages in one commit, at most")
    max_payload: int = Field(
        MAX_PAYLOAD, ge=256, le=MAX_PAYLOAD, description="bytes of one message; JSON has no more"
    )
    max_nodes: int = Field(20_000, ge=1, description="nodes known; a stranger beyond is refused")
    claim_heard: bool = Field(
        True, description="an organisation may register what was heard and is nobody's"
    )
    node_rate: float = Field(50.0, ge=0, description="messages a second of one node; 0: any")
    node_burst: int = Field(10_000, ge=1, description="messages of one node at once")
    node_silent_s: float = Field(
        3_900, gt=0, le=31_536_000, description="a node not heard for longer is called silent"
    )
    store_every: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="dialect -> seconds between stored readings of a node"
    )

    keep_readings_days: float = Field(0, ge=0, description="0: for ever, as the others")
    keep_minutes_days: float = Field(0, ge=0)
    keep_hours_days: float = Field(0, ge=0)
    keep_events_days: float = Field(0, ge=0)
    keep_commands_days: float = Field(0, ge=0, description="from the end of each")
    keep_dead_letters_days: float = Field(30, ge=0)
    housekeeping_s: float = Field(60, gt=0, description="between two runs of the housekeeping")

    command_timeout_s: float = Field(30, gt=0, le=86_400)
    command_retries: int = Field(0, ge=0, le=100)
    wind_max_age_s: float = Field(
        900, gt=0, description="how old a measured wind may be that lets a farm fertilize"
    )
    wind_unknown_blocks: bool = Field(
        True, description="false: a farm whose wind is not known may fertilize"
    )

    agronomy: dict[str, FarmSettings] = Field(
        default_factory=dict, description="farm -> its place, crop and soil; '*': every farm"
    )
    agronomy_every_s: float = Field(
        30, ge=1, le=86_400, description="between two analyses of a farm that are shown live"
    )
    agronomy_models: str = Field("", description="folder of trained models; empty: .../agronomy")

    live_queue: int = Field(1_000, ge=1, description="events waiting for one live client")
    live_stall_s: float = Field(
        10, gt=0, le=3_600, description="a live client that takes nothing so long is dropped"
    )
    live_clients: int = Field(10_000, ge=1, description="live clients at once")
    drain_s: float = Field(10, gt=0, description="what a graceful stop may take")
    ready_lag_s: float = Field(60, gt=0, description="not ready when what has come in waits longer")
    database_silent_s: float = Field(
        5, gt=0, le=60, description="one that does not answer for so long is away until it does"
    )

    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="auto: text on a terminal"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    influx: str = Field(
        "", description="http://host:8086/?db=NAME (InfluxDB 1.x) or /?org=ORG&bucket=BUCKET (2.x)"
    )
    influx_token: SecretStr = Field(SecretStr(""), description="of 2.x; from the environment")
    influx_queue: int = Field(50_000, ge=1, le=10_000_000, description="readings that may wait")

    @field_validator("dialects", "store_every")
    @classmethod
    def _of_dialects(cls, value: Iterable[str]) -> Iterable[str]:
        """Raises ValueError for a dialect there is not."""
        for name in value:
            try:
                dialects.check_name(name)
            except FieldhandError as error:
                raise ValueError(str(error)) from None
        return value


def load(
    file: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    path: Path | None = None,
) -> ServiceSettings:
    """The settings; `file` is the fleet file's [service], `path` where it is.

    `overrides` that are None count as not given. Raises ConfigError with all that is wrong.
    """
    values = dict(file or {})
    where = str(path) if path is not None else "the service's settings"
    if found := sorted(SECRETS & set(values)):
        name = found[0]
        reason = f"a secret: put it into the environment as {PREFIX}{name.upper()}"
        raise ConfigError(where, [f"service.{name}: {reason}"])
    for name, text in (os.environ if environment is None else environment).items():
        if name.startswith(PREFIX):
            values[name.removeprefix(PREFIX).lower()] = _from_text(text)
    values |= {k: v for k, v in (overrides or {}).items() if v is not None}
    try:
        return ServiceSettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(where, [_problem(item) for item in error.errors()]) from None


def default_database(fleet_file: Path | None) -> str:
    """SQLite in .fieldhand beside the fleet file, or in this folder."""
    folder = (fleet_file.absolute().parent if fleet_file is not None else Path.cwd()) / ".fieldhand"
    return f"sqlite:///{folder / DATABASE_NAME}"


def _from_text(text: str) -> Any:
    """A list or table is written as JSON; pydantic reads numbers from text itself."""
    if text.lstrip()[:1] in ("[", "{"):
        import json

        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _problem(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        hint = did_you_mean(name, list(ServiceSettings.model_fields))
        return f"service.{name}: is not a setting{hint}"
    # What a validator here raised needs no "Value error" before it.
    message = str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"]
    message = message[:1].lower() + message[1:]
    return f"service.{name}: {message}"
