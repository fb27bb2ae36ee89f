"""Where the MicroPython image comes from. Downloads come from a real HTTP server."""

import hashlib
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fieldhand import boards
from fieldhand.boards import Image
from fieldhand.building import imagestore

CONTENT = bytes(range(256)) * 1000


@dataclass(frozen=True)
class Local(Image):
    """An image whose site is this machine."""

    site: str = ""

    @property
    def url(self):
        return f"{self.site}/{self.file}"


class Site(ThreadingHTTPServer):
    """Serves `content`; `short` bytes of it are left out though promised."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Page)
        self.content = CONTENT
        self.short = 0
        self.status = 200
        self.asked = []


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.content
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - self.server.short])

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fieldhand" / "images"


@pytest.fixture
def board(site, cache):
    image = Local(
        "ESP32_GENERIC",
        "",
        "1.24.0",
        "20241025",
        0x1000,
        hashlib.sha256(CONTENT).hexdigest(),
        f"http://127.0.0.1:{site.server_port}",
    )
    return replace(boards.load("esp32-devkitc"), image=image)


NAME = "ESP32_GENERIC-20241025-v1.24.0.bin"


def test_a_file_that_is_given_needs_neither_cache_nor_network(tmp_path, site, board):
    (tmp_path / "own.bin").write_bytes(b"mine")
    found = imagestore.get(board, tmp_path / "own.bin")
    assert (found.data, found.name, found.source) == (b"mine", "own.bin", "file")
    assert site.asked == []


def test_a_file_that_is_not_there_is_named(tmp_path, board):
    with pytest.raises(imagestore.ImageUnavailable, match="own.bin: No such file"):
        imagestore.get(board, tmp_path / "own.bin")


def test_downloaded_once_then_from_the_cache(site, board, cache):
    seen = []
    first = imagestore.get(board, progress=lambda done, total: seen.append((done, total)))
    again = imagestore.get(board)
    assert (first.source, again.source) == ("download", "cache")
    assert first.data == again.data == CONTENT
    assert site.asked == [f"/{NAME}"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_a_damaged_cache_is_told_and_fetched_again(site, board, cache):
    imagestore.get(board)
    (cache / NAME).write_bytes(CONTENT[:-1] + b"?")
    said = []
    found = imagestore.get(board, say=said.append)
    assert (found.source, found.data) == ("download", CONTENT)
    assert "SHA-256 differs" in said[0]
    assert (cache / NAME).read_bytes() == CONTENT


def test_a_download_with_another_hash_is_refused_and_nothing_kept(site, board, cache):
    site.content = b"<html>log in first</html>"
    with pytest.raises(imagestore.ImageUnavailable, match="not the file it should be.*deleted"):
        imagestore.get(board)
    assert list(cache.iterdir()) == []


def test_a_connection_that_ends_early_leaves_nothing(site, board, cache):
    site.short = 100
    with pytest.raises(imagestore.ImageUnavailable, match="cannot fetch"):
        imagestore.get(board)
    assert list(cache.iterdir()) == []


def test_without_network_the_file_to_fetch_and_where_to_put_it_are_named(site, board, cache):
    image = replace(board.image, site="http://127.0.0.1:9")  # discard: nothing listens
    with pytest.raises(imagestore.ImageUnavailable) as caught:
        imagestore.get(replace(board, image=image))
    text = str(caught.value)
    assert f"http://127.0.0.1:9/{NAME}" in text
    assert "Connection refused" in text
    assert f"--image {NAME}" in text
    assert str(cache / NAME) in text


def test_what_the_site_does_not_have_is_told(site, board):
    site.status = 404
    with pytest.raises(imagestore.ImageUnavailable, match="Not Found"):
        imagestore.get(board)


def test_without_a_pin_nothing_is_fetched_unless_asked(site, board):
    board = replace(board, image=replace(board.image, sha256=None))
    with pytest.raises(imagestore.ImageUnavailable, match="--image .* or trust the site"):
        imagestore.get(board)
    assert site.asked == []
    assert imagestore.get(board, unpinned=True).data == CONTENT


def test_the_address_of_the_real_file():
    # As listed on https://micropython.org/download/ESP32_GENERIC/
    image = Image("ESP32_GENERIC", "OTA", "1.24.0", "20241025", 0x1000, None)
    assert image.url == (
        "https://micropython.org/resources/firmware/ESP32_GENERIC-OTA-20241025-v1.24.0.bin"
    )
