"""A server of one's own, for a machine that trains and scores by itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import Mapping, Optional, Sequence, Union

from ._client import Client
from ._errors import ConnectionFailedError, DeadlineExceededError

#: Seconds that a server gets to finish its requests when it is stopped.
STOP_SECONDS = 15.0


class LocalServer:
    """The program ``densereward serve`` on a free loopback port, until it is
    stopped or the with block ends:

        with densereward.LocalServer("--model", folder, "--device", "cuda") as server:
            client = densereward.Client(server.url)

    ``flags`` go to ``serve``. ``program`` is the binary, or the words of a command
    such as ``["go", "run", "./cmd/densereward"]``; ``env`` adds to the environment
    and ``cwd`` is where it runs. Its log goes where this process's does. Returns
    once the model is loaded; raises `ConnectionFailedError` if the server ends before
    that, `DeadlineExceededError` if it is not ready in ``timeout`` seconds.
    """

    def __init__(
        self,
        *flags: str,
        program: Union[str, Sequence[str]] = "densereward",
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[str] = None,
        timeout: float = 600.0,
    ) -> None:
        words = [program] if isinstance(program, str) else list(program)
        address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{address}"
        self._process = subprocess.Popen(
            [*words, "serve", "--listen", address, *flags],
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            start_new_session=True,  # so that what it starts ends with it
        )
        try:
            self._wait(timeout)
        except BaseException:
            self.stop()
            raise

    def _wait(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        with Client(self.url) as client:
            while time.monotonic() < until:
                if self._process.poll() is not None:
                    raise ConnectionFailedError(f"the server ended with exit code {self._process.returncode}")
                try:
                    return client.wait_ready(timeout=min(1.0, timeout))
                except DeadlineExceededError:
                    continue
        raise DeadlineExceededError(f"the server was not ready within {timeout} s")

    def stop(self) -> None:
        """Stops the server, which answers what it has begun first."""
        for what in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            os.killpg(self._process.pid, what)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue

    def __enter__(self) -> "LocalServer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
