"""The answer of a request that a server has, fetched as often as it takes."""

from __future__ import annotations

import json
from typing import Mapping

from ._call import Call
from ._errors import CanceledError, ConnectionFailedError, DeadlineExceededError, DenseRewardError, InvalidResponseError, NotFoundError
from ._refusal import refusal
from ._servers import PROBE_SECONDS, Backoff, Server
from ._transport import Answer

JOBS = "/v1/jobs"

#: Seconds for which the server is asked to wait with an answer that is not there yet.
WAIT_SECONDS = 30.0

#: Questions in a row that meet no answer, after which the server counts as lost.
LOST_FETCHES = 3

_PAUSES = (0.1, 2.0)


def fetch(call: Call, server: Server, started: Answer, headers: Mapping[str, str]) -> Answer:
    """The answer of the job that a server started. A connection that breaks costs
    nothing. Raises `ConnectionFailedError` where the server cannot be reached any more or
    does not know the job, and as ``call.left`` does. A call that is given up ends
    the job. ``headers`` see to it that load balancers find the same server."""
    path = f"{JOBS}/{_id(started)}"
    backoff = Backoff(*_PAUSES)
    lost = 0
    try:
        while True:
            try:
                answer = _ask(call, server, path, headers)
            except (ConnectionFailedError, DeadlineExceededError) as e:
                call.left()
                lost += 1
                if lost == LOST_FETCHES:
                    raise ConnectionFailedError(f"{server.address} has a job and does not answer any more: {e}") from e
                call.sleep(backoff.pause(lost))
                continue
            lost = 0
            if answer.status == 404 and isinstance(refusal(answer, path, server.transport.has_token), NotFoundError):
                why = "it has started since, or the address stands for several servers that do not share jobs"
                raise ConnectionFailedError(f"{server.address} does not know a job that it took: {why}")
            if answer.status != 202:
                return answer
    except CanceledError:
        _drop(server, path, headers)
        raise


def _id(started: Answer) -> str:
    try:
        found = json.loads(started.body)["id"]
        if not isinstance(found, str) or not found.isalnum():
            raise ValueError("want letters and digits")
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise InvalidResponseError(f"{started.address}{JOBS}: id: {e!r}") from e
    return found


def _ask(call: Call, server: Server, path: str, headers: Mapping[str, str]) -> Answer:
    """The answer, one of status 202 where it is not there yet."""
    left = call.left()
    wait = WAIT_SECONDS if left is None else min(left, WAIT_SECONDS)
    # A connection that died without a word is found out by the call's own end.
    return server.transport.get(f"{path}?wait={wait:.3f}", call.within(wait + PROBE_SECONDS), headers)


def _drop(server: Server, path: str, headers: Mapping[str, str]) -> None:
    """Tells the server that nobody waits for a job any more. If it does not hear that,
    the job ends by itself."""
    try:
        server.transport.delete(path, Call(PROBE_SECONDS), headers)
    except DenseRewardError:
        pass
