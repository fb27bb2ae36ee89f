"""What a check found, and what everything taken together says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    `text` says what was found, with its figure and unit; `advice` what to do about it, one
    sentence; `data` holds the figures by themselves.
    """

    check: str
    state: State
    text: str
    advice: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"check": self.check, "state": self.state, "text": self.text}
        if self.advice:
            found["advice"] = self.advice
        if self.data:
            found["data"] = dict(self.data)
        return found


def ok(check: str, text: str, **data: Any) -> Finding:
    return Finding(check, "ok", text, "", data)


def warn(check: str, text: str, advice: str, **data: Any) -> Finding:
    return Finding(check, "warn", text, advice, data)


def fail(check: str, text: str, advice: str, **data: Any) -> Finding:
    return Finding(check, "fail", text, advice, data)


def skipped(check: str, why: str) -> Finding:
    return Finding(check, "skipped", why)


def healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed; warnings are allowed."""
    return all(finding.state != "fail" for finding in findings)
