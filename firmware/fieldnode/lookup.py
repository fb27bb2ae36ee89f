"""Looks a name up without holding up the node.

The ESP32's getaddrinfo() blocks, for many seconds where no name server answers, and until it
returns neither the loop nor a timer's callback runs. It lets other threads go on, though: so it
gets one of its own, and 5 kB of stack for as long as it takes.
"""

import _thread


class Lookup:
    """One at a time: a thread cannot be stopped, the next one begins when it has ended."""

    def __init__(self, net):
        """`net`: `socket`, or what stands in for it and for `start_new_thread` of `_thread`."""
        self._net = net
        self._start = getattr(net, "start_new_thread", _thread.start_new_thread)
        self._asked = None  # (host, port) under way
        self._answer = None  # what was asked, and addresses or an OSError

    def begin(self):
        """What was found before does not count: the broker may have moved."""
        if self._answer is not None:
            self._answer = self._asked = None

    def step(self, host, port):
        """What getaddrinfo() returns, or None: call it again. Raises OSError."""
        if self._answer is not None:
            (asked, found), self._answer, self._asked = self._answer, None, None
            if asked == (host, port):
                if isinstance(found, OSError):
                    raise found
                return found
        if self._asked is None:
            if not host.strip("0123456789."):
                return self._net.getaddrinfo(host, port)  # a number: nothing to wait for
            self._asked = (host, port)
            try:
                self._start(self._run, self._asked)
            except (OSError, MemoryError):
                self._asked = None
                raise OSError("no memory for a thread")
        return None

    def _run(self, host, port):
        found = OSError("no answer")  # out of memory, say
        try:
            found = self._net.getaddrinfo(host, port) or found
        except OSError as exc:
            found = exc
        finally:
            self._answer = (host, port), found
