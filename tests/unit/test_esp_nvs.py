"""NVS: Espressif's generator writes, our reader reads; what a power cut leaves."""

import struct
import sys
import zlib

import pytest

from fieldhand import paths
from fieldhand.esp import ImageError, nvs

SIZE = 0x6000
NODE = {
    "id": b"greenhouse",
    "wifi_ssid": "Gärtnerei".encode(),
    "wifi_pass": b"x",
    "empty": b"",
    "boot": 7,
    "least": -(2**31),
}
LONG = bytes(range(256)) * 40  # 10,240 bytes: chunks on three pages


def crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data, 0xFFFFFFFF))


def entry(
    space: int, kind: int, key: str, data: bytes, *, span: int = 1, chunk: int = 255
) -> bytes:
    """32 bytes, as the table in ESP-IDF's "Structure of Entry" has them."""
    head = bytes([space, kind, span, chunk])
    rest = key.encode().ljust(16, b"\0") + data.ljust(8, b"\xff")
    return head + crc(head + rest) + rest


def blob(space: int, key: str, content: bytes, *, chunk: int = 0) -> bytes:
    rows = -(-len(content) // 32)
    data = struct.pack("<HH", len(content), 0xFFFF) + crc(content)
    head = entry(space, 0x42, key, data, span=rows + 1, chunk=chunk)
    return head + content.ljust(rows * 32, b"\xff")


def index(space: int, key: str, size: int, *, count: int = 1, start: int = 0) -> bytes:
    return entry(space, 0x48, key, struct.pack("<IBBH", size, count, start, 0xFFFF))


def page(
    sequence: int, entries: bytes, *, state: int = 0xFFFFFFFE, erased: tuple[int, ...] = ()
) -> bytes:
    """4096 bytes, as "Structure of a Page" has them; `erased` are numbers of entries."""
    header = struct.pack("<IB", sequence, 0xFE) + b"\xff" * 19
    states = [0b11] * 128
    for number in range(len(entries) // 32):
        states[number] = 0b00 if number in erased else 0b10
    packed = bytes(sum(states[start + i] << 2 * i for i in range(4)) for start in range(0, 128, 4))
    made = struct.pack("<I", state) + header + crc(header) + packed + entries
    return made.ljust(4096, b"\xff")


SPACE = entry(0, 0x01, "fieldhand", b"\x01")


def test_what_the_generator_writes_is_read() -> None:
    values = {"fieldhand": NODE, "other": {"id": b"another", "long": LONG}}
    image = nvs.write(values, SIZE)
    assert len(image) == SIZE
    assert nvs.read(image) == values
    # The last page stays empty: NVS needs one to move entries to.
    assert image[-4096:] == b"\xff" * 4096
    assert 0 < nvs.used(image) < SIZE


def test_the_order_of_the_values_does_not_matter() -> None:
    turned = {key: NODE[key] for key in reversed(NODE)}
    assert nvs.write({"fieldhand": NODE}, SIZE) == nvs.write({"fieldhand": turned}, SIZE)


def test_a_page_by_hand_is_read() -> None:
    text = entry(1, 0x21, "text", struct.pack("<HH", 3, 0xFFFF) + crc(b"hi\0"), span=2)
    content = [
        SPACE,
        entry(1, 0x14, "less", struct.pack("<i", -5)),
        entry(1, 0x18, "most", struct.pack("<q", -(2**40))),
        text + b"hi\0".ljust(32, b"\xff"),
        blob(1, "id", b"a") + index(1, "id", 1),
    ]
    expected = {"less": -5, "most": -(2**40), "text": "hi", "id": b"a"}
    assert nvs.read(page(0, b"".join(content))) == {"fieldhand": expected}


def test_an_erased_entry_is_gone() -> None:
    content = (
        SPACE
        + entry(1, 0x14, "a", struct.pack("<i", 1))
        + entry(1, 0x14, "b", struct.pack("<i", 2))
    )
    assert nvs.read(page(0, content, erased=(1,))) == {"fieldhand": {"b": 2}}


def test_the_newer_of_two_values_counts_whatever_the_place_of_the_pages() -> None:
    old = SPACE + blob(1, "id", b"old") + index(1, "id", 3)
    new = blob(1, "id", b"new", chunk=128) + index(1, "id", 3, start=128)
    pages = page(4, new), page(3, old, state=0xFFFFFFFC)
    assert nvs.read(b"".join(pages)) == {"fieldhand": {"id": b"new"}}


def test_a_blob_that_a_power_cut_left_half_written_is_the_one_of_before() -> None:
    old = SPACE + blob(1, "id", b"old") + index(1, "id", 3)
    half = blob(1, "id", b"n" * 40, chunk=128)  # its index was never written
    assert nvs.read(page(0, old + half)) == {"fieldhand": {"id": b"old"}}
    without_chunk = index(1, "id", 80, count=2, start=128)
    assert nvs.read(page(0, old + half + without_chunk)) == {"fieldhand": {"id": b"old"}}


@pytest.mark.parametrize("at", [4, 8, 28, 31])
def test_a_page_with_a_damaged_header_is_passed_over(at: int) -> None:
    bad = bytearray(page(0, SPACE + entry(1, 0x14, "a", struct.pack("<i", 1))))
    bad[at] ^= 1
    good = page(1, SPACE + entry(1, 0x14, "b", struct.pack("<i", 2)))
    assert nvs.read(bytes(bad) + good) == {"fieldhand": {"b": 2}}


def test_a_damaged_entry_costs_itself_alone() -> None:
    image = bytearray(nvs.write({"fieldhand": NODE}, SIZE))
    image[image.index(b"greenhouse")] ^= 1
    assert nvs.read(bytes(image)) == {"fieldhand": {k: v for k, v in NODE.items() if k != "id"}}
    image[image.index(b"wifi_ssid") + 12] ^= 1  # in its name's padding
    left = {k: v for k, v in NODE.items() if k not in ("id", "wifi_ssid")}
    assert nvs.read(bytes(image)) == {"fieldhand": left}


@pytest.mark.parametrize("state", [0xFFFFFFFF, 0xFFFFFFF0, 0])
def test_pages_not_in_use_are_passed_over(state: int) -> None:
    assert nvs.read(page(0, SPACE, state=state)) == {}


@pytest.mark.parametrize("data", [b"", b"\xff" * SIZE, bytes(SIZE), b"\xfe" * 100])
def test_what_is_no_nvs_reads_as_empty(data: bytes) -> None:
    assert nvs.read(data) == {}


def test_no_bit_that_flips_makes_the_reader_fail() -> None:
    image = nvs.write({"fieldhand": {"id": b"a", "n": 3, "s": b"b" * 70}}, 0x3000)
    for bit in range(8 * (64 + 32 * 12)):
        damaged = bytearray(image)
        damaged[bit // 8] ^= 1 << bit % 8
        found = nvs.read(bytes(damaged)).get("fieldhand", {})
        assert set(found.items()) <= {("id", b"a"), ("n", 3), ("s", b"b" * 70)}


@pytest.mark.parametrize(
    ("values", "size", "said"),
    [
        ({"fieldhand": {"a" * 16: b""}}, SIZE, "'a{16}' has to have 1 to 15 ASCII"),
        ({"fieldhand": {"ä": b""}}, SIZE, "ASCII"),
        ({"": {}}, SIZE, "1 to 15"),
        ({"fieldhand": {"n": 2**31}}, SIZE, "n: 2147483648 does not fit in 32 bits"),
        ({"fieldhand": {"n": bytes(21_000)}}, SIZE, "do not fit in the 24 kB of NVS"),
        ({"fieldhand": {}}, 0x2000, "from 3"),
        ({"fieldhand": {}}, 0x3001, "whole pages"),
    ],
)
def test_what_nvs_cannot_hold_is_said(
    values: dict[str, dict[str, int | bytes]], size: int, said: str
) -> None:
    with pytest.raises(ImageError, match=said):
        nvs.write(values, size)


def test_without_the_generator_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "esp_idf_nvs_partition_gen", None)
    with pytest.raises(paths.MissingPart, match=r"pip install 'fieldhand\[board\]'"):
        nvs.write({}, SIZE)
