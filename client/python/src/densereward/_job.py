"""An answer that is on its way."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import Any, Callable, Generic, NoReturn, Optional, TypeVar

from ._call import Call
from ._errors import CanceledError
from ._response import Result

A = TypeVar("A")


class Job(Future, Generic[A]):  # type: ignore[type-arg] # Generic[A] comes second, and Future's is Result[A]
    """What `Client.submit` gives: a `concurrent.futures.Future` of a `Result`.

    `cancel` works at any time until the answer is there, and ends the server's work
    too. Threads of its own, which do not keep Python from ending, wait for the answer.
    Without one, `result` and `exception` speak of what `Client.score` would have raised.
    A job belongs to the process that submitted it: it refuses to be pickled or copied, and
    to be waited for in a child that came by a fork; pickle its result instead.
    """

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call
        self._pid = os.getpid()

    def run(self, function: Callable[[], Result[A]]) -> None:
        """Answers with what function gives, in a thread."""

        def answer() -> None:
            result: Optional[Result[A]] = None
            failure: Optional[BaseException] = None
            try:
                result = function()
            except BaseException as e:  # whoever asks for the result gets it
                failure = e
            if not self.set_running_or_notify_cancel():
                return
            if failure is None:
                self.set_result(result)
            else:
                self.set_exception(failure)

        threading.Thread(target=answer, name="densereward-job", daemon=True).start()

    def result(self, timeout: Optional[float] = None) -> Result[A]:
        """The answer, for which it waits ``timeout`` seconds at most, None for as long
        as the call may take. Raises what `Client.score` raises,
        `concurrent.futures.TimeoutError` when it is not there yet, and
        `concurrent.futures.CancelledError` after `cancel`."""
        self._check_process()
        result: Result[A] = super().result(timeout)
        return result

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """What `result` would raise, None if nothing. Waits as `result` does."""
        self._check_process()
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Gives the job up, on the server too. False if its answer is there."""
        if not super().cancel():
            return False
        self._call.cancel()
        return True

    def _check_process(self) -> None:
        if os.getpid() != self._pid and not self.done():
            raise CanceledError("the job belongs to the process that submitted it; submit another here")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a job belongs to the process that submitted it and cannot be pickled or copied; its result() can")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.__reduce__()


def in_daemon(function: Callable[..., A], *args: Any) -> "Future[A]":
    """What function(*args) gives, in a thread that does not keep Python from ending."""
    given: "Future[A]" = Future()

    def run() -> None:
        given.set_running_or_notify_cancel()
        try:
            given.set_result(function(*args))
        except BaseException as e:  # its reader gets it
            given.set_exception(e)

    threading.Thread(target=run, name="densereward-part", daemon=True).start()
    return given
