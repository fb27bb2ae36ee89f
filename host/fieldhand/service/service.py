"""`Service`: all parts, started and stopped in order.

Start: database, broker (the one in this process, if so), publisher, parts that were added, ingest.
Stop: the other way round, so that what has been read is stored before anything goes away.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from fieldhand.broker import Broker
from fieldhand.broker.stats import BrokerStats
from fieldhand.connection import BrokerAddress, Connection
from fieldhand.errors import ConfigError
from fieldhand.service.access.access import Access
from fieldhand.service.agronomy.observing import models_folder
from fieldhand.service.agronomy.part import Agronomy
from fieldhand.service.arrivals import Hook
from fieldhand.service.commands.answering import Answering
from fieldhand.service.commands.guards import Winds
from fieldhand.service.commands.lifecycle import Commands
from fieldhand.service.housekeeping import Housekeeping
from fieldhand.service.ingest.workers import Ingest
from fieldhand.service.live.hub import Hub
from fieldhand.service.logs import Journal
from fieldhand.service.metrics import Metrics
from fieldhand.service.pulse import Pulse
from fieldhand.service.settings import ServiceSettings, default_database
from fieldhand.service.store import nodes
from fieldhand.service.store.database import Database
from fieldproto.messages import Packet

if TYPE_CHECKING:
    from fieldhand.fleetfile import FleetFile
    from fieldhand.service.influx import InfluxBridge

CONNECT_TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


class Part(Protocol):
    """Something that runs while the service runs."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Service:
    """The host service without its web server, which `app.create_app` puts before it.

    `broker` None: one is started in this process, on the fleet file's port or `embedded_port`.
    Add parts and hooks before `start`. A context manager. `start` raises StoreError or
    BrokerUnavailable, and then nothing runs.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        broker: BrokerAddress | None = None,
        file: FleetFile | None = None,
        embedded_port: int | None = None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.file = file
        path = file.path if file is not None else None
        self.database = Database(settings.database or default_database(path))
        self.hub = Hub(settings.live_queue, settings.live_clients, settings.live_stall_s)
        self.started_at = 0.0
        self._broker_address = broker
        self._embedded: Broker | None = None
        self._stats: BrokerStats | None = None
        if broker is None:
            port = file.broker.port if file is not None else 1883
            port = port if embedded_port is None else embedded_port
            host = file.broker.host if file is not None else "127.0.0.1"
            self._embedded = Broker(host, port, users)
        self._parts: list[Part] = []
        self._hooks: list[Hook] = []
        self._running: list[Part] = []
        self._ingest: Ingest | None = None
        self._publisher: Connection | None = None
        self._lock = threading.Lock()
        self.pulse = Pulse(self.database, settings.database_silent_s, self._behind_s)
        self.add_part(self.pulse)
        self.access = Access(self.database, settings)
        self.add_part(self.access)
        self.winds = Winds()
        self.add_hook(self.winds)
        self.commands = Commands(
            settings, self.database, self.hub, self.winds, self.publish, lambda: self.ready
        )
        self.add_part(self.commands)
        self.add_hook(Answering(self.database, self.commands))
        self.housekeeping = Housekeeping(self.database, settings)
        self.add_part(self.housekeeping)
        models = models_folder(settings, self.database, path)
        self.agronomy = Agronomy(settings, self.database, self.hub, self.winds, models)
        self.add_part(self.agronomy)
        self.add_hook(self.agronomy)
        self.influx = self._bridge()
        if self.influx is not None:
            self.add_part(self.influx)
            self.add_hook(self.influx)
        self.metrics = Metrics(self)
        self.add_hook(self.metrics.latency)
        self.add_hook(Journal())

    # -- what others build on --------------------------------------------------------------------

    def add_part(self, part: Part) -> None:
        """Started before the ingest and stopped after it, in reverse order."""
        self._parts.append(part)

    def add_hook(self, hook: Hook) -> None:
        """Called for all that comes in: see `arrivals.Hook`."""
        self._hooks.append(hook)

    @property
    def ingest(self) -> Ingest:
        """Raises RuntimeError while the service does not run."""
        if self._ingest is None:
            raise RuntimeError("the service is not running")
        return self._ingest

    @property
    def broker(self) -> BrokerAddress:
        """Where the broker is; that of an embedded one is known once it runs."""
        if self._broker_address is None:
            raise RuntimeError("the service is not running")
        return self._broker_address

    @property
    def embedded_broker(self) -> Broker | None:
        return self._embedded

    def publish(self, packet: Packet, timeout: float = 10.0) -> None:
        """Publish and wait for the broker's acknowledgement. Raises BrokerUnavailable.

        On a connection of its own: a full database delays no command.
        """
        if self._publisher is None:
            raise RuntimeError("the service is not running")
        self._publisher.publish(packet, timeout)

    @property
    def ready(self) -> str | None:
        """None when readings are being stored, else why not."""
        if self._ingest is None:
            return "not running"
        behind = self._ingest.behind_s
        trouble = self.pulse.trouble or self._ingest.trouble
        if trouble is not None:
            return f"{trouble}; {behind:.0f} s behind" if behind >= 1 else trouble
        if not self._ingest.connected:
            return "not connected to the broker"
        return f"{behind:.0f} s behind" if behind > self.settings.ready_lag_s else None

    # -- life ------------------------------------------------------------------------------------

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all parts; returns when readings are being stored."""
        with self._lock:
            try:
                self._start()
            except BaseException:
                self._stop()
                raise

    def stop(self) -> None:
        """Store and acknowledge what has been read, and stop all parts. Safe to call twice."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        self.database.open()
        self.access.check_bind()
        self._declare_nodes()
        if self._embedded is not None:
            self._embedded.start()
            self._stats = BrokerStats(self._embedded)
            self._stats.__enter__()
            self._broker_address = self._embedded_address()
        self._publisher = Connection(self.broker, {}, lambda message: None)
        self._publisher.connect(CONNECT_TIMEOUT_S)
        for part in self._parts:
            part.start()
            self._running.append(part)
        self._ingest = Ingest(
            self.broker, self.settings, self.database, self.hub, tuple(self._hooks)
        )
        self._ingest.start()
        self.started_at = time.time()
        _log.info("storing in %s what comes from %s:%d", self.database.name, *self._where())

    def _stop(self) -> None:
        if self._ingest is not None:
            self._ingest.stop()
            self._ingest = None
        if self.database.silence() is not None:
            self.database.give_up()
        while self._running:
            part = self._running.pop()
            try:
                part.stop()
            except Exception:
                _log.exception("%s did not stop as it should", type(part).__name__)
        if self._publisher is not None:
            with contextlib.suppress(Exception):
                self._publisher.close()
            self._publisher = None
        if self._stats is not None:
            self._stats.__exit__(None, None, None)
            self._stats = None
        if self._embedded is not None:
            self._embedded.stop()
        self.database.close()

    def _behind_s(self) -> float:
        return self._ingest.behind_s if self._ingest is not None else 0.0

    def _declare_nodes(self) -> None:
        """The fleet file's nodes are known before they are heard."""
        if self.file is None:
            return
        with self.database.writing() as connection:
            for node in self.file.nodes.values():
                tenant = {
                    name: str(node.options[name]) for name in nodes.TENANTS if name in node.options
                }
                nodes.register(
                    connection,
                    self.database,
                    nodes.key_of(node.dialect, tenant, node.name),
                    options=node.options,
                    extras=node.extras,
                )

    def _embedded_address(self) -> BrokerAddress:
        assert self._embedded is not None
        given: dict[str, Any] = {}
        if self.file is not None and self.file.broker.user is not None:
            address = self.file.broker.address()
            given = {"user": address.user, "password": address.password}
        return BrokerAddress(self._embedded.host, self._embedded.port, **given)

    def _bridge(self) -> InfluxBridge | None:
        settings = self.settings
        if not settings.influx:
            return None
        try:
            from fieldhand.service.influx import InfluxBridge
        except ModuleNotFoundError as error:
            missing = f"{error.name} is not installed: pip install 'fieldhand[influx]'"
            raise ConfigError("service.influx", [missing]) from None
        token = settings.influx_token.get_secret_value()
        return InfluxBridge(settings.influx, token, settings.influx_queue, settings.drain_s)

    def _where(self) -> tuple[str, int]:
        return self.broker.host, self.broker.port
