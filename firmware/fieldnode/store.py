"""Small JSON files on flash. A power cut leaves the old contents or the new, never a mixture."""

import json
import os

from . import log

_ENOENT = 2

damaged = []  # what could not be read since the start, and was removed
written = [0]  # bytes since the start, those of the outbox too


def load(path):
    """The object in `path`, {} where there is none or it is damaged, which removes it."""
    try:
        with open(path, "rb") as file:
            from fieldproto.jsonstrict import loads  # rare

            found = loads(file.read())
    except OSError as error:
        if error.errno == _ENOENT:
            return {}  # not yet written
        found = None
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    log.warning("%s is damaged and not used" % path)
    damaged.append(path)
    try:
        os.remove(path)
    except OSError as error:
        log.warning("%s: %s" % (path, error))
    return {}


def save(path, obj):
    """Raises OSError."""
    part = path + ".new"
    with open(part, "w") as file:
        json.dump(obj, file)
        written[0] += file.tell()
    os.rename(part, path)


def overwrite(path, obj):
    """As `save` at a third of its wear, for what is small and written often. Raises OSError.

    littlefs puts the new contents in force when the file is closed, whole or not at all; other
    file systems do not.
    """
    with open(path, "w") as file:
        json.dump(obj, file, separators=(",", ":"))
        written[0] += file.tell()


def tried(call, path, *args):
    """Do `call(path, *args)`, of this module; a failure is no more than logged. True if it went
    well."""
    try:
        call(path, *args)
    except OSError as error:
        log.warning("%s: %s" % (path, error))
        return False
    return True


def remove(path):
    """Whether it was there or not. Raises OSError."""
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != _ENOENT:
            raise
