"""One call of the caller's: how long it may take, and how it is given up."""

from __future__ import annotations

import copy
import math
import socket
import threading
import time
from typing import Optional, Set

from ._errors import CanceledError, DeadlineExceededError


class Call:
    """The deadline of a call, shared by its requests. Another thread may cancel
    it: its sockets are shut down, so that nothing waits on."""

    def __init__(self, timeout: Optional[float]) -> None:
        if timeout is not None and math.isnan(timeout):
            raise ValueError("timeout: want seconds, got NaN")
        self._deadline = None if timeout is None else time.monotonic() + float(timeout)
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._sockets: Set[socket.socket] = set()

    def within(self, seconds: float) -> "Call":
        """A part of this call, which may take so many seconds at most and is given
        up with the whole."""
        part = copy.copy(self)  # with the same event, lock and sockets
        deadline = time.monotonic() + seconds
        part._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
        return part

    def left(self) -> Optional[float]:
        """Seconds until the deadline, None without one. Raises `CanceledError` or
        `DeadlineExceededError` when the call is over."""
        if self._cancelled.is_set():
            raise CanceledError("the call was given up")
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceededError("the time for the call ran out")
        return left

    def patience(self, grace: float) -> Optional[float]:
        """Seconds that a socket of this call may still take, None for ever: until so
        long after the deadline, and never 0, which would mean not to block."""
        if self._deadline is None:
            return None
        left = self._deadline + grace - time.monotonic()
        if left <= 0:
            raise socket.timeout("the time for the call ran out")
        return min(left, threading.TIMEOUT_MAX)

    def sleep(self, seconds: float) -> None:
        """Waits, at most to the deadline, then raises as `left` does."""
        left = self.left()
        self._cancelled.wait(seconds if left is None else min(seconds, left))
        self.left()

    def attach(self, sock: socket.socket) -> None:
        """Notes a socket that the call now waits on."""
        with self._lock:
            self._sockets.add(sock)
        if self._cancelled.is_set():
            self.cancel()

    def detach(self, sock: socket.socket) -> None:
        """Forgets a socket that the call has done with."""
        with self._lock:
            self._sockets.discard(sock)

    def cancel(self) -> None:
        """Gives the call up. Safe from any thread, any number of times."""
        self._cancelled.set()
        with self._lock:
            for sock in self._sockets:
                try:
                    # The plain socket's own: that of TLS would pull the session
                    # from under the thread that reads.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                except OSError:
                    pass  # it broke by itself
