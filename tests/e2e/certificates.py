"""Authorities and the certificates of brokers, made by openssl for a few days."""

import subprocess
from pathlib import Path

from conftest import missing

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def authority(folder: Path, name: str = "ca") -> None:
    """NAME.key, and its certificate as NAME.pem and NAME.der: the unix MicroPython takes no PEM."""
    _openssl(folder, "req", "-x509", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem",
             "-subj", f"/CN={name}", "-days", "2")  # fmt: skip
    _openssl(folder, "x509", "-in", f"{name}.pem", "-outform", "der", "-out", f"{name}.der")


def server(folder: Path, host: str) -> tuple[str, str]:
    """server.key and server.pem, signed by the authority "ca"; Mosquitto's lines for them.

    `host` is what the certificate is for: "DNS:localhost", "IP:127.0.0.1".
    """
    _openssl(folder, "req", *KEY, "-keyout", "server.key", "-out", "server.csr",
             "-subj", "/CN=server")  # fmt: skip
    (folder / "san").write_text(f"subjectAltName={host}\n")
    _openssl(folder, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
             "-CAcreateserial", "-out", "server.pem", "-days", "2", "-extfile", "san")  # fmt: skip
    return f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"


def _openssl(folder: Path, *arguments: str) -> None:
    try:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        missing("openssl is not installed: apt-get install openssl")
