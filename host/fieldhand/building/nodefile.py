"""node.json as the host writes it: checked, with its defaults, and sealed.

A node checks the file at its start, which takes 30 kB of its heap for a moment and leaves names
and holes for good. A seal spares it that: what the node would find in the sensors' tables, and a
checksum of the file, without which the node takes nothing for granted. A file edited by hand, or
damaged, has none that fits and is checked.
"""

from __future__ import annotations

import ast
import functools
import json
from binascii import crc32
from collections.abc import Mapping
from typing import Any

from fieldhand import paths
from fieldproto import nodeconfig
from fieldproto.sensortypes import facts


def text(settings: Mapping[str, Any]) -> str:
    """The contents of node.json. Raises `fieldproto.schema.FieldError` where it would not do.

    The last line ends with the CRC-32 of all before it, in hex, which `fieldnode.start` looks for.
    """
    checked = nodeconfig.load(dict(settings))
    known = [facts(sensor) for sensor in checked["sensors"]]
    checked["seal"] = {"firmware": firmware_version(), "sensors": known, "crc": ""}
    written = json.dumps(checked, indent=1, ensure_ascii=False, separators=(",", ":"))
    body = written.removesuffix('"\n }\n}')
    return f'{body}{crc32(body.encode()):08x}"}}}}\n'


@functools.cache
def firmware_version() -> str:
    """Of the firmware that this host puts on nodes; another checks the file for itself."""
    tree = ast.parse((paths.firmware() / "fieldnode" / "version.py").read_text("utf-8"))
    return str(next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign)))
