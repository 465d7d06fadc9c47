"""Several servers as one: which to ask next, and which to leave alone a while."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Callable, List, Optional, Sequence, Tuple, Union
from urllib.parse import urlsplit

from ._call import Call
from ._errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    DenseRewardError,
    NotReadyError,
    ServerError,
)
from ._placement import rank
from ._refusal import refusal
from ._transport import Transport

log = logging.getLogger("densereward")

#: Seconds after which a server that has not said whether it is ready is not.
PROBE_SECONDS = 5.0


def addresses(given: Union[str, Sequence[str]]) -> List[str]:
    """One address, several in a list, or several with commas between."""
    listed = given.split(",") if isinstance(given, str) else list(given)
    cleaned = [a.strip() for a in listed if a.strip()]
    if not cleaned:
        raise ValueError("want the address of at least one server")
    for address in cleaned:
        _check_address(address)
    return cleaned


def _check_address(address: str) -> None:
    """Raises ValueError for what is no server's address. Passwords in it are not
    shown."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as e:
        raise ValueError(f"address {address!r}: {e}") from None
    if "@" in parts.netloc:
        raise ValueError(f"address of {parts.hostname}: holds a user name or password; a bearer token goes into token=")
    if parts.query or parts.fragment:
        raise ValueError(f"address of {parts.hostname}: a query or fragment has no place in it")
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(f"address {address!r}: want http://host:port or https://host:port")
    if any(c.isspace() or not c.isprintable() for c in address):
        raise ValueError(f"address {address!r}: holds white space")
    for path in ("/v1/score", "/v1/models", "/readyz", "/healthz", "/health", "/compute", "/v1"):
        if parts.path.rstrip("/").endswith(path):
            root = address.rstrip("/")[: -len(path)]
            raise ValueError(f"address {address!r}: want the server's root without {path}: {root}")


def bearer_token(token: Optional[str]) -> Optional[str]:
    """A token without the white space around it that files leave. Raises
    ValueError, which does not show it, for one that no header can carry."""
    if token is None:
        return None
    if not isinstance(token, str):
        raise TypeError(f"token: want a text, got {type(token).__name__}")
    token = token.strip()
    if not token:
        raise ValueError("token: it is empty; None stands for no token")
    for place, character in enumerate(token):
        if not "!" <= character <= "~":
            raise ValueError(f"token: character {place} of {len(token)} is not one that a header can carry (the token is not shown)")
    return token


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
        than sending it the images. Raises `NotReadyError` or `ConnectionFailedError` where
        it is not, and as ``call.left`` does."""
        if not self.suspect:
            return
        try:
            found = self._probe(call.within(PROBE_SECONDS))
        finally:
            call.left()
        # Another refusal, as of a proxy that does not pass the question on, says
        # nothing about the request itself.
        if isinstance(found, NotReadyError):
            raise found

    def look(self, call: Call) -> Optional[DenseRewardError]:
        """Why the server is not ready, or does not say so before the call is over;
        None if it is."""
        try:
            return self._probe(call)
        except DenseRewardError as e:
            return e

    def _probe(self, call: Call) -> Optional[DenseRewardError]:
        try:
            answer = self.transport.get("/readyz", call)
        except DeadlineExceededError as e:
            raise ConnectionFailedError(f"{self.address} does not say whether it is ready") from e
        if answer.status == 200:
            return None
        if answer.status >= 500 or answer.status == 429:
            return NotReadyError(f"{self.address} is not ready")
        return refusal(answer, "/readyz", self.transport.has_token)


class Servers:
    """The servers of a client. Safe for concurrent use. ``now`` is the clock."""

    def __init__(self, transports: Sequence[Transport], backoff: Backoff, now: Callable[[], float] = time.monotonic) -> None:
        self.all = [Server(t) for t in transports]
        self.now = now
        self._backoff = backoff
        self._lock = threading.Lock()
        self._turn = 0

    def choose(self, key: Optional[str] = None) -> Tuple[Server, float]:
        """The server for the next request, now with one more to do; or, with a
        wait in seconds, the one to ask again after that.

        Of those not left alone it is the one with the least to do, in turn among
        equals. Requests of one key go to one server, whichever client sends them,
        because their groups come together there: to the first in the key's own
        order that is up, and they wait for it while it is full.
        """
        now = self.now()
        with self._lock:
            chosen = self._in_turn(now) if key is None else self._of_key(key, now)
            wait = max(0.0, chosen.resumes_at - now)
            if wait == 0:
                chosen.in_flight += 1
            return chosen, wait

    def _in_turn(self, now: float) -> Server:
        self._turn += 1
        turned = self.all[self._turn % len(self.all) :] + self.all[: self._turn % len(self.all)]
        free = [s for s in turned if s.resumes_at <= now]
        return min(free, key=lambda s: s.in_flight) if free else min(turned, key=lambda s: s.resumes_at)

    def _of_key(self, key: str, now: float) -> Server:
        ordered = self._ordered(key)
        up = [s for s in ordered if not (s.suspect and s.resumes_at > now)]
        return up[0] if up else min(ordered, key=lambda s: s.resumes_at)

    def _ordered(self, key: str) -> List[Server]:
        return sorted(self.all, key=lambda s: rank(key, s.address))

    def is_home(self, server: Server, key: Optional[str]) -> bool:
        """Whether a server is where requests of a key should meet."""
        return key is None or self._ordered(key)[0] is server

    def take(self, call: Call, key: Optional[str] = None) -> Server:
        """A server to send one request to, to be given back. Waits while all are
        left alone; raises when the call is over."""
        while True:
            server, wait = self.choose(key)
            if wait == 0:
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
            # A server that says too much is asked of it is up; anything else, such as
            # what a proxy says of it, leaves that open.
            server.suspect = not (isinstance(why, ServerError) and why.status == 429)
        if news and server.failures & (server.failures - 1) == 0:  # the first, second, fourth, ... in a row
            log.warning("%s; leaving %s alone for %.1f s", why, server.address, pause)

    def close(self) -> None:
        """Closes the idle connections."""
        for server in self.all:
            server.transport.close()
