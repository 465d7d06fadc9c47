"""A timeout is a wall clock's, whatever the peer does."""

import itertools
import socket
import threading
import time

import numpy as np
import pytest
from peer import drips, peer
from test_retry import fast

import densereward

IMAGES = np.zeros((1, 8, 8, 3), np.uint8)
SECONDS = 0.3

#: What the client may take beyond its timeout: the grace for the server's own
#: account, and a busy machine.
GRACE = 3.0

#: What a peer says at once, and what gives the bytes that it then drips from their first on.
DRIPS = {
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nContent-Length: 100000\r\n\r\n", lambda: itertools.repeat(0x80)),
    "a body without a length": (b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\n\r\n", lambda: itertools.repeat(0x80)),
    "a body in chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", lambda: itertools.cycle(b"1\r\n\x80\r\n")),
    "headers": (b"HTTP/1.1 200 OK\r\nX-Long: ", lambda: itertools.repeat(0x61)),
    "more and more headers": (b"HTTP/1.1 200 OK\r\n", lambda: itertools.cycle(b"A: b\r\n")),
    "a status line": (b"HTTP", lambda: itertools.repeat(0x31)),
    "interim answers": (b"", lambda: itertools.cycle(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "the fields of an interim answer": (b"HTTP/1.1 100 Continue\r\n", lambda: itertools.cycle(b"A: b\r\n")),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", lambda: itertools.cycle(b"A: b\r\n")),
}


@pytest.mark.parametrize("kind", DRIPS)
@pytest.mark.parametrize("method", ["score", "models"])
def test_an_answer_that_drips_ends_with_the_call(method, kind):
    head, tail = DRIPS[kind]
    gone = threading.Event()
    with peer(drips(head, tail(), gone)) as address, fast(f"http://{address}") as client:
        began = time.monotonic()
        try:
            with pytest.raises(densereward.DeadlineExceededError):
                client.score(IMAGES, ["a"], timeout=SECONDS) if method == "score" else client.models(timeout=SECONDS)
            assert time.monotonic() - began < SECONDS + GRACE
        finally:
            gone.set()


FLOODS = {
    "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n",
    "headers": b"A: b\r\n",
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_ends_with_the_call_or_before(kind):
    """What comes without a pause leaves no read to time out."""

    def floods(connection):
        connection.recv(1 << 16)
        if kind == "headers":
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(FLOODS[kind] * 1000)

    with peer(floods) as address, fast(f"http://{address}") as client:
        began = time.monotonic()
        with pytest.raises(densereward.DenseRewardError):
            client.score(IMAGES, ["a"], timeout=SECONDS)
        assert time.monotonic() - began < SECONDS + GRACE


def test_a_peer_that_ends_its_half_ends_with_the_call():
    done = threading.Event()

    def halves(connection):
        connection.recv(1 << 16)
        connection.shutdown(socket.SHUT_WR)
        done.wait(1)

    with peer(halves) as address, fast(f"http://{address}") as client:
        began = time.monotonic()
        try:
            with pytest.raises(densereward.DenseRewardError):
                client.score(IMAGES, ["a"], timeout=SECONDS)
            assert time.monotonic() - began < SECONDS + GRACE
        finally:
            done.set()


def test_a_peer_that_reads_nothing_ends_with_the_call():
    """The body fills what the sockets hold, and no more goes out."""
    large = np.zeros((16, 1024, 1024, 3), np.uint8)
    done = threading.Event()
    with peer(lambda connection: done.wait(20)) as address, fast(f"http://{address}") as client:
        began = time.monotonic()
        try:
            with pytest.raises(densereward.DeadlineExceededError):
                client.score(large, ["a"] * 16, timeout=SECONDS)
            assert time.monotonic() - began < SECONDS + GRACE
        finally:
            done.set()


def test_a_drip_over_tls_ends_with_the_call(certificate):
    head, tail = DRIPS["a body"]
    gone = threading.Event()
    with peer(drips(head, tail(), gone), tls=certificate) as address, fast(f"https://{address}", ca_certs=certificate) as client:
        began = time.monotonic()
        try:
            with pytest.raises(densereward.DeadlineExceededError):
                client.score(IMAGES, ["a"], timeout=SECONDS)
            assert time.monotonic() - began < SECONDS + GRACE
        finally:
            gone.set()


def test_a_tls_handshake_that_never_comes_ends_with_the_call():
    done = threading.Event()
    with peer(lambda connection: done.wait(20)) as address, fast(f"https://{address}") as client:
        try:
            with pytest.raises(densereward.DeadlineExceededError):
                client.score(IMAGES, ["a"], timeout=SECONDS)
        finally:
            done.set()


def test_a_connection_is_used_again_after_its_call(stub):
    """Its next call has a deadline of its own."""
    from stub import ok

    server = stub(ok)
    with fast(server.url) as client:
        client.score(IMAGES, ["a"], timeout=20)
        client.timeout = None
        client.score(IMAGES, ["a"])
        assert client._servers.all[0].transport._pool.num_connections == 1
