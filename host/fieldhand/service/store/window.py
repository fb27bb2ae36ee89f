"""Which rows of a history are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

# What one question may bring back.
MAX_ROWS = 100_000

# Where a page ended: the time and, where rows have one, the number of its last.
Place = tuple[float, int]


@dataclass(frozen=True)
class Window:
    """`limit` rows with `since` <= at < `until`, in order, that follow those up to `place`."""

    since: float | None = None
    until: float | None = None
    place: Place | None = None
    limit: int = 1000

    def of(
        self, query: sa.Select[Any], table: sa.Table, newest_first: bool = False
    ) -> sa.Select[Any]:
        """These rows of `table`, which has `at` and `id`, ordered by both."""
        at, id = table.c.at, table.c.id
        if self.since is not None:
            query = query.where(at >= self.since)
        if self.until is not None:
            query = query.where(at < self.until)
        if self.place is not None:
            here, last = sa.tuple_(at, id), sa.tuple_(*map(sa.literal, self.place))
            query = query.where(here < last if newest_first else here > last)
        order = (at.desc(), id.desc()) if newest_first else (at, id)
        return query.order_by(*order).limit(min(self.limit, MAX_ROWS))


FIRST_PAGE = Window()
