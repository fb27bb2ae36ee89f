"""The firmware's version, as status and telemetry report it."""

VERSION = "0.1.0"
