"""The extension key: what a payload may carry beyond its document.

Provenance, correlation and answers, in one key. Off (`extras=False`) for a third-party backend
that refuses unknown keys. What may be in it: `fieldproto.uplink`; a command's has only `id`.
"""

EXT = "_fh"
MAX_ID = 64  # characters of a command's id
