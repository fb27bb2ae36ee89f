# heapsize: 160k
"""The payloads of the seed documents, both directions, on MicroPython."""

import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] + "/vectors")

import vectorcheck


def _book(name):
    book = vectorcheck.load(__file__.rsplit("/", 2)[0] + "/vectors/%s.json" % name)
    assert book["vectors"]
    for vector in book["vectors"]:
        vectorcheck.check(book, vector)


def test_plantnanny():
    _book("plantnanny")


def test_solar():
    _book("solar")


def test_dese():
    _book("dese")


def test_iotnode():
    _book("iotnode")


def test_farm():
    _book("farm")
