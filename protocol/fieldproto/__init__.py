"""What crosses the wire: messages, quantities and dialects, for CPython and MicroPython alike."""
