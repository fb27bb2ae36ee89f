"""The bench: one board on PORT, this machine as its broker, and what is noted of each scenario."""

import os
from collections.abc import Iterator

import pytest
from hil import report
from hil.bench import Bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The board, flashed as a blank one is, and heard."""
    with Bench(tmp_path_factory.mktemp("bench")) as made:
        report.facts.update(made.facts())
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report.note(item, outcome.get_result())


def pytest_sessionfinish() -> None:
    if os.environ.get("PORT"):  # a run without a board leaves the last one's page
        report.write()
