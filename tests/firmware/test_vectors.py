# heapsize: 256k
"""The payloads of the seed documents, both directions, on MicroPython."""

import os
import sys

VECTORS = __file__.rsplit("/", 2)[0] + "/vectors"
sys.path.insert(0, VECTORS)

import vectorcheck  # noqa: E402


def test_every_payload_of_every_document():
    books = sorted([name for name in os.listdir(VECTORS) if name.endswith(".json")])
    assert len(books) >= 5, books
    for name in books:
        book = vectorcheck.load(VECTORS + "/" + name)
        assert book["vectors"], name
        for vector in book["vectors"]:
            vectorcheck.check(book, vector)
        for vector in book.get("extension", ()):
            vectorcheck.check_extension(book, vector)
