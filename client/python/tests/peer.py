"""A peer that speaks no HTTP of its own accord: it does with each connection what
a test tells it to."""

import contextlib
import socket
import ssl
import threading


@contextlib.contextmanager
def peer(script, tls=None):
    """Serves connections one after the other by ``script(connection)``; gives the
    address, as host:port. ``tls`` is the PEM file of a certificate and its key."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_connections = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                open_connections.append(connection)
                with contextlib.suppress(OSError, ssl.SSLError), _secured(connection, tls) as secured:
                    script(secured)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for sock in (listener, *open_connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)


def _secured(connection, tls):
    if tls is None:
        return contextlib.nullcontext(connection)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls)
    return context.wrap_socket(connection, server_side=True)


def says(answer):
    """A script that reads a little and says one thing."""

    def script(connection):
        connection.recv(1 << 16)
        connection.sendall(answer)

    return script


def drips(head, tail, gone):
    """A script that says the head and then a byte of the tail at a time, until
    the client is gone, which it notes."""

    def script(connection):
        connection.recv(1 << 16)
        try:
            connection.sendall(head)
            for byte in tail:
                if gone.wait(0.02):
                    return
                connection.sendall(bytes([byte]))
        except OSError:
            gone.set()

    return script
