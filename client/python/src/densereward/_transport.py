"""Keep-alive connections to one server."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ClosedPoolError, HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from ._call import Call
from ._errors import CanceledError, ConfigurationError, ConnectionFailedError, InvalidResponseError, UntrustedServerError
from ._message import Message, Run

#: Seconds for a connection to come about; a server behind a network that drops
#: packets is passed over after it.
CONNECT_SECONDS = 10.0

#: Seconds that an answer may come after the deadline the server was told, so that
#: the server's own account of the matter arrives first.
GRACE_SECONDS = 0.5

#: Idle connections that are kept.
IDLE_CONNECTIONS = 64

#: How what a TLS server says to plain HTTP begins: an alert of TLS.
_TLS_ALERT = "\x15\x03"

#: What OpenSSL calls the answer of a server that does not speak TLS.
_NOT_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class Answer(NamedTuple):
    """What came back: the HTTP status, headers by lower-case name, the body, and
    whose answer it is."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    address: str = ""


class Flight:
    """One request on its way, as the body that urllib3 iterates over; without a
    message it has none. The connection that takes it says which socket the call
    then waits on."""

    def __init__(self, message: Optional[Message], call: Call, grace: float) -> None:
        self.message = message
        self.boarded = False
        self._call, self._grace = call, grace
        self._socket: Any = None

    def __iter__(self) -> Iterator[Run]:
        return iter(self.message or ())

    def connect(self, host: str, port: int, options: Any) -> "_Socket":
        """A connected socket of any address of the host."""
        failure: Optional[OSError] = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
            sock = _Socket(family, kind, protocol)
            try:
                for option in options or ():
                    sock.setsockopt(*option)
                left = self._call.patience(self._grace)
                sock.settimeout(CONNECT_SECONDS if left is None else min(left, CONNECT_SECONDS))
                sock.connect(address)
                return sock
            except OSError as e:
                sock.close()
                failure = e
        raise failure or OSError(f"{host} has no address")

    def board(self, sock: Any) -> None:
        """Is called with the connected socket before the first byte."""
        self.boarded = True
        self._socket = sock
        sock.limit = self.limit
        self._call.attach(sock)

    def limit(self) -> Optional[float]:
        """Seconds that the socket may still take."""
        return self._call.patience(self._grace)

    def land(self) -> None:
        """Is called when the answer is there, or will not be."""
        if self._socket is not None:
            self._socket.limit = None
            self._call.detach(self._socket)


class _Timed:
    """A socket each of whose reads and writes takes what time the call has left:
    an answer that drips is over when the call is."""

    limit: Any = None

    def _set_limit(self: Any) -> None:
        if self.limit is not None:
            self.settimeout(self.limit())

    def recv(self: Any, *args: Any) -> Any:
        self._set_limit()
        return super().recv(*args)  # type: ignore[misc]

    def recv_into(self: Any, *args: Any) -> Any:
        self._set_limit()
        return super().recv_into(*args)  # type: ignore[misc]

    def send(self: Any, *args: Any) -> Any:
        self._set_limit()
        return super().send(*args)  # type: ignore[misc]

    def sendall(self: Any, *args: Any) -> Any:
        self._set_limit()
        return super().sendall(*args)  # type: ignore[misc]


class _Socket(_Timed, socket.socket):
    pass


class _SecureSocket(_Timed, ssl.SSLSocket):
    pass


class _Boarding:
    """A connection that knows flights."""

    flight: Optional[Flight] = None

    def request(self: Any, method: str, url: str, body: Any = None, headers: Any = None, **kwargs: Any) -> None:
        assert isinstance(body, Flight)
        if self.sock is None:
            self.flight = body
            self.connect()
        body.board(self.sock)
        try:
            super().request(  # type: ignore[misc]
                method, url, body=None if body.message is None else body, headers=headers, **kwargs
            )
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a body answers before it has read it all, and
            # the answer can be read. If there is none, reading fails.
            pass

    def _new_conn(self: Any) -> _Socket:
        flight: Optional[Flight] = self.flight
        assert flight is not None
        sock: _Socket = flight.connect(self.host, self.port, self.socket_options)
        return sock


class _Plain(_Boarding, HTTPConnection):  # type: ignore[misc]
    pass


class _Secure(_Boarding, HTTPSConnection):  # type: ignore[misc]
    pass


