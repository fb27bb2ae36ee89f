"""What the service logs, and how."""

from __future__ import annotations

import logging


def configure() -> None:
    """Log to stderr; what a person must know is a warning."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("amqtt", "transitions", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
