"""A Grafana dashboard: a row for each dialect, a panel for each quantity, with its unit.

It reads InfluxDB by InfluxQL, which 1.x and, with a DBRP mapping, 2.x answer. Data source, tenant
and nodes are variables at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fieldhand import dialects as dialect_table
from fieldhand.export import series

# Of Grafana's dashboard JSON; older ones are migrated when they are loaded.
SCHEMA_VERSION = 39
COLUMNS = 24
WIDTH = 8
HEIGHT = 8

# Unit here -> Grafana's id of it.
UNITS = {
    "°C": "celsius",
    "%": "percent",
    "hPa": "pressurehpa",
    "pH": "none",
    "mV": "mvolt",
    "ppm": "ppm",
    "raw": "none",
    "L/min": "flowlpm",
    "km/h": "velocitykmh",
    "V": "volt",
    "A": "amp",
    "g": "accG",
    "dBm": "dBm",
    "s": "s",
    "Wh": "watth",
    "L": "litre",
    "m²": "areaM2",
    "B": "bytes",
    "": "none",
}

_SOURCE = {"type": "influxdb", "uid": "${datasource}"}


def dashboard(names: Sequence[str] = (), title: str = "Fieldhand") -> dict[str, Any]:
    """The dashboard, JSON-ready; of all dialects unless `names` says which.

    Raises FieldhandError for an unknown dialect.
    """
    panels: list[dict[str, Any]] = []
    tenants: list[str] = []
    layout = _Layout()
    for name in names or dialect_table.names():
        tags = series.tags(dialect_table.unbound(name))
        tenants += [tag for tag in tags if tag != series.NODE and tag not in tenants]
        panels.append(layout.row(name))
        for quantity, unit in series.quantities(name).items():
            query = _query(name, quantity, tags)
            panels.append(layout.panel(_words(quantity), unit, query, tags))
    for name in names or dialect_table.names():
        message = series.broker_message(name)
        if message is not None:
            panels.append(layout.row("broker, from fieldhand monitor"))
            for field in series.broker_fields(message):
                unit = series.BROKER_UNITS.get(field, "")
                panels.append(
                    layout.panel(_words(field), unit, _query(series.BROKER, field, []), [])
                )
    return {
        "uid": "fieldhand",
        "title": title,
        "tags": ["fieldhand"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source(), *map(_variable, [*tenants, series.NODE])]},
        "panels": panels,
    }


class _Layout:
    """Places panels from left to right, and numbers them."""

    def __init__(self) -> None:
        self._id = 0
        self._x = 0
        self._y = 0

    def row(self, title: str) -> dict[str, Any]:
        if self._x:
            self._x, self._y = 0, self._y + HEIGHT
        place = {"x": 0, "y": self._y, "w": COLUMNS, "h": 1}
        self._y += 1
        return {
            **{"type": "row", "id": self._next(), "title": title, "collapsed": False},
            **{"panels": [], "gridPos": place},
        }

    def panel(self, title: str, unit: str, query: str, tags: list[str]) -> dict[str, Any]:
        if self._x + WIDTH > COLUMNS:
            self._x, self._y = 0, self._y + HEIGHT
        place = {"x": self._x, "y": self._y, "w": WIDTH, "h": HEIGHT}
        self._x += WIDTH
        target = {
            **{"refId": "A", "datasource": _SOURCE, "rawQuery": True, "query": query},
            "resultFormat": "time_series",
        }
        if tags:
            target["alias"] = " ".join(f"$tag_{tag}" for tag in tags)
        return {
            **{"type": "timeseries", "id": self._next(), "title": title, "gridPos": place},
            "datasource": _SOURCE,
            "targets": [target],
            "fieldConfig": {
                "defaults": {
                    "unit": UNITS.get(unit, f"suffix:{unit}"),
                    "custom": {"spanNulls": False, "lineWidth": 1, "fillOpacity": 8},
                },
                "overrides": [],
            },
            "options": {
                "legend": {
                    **{"showLegend": True, "displayMode": "list", "placement": "bottom"},
                    "calcs": [],
                },
                "tooltip": {"mode": "multi", "sort": "none"},
            },
        }

    def _next(self) -> int:
        self._id += 1
        return self._id


def _query(measurement: str, field: str, tags: list[str]) -> str:
    wanted = [f'"{tag}" =~ /^${{{tag}:regex}}$/' for tag in tags]
    groups = ["time($__interval)", *(f'"{tag}"' for tag in tags)]
    return (
        f'SELECT mean("{field}") FROM "{measurement}" '
        f"WHERE {' AND '.join([*wanted, '$timeFilter'])} "
        f"GROUP BY {', '.join(groups)} fill(null)"
    )


def _source() -> dict[str, Any]:
    return {
        **{"name": "datasource", "label": "Data source", "type": "datasource"},
        **{"query": "influxdb", "refresh": 1, "multi": False, "includeAll": False, "hide": 0},
    }


def _variable(tag: str) -> dict[str, Any]:
    return {
        **{"name": tag, "label": _words(tag), "type": "query", "datasource": _SOURCE},
        **{"query": f'SHOW TAG VALUES WITH KEY = "{tag}"', "refresh": 2, "sort": 1, "hide": 0},
        **{"multi": True, "includeAll": True, "allValue": ".*"},
        "current": {"text": "All", "value": "$__all"},
    }


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
