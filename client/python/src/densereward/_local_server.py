"""A server of one's own, for a machine that trains and scores by itself."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Any, List, Mapping, NoReturn, Optional, Sequence, Union

from . import _program
from ._client import Client
from ._errors import ConnectionFailedError, DeadlineExceededError

#: Seconds that a server gets to finish its requests when it is stopped.
STOP_SECONDS = 15.0

#: The program that a server runs under; it is not imported.
_GUARD = os.path.join(os.path.dirname(__file__), "_guard.py")


class LocalServer:
    """The program ``densereward serve`` on a free loopback port, until it is
    stopped, the with block ends, or this process does, however that may be:

        with densereward.LocalServer("--model", folder, "--device", "cuda") as server:
            client = densereward.Client(server.url)

    ``flags`` go to ``serve``; numbers and paths may be among them. ``program`` is the binary, by default the one that came
    with this package or the first on the path, or the words of a command such as
    ``["go", "run", "./cmd/densereward"]``; ``env`` adds to the environment and
    ``cwd`` is where it runs. Its log goes where this process's does. Returns once
    the model is loaded; raises `ConnectionFailedError` if the server ends before
    that, `DeadlineExceededError` if it is not ready in ``timeout`` seconds, and
    FileNotFoundError where there is no such program.

    A server belongs to the process that started it: others, a child after a fork
    among them, use its ``url`` and cannot stop it.
    """

    def __init__(
        self,
        *flags: Union[str, float, "os.PathLike[str]"],
        program: Union[str, "os.PathLike[str]", Sequence[str], None] = None,
        env: Optional[Mapping[str, str]] = None,
        cwd: Union[str, "os.PathLike[str]", None] = None,
        timeout: float = 600.0,
    ) -> None:
        directory = None if cwd is None else os.fspath(cwd)
        words = _words(program, env, directory)
        address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{address}"
        self._owner = os.getpid()
        environment = None if env is None else {**os.environ, **env}
        self._process = _start([*words, "serve", "--listen", address, *map(_word, flags)], environment, directory)
        atexit.register(self.stop)
        try:
            if sys.platform == "win32":
                from ._windows_job import bind

                self._job = bind(self._process)
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
        """Stops the server, which answers what it has begun first. Does nothing in
        a process that did not start it."""
        if os.getpid() != self._owner:
            return
        atexit.unregister(self.stop)
        if self._process.poll() is not None:
            return
        if sys.platform == "win32":
            self._process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS + 5)  # the guard kills what is left after STOP_SECONDS
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LocalServer belongs to the process that started it; give its url")

    def __enter__(self) -> "LocalServer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _start(command: List[str], env: Any, cwd: Optional[str]) -> "subprocess.Popen[bytes]":
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP  # so that it can be told to stop
        return subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, creationflags=flags)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", _GUARD, str(os.getpid()), str(STOP_SECONDS), *command],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # no key pressed for this process stops the server before its requests end
    )


def _words(program: Union[str, "os.PathLike[str]", Sequence[str], None], env: Optional[Mapping[str, str]], cwd: Optional[str]) -> List[str]:
    """The words of the command, the first a program that is there."""
    if program is None:
        return [_program.find()]
    words = [os.fspath(program)] if isinstance(program, (str, os.PathLike)) else list(program)
    here = os.path.join(cwd or "", words[0]) if os.path.dirname(words[0]) else words[0]
    if shutil.which(here, path=(env or {}).get("PATH", os.environ.get("PATH"))) is None:
        raise FileNotFoundError(f"program={words[0]!r}: there is no such program that can be run")
    return words


def _word(flag: Union[str, float, "os.PathLike[str]"]) -> str:
    return os.fspath(flag) if isinstance(flag, os.PathLike) else str(flag)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port
