"""One page of what a board did: build/hil/report.html. JUnit is pytest's own (make test-hil)."""

import html
import time
from pathlib import Path
from typing import Any

import pytest

PAGE = Path("build/hil/report.html")

facts: dict[str, str] = {}  # what stood on the bench
_rows: list[tuple[str, str, float, str, str]] = []  # scenario, outcome, seconds, figures, reason

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem;
  border-bottom: 1px solid #8884 }
td.failed { font-weight: bold }
pre { white-space: pre-wrap; margin: 0 }
"""


def note(item: pytest.Item, result: Any) -> None:
    """Keep the outcome of a scenario, or of its failed set-up or end."""
    if result.when != "call" and not (result.failed or result.skipped):
        return
    scenario = (item.function.__doc__ or item.name).split("\n")[0]  # type: ignore[attr-defined]
    if hasattr(item, "callspec"):
        scenario += f": {item.callspec.id}"
    figures = ", ".join(f"{name} {value}" for name, value in item.user_properties)
    reason = ""
    if result.skipped and isinstance(result.longrepr, tuple):
        reason = str(result.longrepr[2]).removeprefix("Skipped: ")
    elif result.failed:
        reason = str(getattr(result.longrepr, "reprcrash", result.longrepr))[:2000]
    outcome = result.outcome if result.when == "call" else f"{result.outcome} in {result.when}"
    _rows.append((scenario, outcome, result.duration, figures, reason))


def write(page: Path = PAGE) -> None:
    """Write the page; nothing when no scenario ran."""
    if not facts and not _rows:
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_html(), "utf-8")


def _html() -> str:
    count = len(_rows)
    passed = sum(row[1] == "passed" for row in _rows)
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    about = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    body = "".join(
        f"<tr><td>{html.escape(scenario)}</td><td class={outcome.split()[0]}>{outcome}</td>"
        f"<td>{seconds:.1f} s</td><td>{html.escape(figures)}"
        f"{f'<pre>{html.escape(reason)}</pre>' if reason else ''}</td></tr>"
        for scenario, outcome, seconds, figures, reason in _rows
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>Fieldhand: board test</title><style>{_STYLE}</style>"
        f"<h1>Board test: {passed} of {count} passed</h1><p>{now}</p>"
        f"<table>{about}</table><h2>Scenarios</h2><table><tr><th>scenario<th>outcome<th>took"
        f"<th>figures, or why</tr>{body}</table></html>\n"
    )