class _SecurePool(urllib3.HTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Secure

    def _validate_conn(self, conn: Any) -> None:
        """Leaves connecting to the request, which knows how long it may take."""


class Transport:
    """Sends requests to one address. Safe for concurrent use: each request in
    flight has its own connection. Neither the environment's proxies nor
    redirections are followed."""

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
        self.address = address.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        self._max_response = max_response
        self._headers = {"User-Agent": "densereward-python"}
        self.has_token = token is not None
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        options: Dict[str, Any] = {"maxsize": IDLE_CONNECTIONS, "block": False, "retries": False}
        self._pool: Any
        if parts.scheme == "https":
            options["ssl_context"] = tls_context(ca_certs, client_cert)
            self._pool = _SecurePool(parts.hostname, parts.port, **options)
        else:
            self._pool = urllib3.HTTPConnectionPool(parts.hostname, parts.port, **options)
            self._pool.ConnectionCls = _Plain

    def post(self, path: str, message: Message, headers: Mapping[str, str], call: Call) -> Answer:
        """Sends a message. Raises `ConnectionFailedError` or `ConfigurationError` where
        no answer came, `CanceledError` after `close`, and as ``call.left`` does when
        the call is over."""
        sized = {**headers, "Content-Length": str(message.size)}
        return self._exchange("POST", path, message, sized, call, GRACE_SECONDS)

    def get(self, path: str, call: Call, headers: Optional[Mapping[str, str]] = None) -> Answer:
        """Asks for a path. Raises as `post` does."""
        return self._exchange("GET", path, None, headers or {}, call, 0.0)

    def delete(self, path: str, call: Call, headers: Mapping[str, str]) -> Answer:
        """Deletes what is at a path. Raises as `post` does."""
        return self._exchange("DELETE", path, None, headers, call, 0.0)

    def _exchange(
        self, method: str, path: str, message: Optional[Message], headers: Mapping[str, str], call: Call, grace: float
    ) -> Answer:
        left = call.left()
        flight = Flight(message, call, grace)
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
        except (HTTPError, http.client.HTTPException, OSError, UnicodeError) as e:
            call.left()  # a call that is over is why
            raise self._failure(_cause(e), flight.boarded) from e
        finally:
            flight.land()

    def _failure(self, cause: BaseException, connected: bool) -> Exception:
        """What a broken exchange means, and whether another try could better it."""
        text = f"{self.address}: {str(cause) or type(cause).__name__}"
        # urllib3 1.26 has a class of its own for a certificate of another host.
        if isinstance(cause, ssl.SSLCertVerificationError) or type(cause).__name__ == "CertificateError":
            return UntrustedServerError(f"{text}; ca_certs= names the PEM file of an authority to trust")
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            reason = cause.reason or ""
            if "CERTIFICATE" in reason or "HANDSHAKE_FAILURE" in reason:
                return ConfigurationError(f"{text}; where the server asks for a certificate, client_cert= gives it")
            if not connected and reason in _NOT_TLS:
                plain = self.address.replace("https://", "http://", 1)
                return ConfigurationError(f"{self.address} does not speak TLS: try {plain} ({cause})")
            if not connected:
                return ConfigurationError(text)
        if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, http.client.RemoteDisconnected):
            line = str(cause).strip("'\"")
            if line.startswith((_TLS_ALERT, repr(_TLS_ALERT)[1:-1])):
                secure = self.address.replace("http://", "https://", 1)
                return ConfigurationError(f"{self.address} does not speak plain HTTP: try {secure}")
            return ConfigurationError(f"{self.address} does not speak HTTP: it answered {line[:80]!r}")
        if isinstance(cause, UnicodeError):
            return ConfigurationError(f"{self.address} names no host: {cause}")
        return ConnectionFailedError(text)

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
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, body, self.address)

    def close(self) -> None:
        """Closes the idle connections."""
        self._pool.close()


def tls_context(ca_certs: Optional[str], client_cert: Optional[Tuple[str, str]]) -> ssl.SSLContext:
    """Checks certificates against the authorities of a PEM file or a folder, or the
    system's. Raises OSError for a file that cannot be read and ValueError for one
    that does not hold what it should; both name it."""
    if ca_certs is not None:
        _check_file("ca_certs", ca_certs, folder=True)
    context: ssl.SSLContext = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)  # urllib3 checks the host's name
    try:
        if ca_certs is None:
            context.load_default_certs()
        elif os.path.isdir(ca_certs):
            context.load_verify_locations(capath=ca_certs)
        else:
            context.load_verify_locations(cafile=ca_certs)
    except ssl.SSLError as e:
        raise ValueError(f"ca_certs: {ca_certs} holds no certificates in PEM: {e}") from e
    context.sslsocket_class = _SecureSocket
    if client_cert is not None:
        certificate, key = client_cert
        _check_file("client_cert", certificate)
        _check_file("client_cert", key)
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as e:
            raise ValueError(f"client_cert: {certificate} and {key} are not a certificate and its key in PEM: {e}") from e
    return context


def _check_file(option: str, path: str, folder: bool = False) -> None:
    if folder and os.path.isdir(path):
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as e:
        raise type(e)(e.errno, f"{option}: {e.strerror}", path) from e


def _no_password() -> str:
    raise ValueError("client_cert: the key is encrypted; give one that is not")


def _cause(e: BaseException) -> BaseException:
    """What lies behind urllib3's errors, whose own texts name its objects."""
    inner: Optional[BaseException] = e
    while isinstance(inner, HTTPError):
        e, inner = inner, inner.__cause__ or inner.__context__
    return inner or e
