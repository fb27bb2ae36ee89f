"""The boards there are: what each one's pins can do, and a drawing of it."""

from fieldhand.boards.board import CHIPS, Board, HeaderPin, Image, load, names, read

__all__ = ["CHIPS", "Board", "HeaderPin", "Image", "load", "names", "read"]
