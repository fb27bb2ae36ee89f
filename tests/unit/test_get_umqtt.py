"""tools/get_umqtt.py against a package index of our own on loopback."""

import functools
import http.server
import io
import tarfile
import threading

import get_umqtt
import pytest

SDIST = f"{get_umqtt.NAME}-{get_umqtt.VERSION}.tar.gz"


def sdist(text: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(f"{get_umqtt.NAME}-{get_umqtt.VERSION}/umqtt/simple.py")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return buffer.getvalue()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder served as a package index that holds one (forged) umqtt.simple sdist."""
    page = tmp_path / "www/simple/micropython-umqtt-simple"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f'<!DOCTYPE html><a href="{SDIST}">{SDIST}</a>')
    (page / SDIST).write_bytes(sdist(b"VERSION = 'forged'\n"))
    handler = functools.partial(Quiet, directory=tmp_path / "www")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    yield page / SDIST
    server.shutdown()
    server.server_close()


def test_a_file_with_another_hash_is_refused(index, tmp_path):
    with pytest.raises(get_umqtt.FetchError, match=rf"{SDIST}: sha256 is \w+, expected b6a2520"):
        get_umqtt.pinned(tmp_path / "umqtt")
    assert not (tmp_path / "umqtt").exists()


def test_the_right_file_is_unpacked_once(index, tmp_path, monkeypatch):
    monkeypatch.setattr(
        get_umqtt, "SHA256", get_umqtt.hashlib.sha256(index.read_bytes()).hexdigest()
    )
    target = tmp_path / "umqtt"
    assert "fetched" in get_umqtt.pinned(target)
    assert (target / "umqtt/simple.py").read_text() == "VERSION = 'forged'\n"
    index.unlink()
    assert "is in" in get_umqtt.pinned(target)


def test_no_network_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    monkeypatch.setattr("sys.argv", ["get_umqtt.py", "--build", str(tmp_path), "--no-upstream"])
    assert get_umqtt.main() == 1
    error = capsys.readouterr().err
    assert error.startswith(f"get_umqtt: cannot download {get_umqtt.NAME}")
    assert error.count("\n") == 1
