"""One request, sent until it is answered."""

from __future__ import annotations

import itertools
import json
import uuid
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Callable, Dict, Optional

from ._call import Call
from ._errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    DenseRewardError,
    GroupIncompleteError,
    InvalidResponseError,
    NotReadyError,
)
from ._job_fetch import JOBS, fetch
from ._message import Message
from ._placement import header
from ._refusal import refusal
from ._response import Result, decode
from ._servers import Server, Servers
from ._transport import Answer
from ._types import Models, NumpyArray

MEDIA_TYPE = "application/msgpack"

SCORE = "/v1/score"

#: Seconds of a Retry-After from which it is no pause but a mistake.
TOO_LONG = 2.0**31

#: Statuses that another try, later or elsewhere, can better: too many requests,
#: not ready, and what a proxy says of a server that is being restarted.
RETRYABLE = frozenset({429, 502, 503})


#: Seconds for which a request waits at first for its group on another server than the
#: group's own, which may be back meanwhile; doubled each time.
AWAY_SECONDS = 5.0


class Request:
    """A request as it travels, with the id that all its tries share, so that logs show
    them as one. Requests of one ``key`` must meet at one server."""

    def __init__(self, body: Dict[str, Any], key: Optional[str] = None) -> None:
        self.message = Message(body)
        self.key = key
        self.id = uuid.uuid4().hex

    def headers(self, call: Call) -> Dict[str, str]:
        """Those of a call's try."""
        headers = {"Content-Type": MEDIA_TYPE, "X-Request-ID": self.id, **self.placement()}
        left = call.left()
        if left is not None:
            headers["X-Request-Timeout"] = f"{max(left, 0.001):.3f}"
        return headers

    def placement(self) -> Dict[str, str]:
        """What tells a load balancer which server to take: that of the key, or for a job
        without one always the same."""
        return {"X-Placement-Key": header(self.id if self.key is None else self.key)}


class Sender:
    """Sends requests to servers, again where that can help, at most ``tries``
    times if a number is given. Safe for concurrent use."""

    def __init__(self, servers: Servers, tries: Optional[int]) -> None:
        self._servers = servers
        self._tries = tries

    def send(self, call: Call, request: Request) -> Result[NumpyArray]:
        """The answer to a request. Raises the `ServerError` of an answer that says
        no, `ConnectionFailedError` when the tries are used up without one,
        `ConfigurationError` where none can help, and as ``call.left`` does."""

        def post(server: Server, part: Call) -> Answer:
            return server.transport.post(SCORE, request.message, request.headers(part), part)

        return self._result(call, post, request)

    def send_job(self, call: Call, request: Request) -> Result[NumpyArray]:
        """As `send`, but the server answers at once that it has the request, and is
        asked for the answer as often as it takes: a connection that breaks meanwhile
        costs nothing. A server that has started since gets the request again."""

        def post_and_fetch(server: Server, part: Call) -> Answer:
            answer = server.transport.post(JOBS, request.message, request.headers(part), part)
            return fetch(part, server, answer, request.placement()) if answer.status == 202 else answer

        return self._result(call, post_and_fetch, request)

    def _result(self, call: Call, once: Callable[[Server, Call], Answer], request: Request) -> Result[NumpyArray]:
        answer = self._exchange(call, once, SCORE, request.key)
        kind = answer.headers.get("content-type", "")
        if kind.startswith("text/"):
            raise InvalidResponseError(f"{answer.address} answered with {kind}: it seems not to be a DenseReward server")
        return decode(answer.body)

    def models(self, call: Call) -> Models:
        """What GET /v1/models says. Raises as `send` does."""
        answer = self._exchange(call, lambda server, part: server.transport.get("/v1/models", part), "/v1/models")
        try:
            models: Models = json.loads(answer.body)
            if not isinstance(models, dict):
                raise ValueError("want an object")
        except (ValueError, RecursionError) as e:
            raise InvalidResponseError(f"{answer.address}/v1/models: {e}") from e
        return models

    def _exchange(self, call: Call, once: Callable[[Server, Call], Answer], path: str, key: Optional[str] = None) -> Answer:
        """The first answer of status 200, from any server, or from that of a key.
        Raises that of an answer which another try would not better.

        Requests of a key that went elsewhere, since its own server was lost, and do not meet
        their group there look again soon: others may have found that server back."""
        failure: Optional[DenseRewardError] = None
        away_seconds = AWAY_SECONDS
        try:
            for made in itertools.count(1):
                server = self._servers.take(call, key)
                began = self._servers.now()
                retry_after = 0.0
                away = not self._servers.is_home(server, key)
                try:
                    server.check_ready(call)
                    answer = once(server, call.within(away_seconds) if away else call)
                except (ConnectionFailedError, NotReadyError) as e:
                    failure = e
                except DeadlineExceededError as e:
                    call.left()
                    if not away or made == self._tries:
                        raise
                    failure, away_seconds = e, 2 * away_seconds
                    continue
                else:
                    if answer.status == 200:
                        self._servers.answered(server)
                        return answer
                    failure, retry_after = refusal(answer, path, server.transport.has_token), _retry_after(answer)
                    if answer.status not in RETRYABLE:
                        self._servers.answered(server)
                        if away and isinstance(failure, (GroupIncompleteError, DeadlineExceededError)) and made != self._tries:
                            call.left()
                            away_seconds *= 2
                            continue
                        raise failure
                finally:
                    self._servers.give_back(server)
                self._servers.failed(server, began, failure, retry_after)
                if made == self._tries:
                    raise failure
        except DeadlineExceededError as e:
            if failure is None or e is failure:
                raise
            raise DeadlineExceededError(f"{e.message}; the last try met: {failure}") from failure
        raise AssertionError("unreachable")


def _retry_after(answer: Answer) -> float:
    """The header's seconds, or those until its date; 0 without one and for what is
    no pause: of the past, not a number, or `TOO_LONG`."""
    text = answer.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text)
    return seconds if 0 < seconds < TOO_LONG else 0.0


def _seconds_until(text: str) -> float:
    """The seconds until a date of HTTP, which is UTC where it names no zone; 0 for
    anything else."""
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return (date - datetime.now(timezone.utc)).total_seconds()
