"""Answers that end before their length: the server died while it wrote."""

import socket
import threading

import pytest

from densereward import Client
from densereward._errors import ConnectionFailedError

CUT = b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nContent-Length: 1000\r\n\r\n\x81\xa4only a part"


@pytest.fixture
def cut_server():
    """A server that dies in the middle of every answer, and how often it did."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1 << 16)
                asked.append(1)
                connection.sendall(CUT)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        # Closing alone would not wake the thread that accepts.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_an_answer_that_ends_early_is_a_connection_that_failed_and_is_asked_for_again(cut_server):
    address, asked = cut_server
    with Client(address, tries=3, backoff=(0.001, 0.001), timeout=20) as client:
        with pytest.raises(ConnectionFailedError):
            client.models()
    assert len(asked) >= 3
