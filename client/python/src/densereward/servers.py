"""Several servers as one: which to ask next, and which to leave alone a while."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Callable, List, Optional, Sequence, Tuple, Union

from .call import Call
from .errors import ConnectionFailed, DeadlineExceeded, DenseRewardError, NotReady
from .transport import Transport

log = logging.getLogger("densereward")

#: Seconds after which a server that has not said whether it is ready is not.
PROBE_SECONDS = 5.0


def addresses(given: Union[str, Sequence[str]]) -> List[str]:
    """One address, several in a list, or several with commas between."""
    listed = given.split(",") if isinstance(given, str) else list(given)
    cleaned = [a.strip() for a in listed if a.strip()]
    if not cleaned:
        raise ValueError("want the address of at least one server")
    return cleaned


class Backoff:
    """The pause after a number of failures in a row: ``first`` seconds, doubled at
    every further one up to ``most``, of which a random half is left out so that
    clients spread."""

    def __init__(self, first: float, most: float, rand: Callable[[], float] = random.random) -> None:
        self._first, self._most, self._rand = first, most, rand

    def pause(self, failures: int) -> float:
        """Seconds to wait after this many failures, at least one."""
        whole = min(self._first * 2.0 ** min(failures - 1, 60), self._most)
        return whole / 2 + self._rand() * whole / 2


class Server:
    """One server and what the last requests taught about it. Its fields belong to
    `Servers`, which locks them."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.address = transport.address
        self.in_flight = 0
        self.failures = 0  # in a row
        self.failed_at = 0.0  # when the last of them was noted
        self.resumes_at = 0.0  # leave it alone until then
        self.suspect = False  # ask whether it is ready before the next request

    def check_ready(self, call: Call) -> None:
        """Asks a server that failed before whether it is ready, which costs less
        than sending it the pictures. Raises `NotReady` or `ConnectionFailed` where
        it is not, and as ``call.left`` does."""
        if not self.suspect:
            return
        left = call.left()
        try:
            self._probe(PROBE_SECONDS if left is None else min(left, PROBE_SECONDS))
        finally:
            call.left()

    def ready(self, timeout: float) -> bool:
        """Whether the server says, within a number of seconds, that it is ready."""
        try:
            self._probe(timeout)
        except DenseRewardError:
            return False
        return True

    def _probe(self, timeout: float) -> None:
        try:
            answer = self.transport.get("/readyz", Call(timeout))
        except DeadlineExceeded as e:
            raise ConnectionFailed(f"{self.address} does not say whether it is ready") from e
        if answer.status != 200:
            raise NotReady(f"{self.address} is not ready")


class Servers:
    """The servers of a client. Safe for concurrent use. ``now`` is the clock."""

    def __init__(self, transports: Sequence[Transport], backoff: Backoff, now: Callable[[], float] = time.monotonic) -> None:
        self.all = [Server(t) for t in transports]
        self.now = now
        self._backoff = backoff
        self._lock = threading.Lock()
        self._turn = 0

    def choose(self) -> Tuple[Server, float]:
        """The server with the least to do of those not left alone, in turn among
        equals, now with one request more to do; else the one that is left alone
        the shortest, and for how long."""
        now = self.now()
        with self._lock:
            self._turn += 1
            turned = self.all[self._turn % len(self.all) :] + self.all[: self._turn % len(self.all)]
            free = [s for s in turned if s.resumes_at <= now]
            if free:
                chosen = min(free, key=lambda s: s.in_flight)
                chosen.in_flight += 1
                return chosen, 0.0
            soonest = min(turned, key=lambda s: s.resumes_at)
            return soonest, soonest.resumes_at - now

    def take(self, call: Call) -> Server:
        """A server to send one request to, to be given back. Waits while all are
        left alone; raises when the call is over."""
        while True:
            server, wait = self.choose()
            if wait <= 0:
                return server
            call.sleep(wait)

    def give_back(self, server: Server) -> None:
        """Notes that the request to a taken server is over."""
        with self._lock:
            server.in_flight -= 1

    def answered(self, server: Server) -> None:
        """Notes that the server does its work."""
        with self._lock:
            server.failures = 0
            server.suspect = False

    def failed(self, server: Server, began: float, why: DenseRewardError, retry_after: Optional[float]) -> None:
        """Notes that a request that began at a time of the clock met no
        answer, or one that asks to come back later. Requests that were under way
        together count as one failure."""
        now = self.now()
        with self._lock:
            news = began >= server.failed_at
            if news:
                server.failures += 1
                server.failed_at = now
            pause = max(self._backoff.pause(server.failures), retry_after or 0.0)
            server.resumes_at = max(server.resumes_at, now + pause)
            server.suspect = isinstance(why, (ConnectionFailed, NotReady))
        if news:
            log.warning("%s; leaving %s alone for %.1f s", why, server.address, pause)

    def close(self) -> None:
        """Closes the idle connections."""
        for server in self.all:
            server.transport.close()
