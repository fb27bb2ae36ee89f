"""What is wrong with a node, and what to do about it: over its cable, or over MQTT."""

from fieldhand.doctor.cable import examine, host_version, patient
from fieldhand.doctor.checks import CHECKS, Patient
from fieldhand.doctor.findings import Finding, healthy

__all__ = ["CHECKS", "Finding", "Patient", "examine", "healthy", "host_version", "patient"]
