"""Where the image of MicroPython comes from: a file, the cache, or its pinned download."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from fieldhand.errors import FieldhandError

if TYPE_CHECKING:
    from fieldhand.boards import Board, Image

MAX_BYTES = 16 << 20  # no ESP32 we know has room for more
CONNECT_S = 20.0  # without a byte
DOWNLOAD_S = 600.0  # in all
_CHUNK = 1 << 16

# (bytes so far, bytes in all or None)
Progress = Callable[[int, int | None], None]
Say = Callable[[str], None]


class ImageUnavailable(FieldhandError):
    """There is no MicroPython image for the board; the message says which file to fetch."""


@dataclass(frozen=True)
class Stored:
    """An image's bytes, `name` of its file; `source`: "file", "cache" or "download"."""

    data: bytes
    name: str
    source: str


def cache_folder() -> Path:
    """fieldhand/images in the user's cache (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification: a relative path is to be ignored.
    place = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return place / "fieldhand" / "images"


def get(
    board: Board,
    given: Path | None = None,
    *,
    unpinned: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Stored:
    """The image for `board`: the file `given`, else what the board's file names.

    That comes from the cache or from the network, and its SHA-256 is checked either way. Where
    the board's file has none, it is only fetched with `unpinned`. Raises ImageUnavailable.
    """
    if given is not None:
        return Stored(_read(given), given.name, "file")
    image = board.image
    if image is None:
        raise ImageUnavailable(f"{board.name}: a simulated board has no MicroPython image")
    place = cache_folder() / image.file
    if image.sha256 is None and not unpinned:
        raise ImageUnavailable(
            f"no SHA-256 of {image.file} is on record, so it is not fetched by itself: download "
            f"{image.url} and give it with --image {image.file}, or trust the site: --unpinned"
        )
    say = say or _silent
    if place.is_file():
        data = _read(place)
        if image.sha256 is None or _sha256(data) == image.sha256:
            return Stored(data, image.file, "cache")
        say(f"{place} is not what {board.name} asks for (its SHA-256 differs): fetching it again")
        place.unlink(missing_ok=True)
    return Stored(_download(image, place, progress), image.file, "download")


def is_cached(board: Board) -> bool:
    """Whether `get` would need no network for the image that the board's file names."""
    image = board.image
    if image is None or not (place := cache_folder() / image.file).is_file():
        return False
    return image.sha256 is None or _sha256(_read(place)) == image.sha256


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImageUnavailable(f"{path}: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise ImageUnavailable(f"{path}: too large for an image, more than {MAX_BYTES >> 20} MB")
    return data


def _download(image: Image, place: Path, progress: Progress | None) -> bytes:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=image.file, suffix=".part", dir=place.parent)
    except OSError as error:
        raise ImageUnavailable(f"{place.parent}: {error.strerror or error}") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            data = _fetch(image.url, progress or _unseen)
            file.write(data)
        found = _sha256(data)
        if image.sha256 is not None and found != image.sha256:
            raise ImageUnavailable(
                f"{image.url}: not the file it should be (SHA-256 {found}, expected "
                f"{image.sha256}), deleted. Does a proxy or a login page answer instead?"
            )
        part.replace(place)
        return data
    except (OSError, HTTPException) as error:
        # URLError and HTTPError are OSErrors; their reason may be one in turn.
        reason = getattr(error, "reason", None) or error
        reason = getattr(reason, "strerror", None) or reason
        raise ImageUnavailable(
            f"cannot fetch {image.url}: {reason}. Fetch it by hand on a machine with network, and "
            f"give it with --image {image.file} or put it at {place}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, progress: Progress) -> bytes:
    end = time.monotonic() + DOWNLOAD_S
    request = urllib.request.Request(url, headers={"User-Agent": "fieldhand"})
    data = bytearray()
    with urllib.request.urlopen(request, timeout=CONNECT_S) as reply:
        length = reply.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        while chunk := reply.read(_CHUNK):
            data += chunk
            progress(len(data), total)
            if len(data) > MAX_BYTES:
                raise OSError(f"it has more than {MAX_BYTES >> 20} MB")
            if time.monotonic() > end:
                raise TimeoutError(f"not done within {DOWNLOAD_S:g} s")
    if total is not None and len(data) < total:
        raise OSError(f"the connection ended after {len(data)} of {total} bytes")
    return bytes(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _silent(text: str) -> None:
    pass


def _unseen(done: int, total: int | None) -> None:
    pass
