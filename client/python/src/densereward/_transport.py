"""Keep-alive connections to one server."""

from __future__ import annotations

import http.client
import ssl
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, HTTPError

from ._call import Call
from ._errors import CanceledError, ConnectionFailedError, InvalidResponseError, UntrustedServerError
from ._message import Message, Run

#: Seconds for a connection to come about; a server behind a network that drops
#: packets is passed over after it.
CONNECT_SECONDS = 10.0

#: Seconds that an answer may come after the deadline the server was told, so that
#: the server's own account of the matter arrives first.
GRACE_SECONDS = 0.5

#: Idle connections that are kept.
IDLE_CONNECTIONS = 64


class Answer(NamedTuple):
    """What came back: the HTTP status, headers by lower-case name, the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Flight:
    """One request on its way, as the body that urllib3 iterates over; without a
    message it has none. The connection that takes it says which socket the call
    then waits on."""

    def __init__(self, message: Optional[Message], call: Call) -> None:
        self.message = message
        self._call = call
        self._socket: Any = None

    def __iter__(self) -> Iterator[Run]:
        return iter(self.message or ())

    def board(self, sock: Any) -> None:
        """Is called with the connected socket before the first byte. The timeout
        on it is that of connecting; a large body may take as long as the call."""
        sock.settimeout(self._call.left())
        self._socket = sock
        self._call.attach(sock)

    def land(self) -> None:
        """Is called when the answer is there, or will not be."""
        if self._socket is not None:
            self._call.detach(self._socket)


class _Boarding:
    """A connection that knows flights."""

    def request(self: Any, method: str, url: str, body: Any = None, headers: Any = None, **kwargs: Any) -> None:
        if isinstance(body, Flight):
            if self.sock is None:
                self.connect()
            body.board(self.sock)
            body = None if body.message is None else body
        try:
            super().request(method, url, body=body, headers=headers, **kwargs)  # type: ignore[misc]
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a body answers before it has read it all, and
            # the answer can be read. If there is none, reading fails.
            pass


class _Plain(_Boarding, HTTPConnection):  # type: ignore[misc]
    pass


class _Secure(_Boarding, HTTPSConnection):  # type: ignore[misc]
    pass


class Transport:
    """Sends requests to one address. Safe for concurrent use: each request in
    flight has its own connection."""

    def __init__(
        self,
        address: str,
        *,
        token: Optional[str],
        ca_certs: Optional[str],
        client_cert: Optional[Tuple[str, str]],
        max_response: int,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"address {address!r}: want http://host:port or https://host:port")
        self.address = address.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        self._max_response = max_response
        self._headers = {"User-Agent": "densereward-python"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        options: Dict[str, Any] = {"maxsize": IDLE_CONNECTIONS, "block": False, "retries": False}
        self._pool: Any
        if parts.scheme == "https":
            certificate, key = client_cert or (None, None)
            options.update(cert_reqs="CERT_REQUIRED", ca_certs=ca_certs, cert_file=certificate, key_file=key)
            self._pool = urllib3.HTTPSConnectionPool(parts.hostname, parts.port, **options)
            self._pool.ConnectionCls = _Secure
        else:
            self._pool = urllib3.HTTPConnectionPool(parts.hostname, parts.port, **options)
            self._pool.ConnectionCls = _Plain

    def post(self, path: str, message: Message, headers: Mapping[str, str], call: Call) -> Answer:
        """Sends a message. Raises `ConnectionFailedError` or `UntrustedServerError` where no
        answer came, `CanceledError` after `close`, and as ``call.left`` does when the
        call is over."""
        sized = {**headers, "Content-Length": str(message.size)}
        return self._exchange("POST", path, message, sized, call, GRACE_SECONDS)

    def get(self, path: str, call: Call) -> Answer:
        """Asks for a path. Raises as `post` does."""
        return self._exchange("GET", path, None, {}, call, 0.0)

    def _exchange(
        self, method: str, path: str, message: Optional[Message], headers: Mapping[str, str], call: Call, grace: float
    ) -> Answer:
        left = call.left()
        flight = Flight(message, call)
        timeout = urllib3.Timeout(
            connect=CONNECT_SECONDS if left is None else min(left, CONNECT_SECONDS),
            read=None if left is None else left + grace,
        )
        try:
            response = self._pool.urlopen(
                method,
                self._prefix + path,
                body=flight,
                headers={**self._headers, **headers},
                timeout=timeout,
                redirect=False,
                preload_content=False,
                decode_content=False,
                enforce_content_length=True,
            )
            return self._read(response)
        except ClosedPoolError as e:
            raise CanceledError("the client is closed") from e
        except (HTTPError, http.client.HTTPException, OSError) as e:
            call.left()  # a call that is over is why
            cause = _cause(e)
            # urllib3 1.26 has a class of its own for a certificate of another host.
            if isinstance(cause, ssl.SSLCertVerificationError) or type(cause).__name__ == "CertificateError":
                raise UntrustedServerError(f"{self.address}: {cause}") from e
            raise ConnectionFailedError(f"{self.address}: {str(cause) or type(cause).__name__}") from e
        finally:
            flight.land()

    def _read(self, response: Any) -> Answer:
        """The whole answer, unless it is longer than the limit."""
        try:
            body = response.read(self._max_response + 1)
            if len(body) > self._max_response:
                raise InvalidResponseError(f"{self.address}: the answer exceeds {self._max_response} bytes")
            if response.length_remaining:
                # A server that died while it answered; urllib3 1.26 would not say.
                raise http.client.IncompleteRead(body, response.length_remaining)
            response.release_conn()
        finally:
            if response.connection is not None:
                response.close()
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)

    def close(self) -> None:
        """Closes the idle connections."""
        self._pool.close()


def _cause(e: BaseException) -> BaseException:
    """What lies behind urllib3's errors, whose own texts name its objects."""
    inner: Optional[BaseException] = e
    while isinstance(inner, HTTPError):
        e, inner = inner, inner.__cause__ or inner.__context__
    return inner or e
