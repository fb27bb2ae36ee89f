"""The last commands and their answers: one that comes again is answered, not carried out again.

A small file for each: littlefs keeps up to 128 bytes in the directory itself, where writing them
again costs a twentieth of an erase. One file of them all would cost two.
"""

import json
import os
from array import array
from binascii import crc32

from micropython import const

from . import log, store

LIMIT = const(32)  # commands remembered, the oldest forgotten first
FOLDER = "ledger"
_N, _ID, _CHECK, _NAME, _STATE, _DATA, _ERROR, _FIELDS = range(8)


class Ledger:
    """`cut`: [(id, name)] of the commands that the last boot had begun and not ended.

    `open`: id -> answer so far, of those begun in this boot and not ended.
    """

    def __init__(self, folder=FOLDER):
        self._folder = folder
        self._keys = array("I", [0] * LIMIT)  # of the ids, so that an unknown one costs no file
        self._n = 0  # of the last command
        self.open = {}
        self.cut = []
        try:
            os.mkdir(folder)
        except OSError:
            pass  # it is there; or the first command says what is wrong
        for slot in range(LIMIT):
            entry = self._load(slot)
            if entry is not None:
                self._keys[slot] = _key(entry[_ID])
                self._n = max(self._n, entry[_N])
                if entry[_STATE] is None:
                    self.cut.append((entry[_ID], entry[_NAME]))

    def find(self, command):
        """(state, data, error) that the command with this id was answered with, or None.

        The state is None while it has no answer yet. Raises ValueError where the id is that of
        another command.
        """
        slot, entry = self._find(command["id"])
        if entry is None:
            return None
        if entry[_CHECK] != _check(command):
            raise ValueError("the id %s was another command's" % command["id"])
        return self.open.get(command["id"]) or entry[_STATE:]

    def begin(self, command):
        """Note, where it has an id, that `command` is about to be carried out.

        Raises OSError; then it is not noted.
        """
        id = command["id"]
        if id is None:
            return
        n = self._n + 1
        slot = n % LIMIT
        entry = [n, id, _check(command), command["command"], None, None, None]
        store.overwrite(self._path(slot), entry)
        self._n = n
        self._keys[slot] = _key(id)
        self.open[id] = (None, None, None)

    def answered(self, id, state, data, error, final):
        """Keep the answer of the command with this id, if it is noted. Raises OSError.

        One that is not `final` is kept until the next boot, which cuts off what it speaks of.
        """
        slot, entry = self._find(id)
        if entry is None or entry[_STATE] is not None:
            self.open.pop(id, None)
        elif not final:
            self.open[id] = (state, data, error)
        else:
            entry[_STATE:] = state, data, error
            store.overwrite(self._path(slot), entry)
            self.open.pop(id, None)

    def _find(self, id):
        if id is not None:
            key = _key(id)
            for slot in range(LIMIT):
                if self._keys[slot] == key:
                    entry = self._load(slot)
                    if entry is not None and entry[_ID] == id:
                        return slot, entry
        return None, None

    def _path(self, slot):
        return "%s/%d" % (self._folder, slot)

    def _load(self, slot):
        path = self._path(slot)
        try:
            with open(path, "rb") as file:
                raw = file.read()
            if not raw:
                return None  # the power was cut before its command began
            entry = json.loads(raw)
            if len(entry) == _FIELDS and isinstance(entry[_ID], str):
                return entry
        except OSError:
            return None
        except (ValueError, TypeError):
            pass
        log.warning("%s is damaged and not used" % path)
        return None


def _key(id):
    return crc32(id.encode())


def _check(command):
    # A sender that uses an id again for something else must not be told that this was done.
    text = "%s%r" % (command["command"], sorted(command["params"].items()))
    return crc32(text.encode())
