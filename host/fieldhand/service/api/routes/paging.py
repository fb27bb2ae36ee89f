"""Time ranges and pages, the same for every list."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from fieldhand.service.store.window import Place, Window

MAX_PAGE = 10_000

# Unix seconds that a float and a database agree on.
Seconds = Annotated[
    float | None,
    Query(ge=-1e11, le=1e11, allow_inf_nan=False, examples=[1781000000], description="Unix time"),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="rows of one page")]
Page = Annotated[
    str | None,
    Query(
        pattern=r"^-?\d{1,12}(\.\d{1,9})?,\d{1,18}$",
        description="`next` of the page before",
        examples=["1781000000.0,4711"],
    ),
]


def _window(
    since: Seconds = None, until: Seconds = None, after: Page = None, limit: Limit = 1000
) -> Window:
    return Window(since, until, _place(after), limit)


WindowDep = Annotated[Window, Depends(_window)]


def _place(page: str | None) -> Place | None:
    """The (at, id) that `cursor` wrote."""
    if page is None:
        return None
    at, _, id = page.partition(",")
    return float(at), int(id)


def cursor(place: tuple[float, int]) -> str:
    """Where a page ended, for the question that goes on."""
    return f"{place[0]!r},{place[1]}"
