"""Write firmware/package.json: what `mpremote mip install firmware/package.json` installs.

Run again when a module of the firmware comes or goes; a test says so.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

from fieldhand.building import mpy

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "firmware/package.json"
# mip installs below /lib; MicroPython looks for these beside it.
BESIDE_LIB = ("boot.py", "main.py")


def text() -> str:
    """The file's content, a module a line."""
    firmware = PACKAGE.parent
    parts = (firmware / "fieldnode", ROOT / "protocol/fieldproto")
    urls = [[f"../{name}", name] for name in BESIDE_LIB]
    for name, path in mpy.modules(*parts):
        urls.append([name, Path(os.path.relpath(path, firmware)).as_posix()])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = ",\n".join(f"  {json.dumps(url)}" for url in urls)
    return f'{{\n "version": "{project["version"]}",\n "urls": [\n{lines}\n ]\n}}\n'


def main() -> int:
    PACKAGE.write_text(text(), "utf-8")
    print(PACKAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
