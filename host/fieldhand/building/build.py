"""From a node of the fleet file and its board to what is on the node: its files, NVS, flash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fieldhand import boards, paths
from fieldhand.boards import Board, pinrules
from fieldhand.building import mpy, nodefile
from fieldhand.errors import FieldhandError
from fieldhand.esp import ImageError, layouts, littlefs, nvs
from fieldhand.esp import partitions as esp_partitions
from fieldhand.esp.image import DOWNLOADS, MicroPythonImage
from fieldhand.esp.partitions import Partition
from fieldhand.fleetfile import CA_ON_NODE, FleetFile, NodeConfig, node_json
from fieldhand.provisioning import credentials
from fieldproto.sensortypes import yields

CONFIG_ON_NODE = "node.json"
NVS_NAMESPACE = "fieldhand"
OLDEST_MICROPYTHON = (1, 24)
_FROZEN = "fieldnode/start.py"
_START = ("boot.py", "main.py")  # MicroPython runs these by their names: never compiled


def secrets(file: FleetFile, node: NodeConfig) -> dict[str, str]:
    """What belongs into the node's NVS namespace "fieldhand". Raises ConfigError when unset.

    A node for which the file names no user has the credentials that were made for it, and without
    them those of [broker].
    """
    found = {"id": node.name}
    if file.wifi is not None:
        found["wifi_ssid"] = file.wifi.ssid
        if file.wifi.secret is not None:
            found["wifi_pass"] = file.wifi.secret.value()
    user, password = credentials.of(node, credentials.load(credentials.path_for(file.path)))
    if user is None and file.broker.user is not None:
        user = file.broker.user
        password = file.broker.secret.value() if file.broker.secret is not None else None
    if user is not None:
        found["mqtt_user"] = user
    if password is not None:
        found["mqtt_pass"] = password
    return found


def files(
    file: FleetFile, node: NodeConfig, *, source: bool = False, frozen: bool = False
) -> dict[str, bytes]:
    """All that a node's flash holds, by path ("fieldnode/node.mpy"), without secrets.

    The firmware is compiled, or .py with `source`, or absent where the image has it `frozen` in.
    Raises ConfigError, and FieldhandError, of which MissingPart.
    """
    settings = node_json(file, node)
    packages = (paths.firmware() / "fieldnode", paths.protocol() / "fieldproto")
    made: dict[str, bytes] = {}
    try:
        if not frozen:
            if source:
                made = {name: path.read_bytes() for name, path in mpy.modules(*packages)}
            else:
                made = mpy.build(*packages, short=True)
            made |= {name: (paths.firmware() / name).read_bytes() for name in _START}
        made[CONFIG_ON_NODE] = nodefile.text(settings).encode()
        if file.broker.tls_ca and "tls" in settings["broker"]:
            made[CA_ON_NODE] = Path(file.broker.tls_ca).read_bytes()
    except OSError as error:
        raise FieldhandError(f"{error.filename}: {error.strerror or error}") from error
    return made


@dataclass(frozen=True)
class Images:
    """What a board's flash holds besides MicroPython: the contents of two of its partitions."""

    files: dict[str, bytes]
    vfs: bytes
    nvs: bytes
    partitions: tuple[Partition, ...]
    vfs_place: Partition
    nvs_place: Partition


def images(
    file: FleetFile,
    node: NodeConfig,
    *,
    image: MicroPythonImage | None = None,
    flash_size: int | None = None,
    source: bool = False,
) -> Images:
    """File system and NVS of a node, the same bytes for the same fleet file.

    Their places are those of `image`, else of the official image that the board's file names;
    `flash_size` in bytes is the board's where nobody measured it. Raises ConfigError, ImageError
    for what does not fit or does not go together, FieldhandError, of which MissingPart.
    """
    board = boards.load(node.board)
    if board.image is None:
        raise FieldhandError(
            f"node '{node.name}': board '{board.name}' is the simulator's, with no flash to write: "
            "name the board it is to run on"
        )
    if image is not None:
        check_image(board, image)
    version = image.version if image is not None else board.image.version
    partitions = (
        image.partitions
        if image is not None
        else layouts.official(board.image.variant, version, board.flash_size)
    )
    frozen = image is not None and is_frozen(image)
    made = files(file, node, source=source, frozen=frozen)
    for name, data in made.items():
        if name.endswith(".mpy"):
            mpy.check_loads(version, data)
            break
    vfs_place = esp_partitions.file_system(partitions, flash_size or board.flash_size)
    nvs_place = esp_partitions.find(partitions, "nvs")
    if nvs_place is None:
        raise ImageError("the image has no partition 'nvs', where a node keeps its secrets")
    values = {key: value.encode() for key, value in secrets(file, node).items()}
    return Images(
        files=made,
        vfs=littlefs.write(made, vfs_place.size),
        nvs=nvs.write({NVS_NAMESPACE: values}, nvs_place.size),
        partitions=partitions,
        vfs_place=vfs_place,
        nvs_place=nvs_place,
    )


def is_frozen(image: MicroPythonImage) -> bool:
    """Whether the firmware is inside the image."""
    return _FROZEN in image.frozen


def check_image(board: Board, image: MicroPythonImage) -> None:
    """Raises ImageError where `image` is not for `board`: chip, layout, age."""
    image.check_chip(board.chip)
    release = tuple(int(part) for part in image.version.split(".")[:2])
    if release < OLDEST_MICROPYTHON:
        raise ImageError(
            f"the image is MicroPython {image.version}, and a node needs "
            f"{'.'.join(map(str, OLDEST_MICROPYTHON))} or newer: take {DOWNLOADS}"
        )
    wanted = board.image.variant if board.image is not None else ""
    if "OTA" in (image.variant, wanted) and image.variant != wanted:
        have, want = image.variant or "plain", wanted or "plain"
        raise ImageError(
            f"the image is the {have} variant, and board '{board.name}' takes the {want} one: "
            f"its partitions are others. Take the {want} image, or name another board in the "
            "fleet file"
        )


def warnings(node: NodeConfig) -> list[str]:
    """Pins that may be used but had better not be, thresholds that nothing can cross."""
    board = boards.load(node.board)
    uses = pinrules.uses(board, node.sensors, node.actuators, node.led)
    found = [f"[node.{node.name}] {p.key}: {p.text}" for p in pinrules.warnings(board, uses)]
    measured = {name for sensor in node.sensors for name in yields(dict(sensor))}
    found += [
        f"[node.{node.name}.alerts] {name}: no sensor measures it, so no alert can come of it"
        for name in node.alerts
        if name not in measured
    ]
    return found
