"""The client: images and prompts in, scores and dense rewards out."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Literal, Mapping, NamedTuple, Optional, Sequence, Tuple, Union, overload

from . import _request as request
from ._best import best
from ._call import Call
from ._errors import (
    CanceledError,
    ConnectionFailedError,
    DeadlineExceededError,
    DenseRewardError,
    NotReadyError,
    ServerError,
)
from ._job import Job, in_daemon
from ._merge import Part, merge
from ._notices import Notices
from ._placement import order
from ._request import Groups, Options
from ._response import AnyResult, Result
from ._samples import Samples, from_images, from_latents
from ._sender import Request, Sender
from ._servers import PROBE_SECONDS, Backoff, Server, Servers, addresses, bearer_token
from ._transport import Transport
from ._types import (
    AdvantageLike,
    BatchOptions,
    ClientCertificate,
    Grid,
    Images,
    Latents,
    Metadata,
    Missing,
    Models,
    NumpyArray,
    Output,
    Return,
    ScoreOptions,
    WeightsLike,
)

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

class Client:
    """Asks DenseReward servers for scores.

    ``servers`` is an address such as ``"http://localhost:8080"``, or several:
    requests go to the one with the least to do, and one that fails is left alone
    until it says that it is ready again. A client keeps its connections alive and
    is safe for use by many threads; after a fork the child opens its own. A copy,
    by `copy` or `pickle`, is a client with the same settings, the token among them.

    A request that met a full queue, a server that is not ready, or a connection
    that broke is sent again after a growing pause, until ``timeout`` (seconds for
    a whole call, None for ever) has passed, or ``tries`` were made. Scoring has no
    side effects, so that a repeated request is never wrong.

    Batches of more than ``batch_size`` samples or ``request_bytes`` bytes are
    split and sent by ``concurrency`` threads; the answer is the same.

    ``token`` is the server's bearer token, ``backoff`` the first and the longest
    pause between tries in seconds, and ``max_response`` bounds the bytes of an
    answer. Certificates of https are always checked: ``ca_certs`` is a PEM file of
    the authorities to trust, the system's by default, and ``client_cert`` the PEM
    files of a certificate and its key, for a server that asks for them.

    Groups that span requests meet at one of several servers, found by their step and name;
    one that is lost leaves its groups to others. Where one address stands for several
    servers, ``split_groups`` sends a request for each such group, so that a load balancer
    can place it by its X-Placement-Key header. Raises
    ValueError or OSError for settings that cannot work.
    """

    def __init__(
        self,
        servers: Union[str, Sequence[str]],
        *,
        token: Optional[str] = None,
        timeout: Optional[float] = 300.0,
        tries: Optional[int] = None,
        batch_size: int = 32,
        request_bytes: int = 64 << 20,
        concurrency: int = 8,
        backoff: Tuple[float, float] = (0.1, 5.0),
        ca_certs: Union[str, "os.PathLike[str]", None] = None,
        client_cert: Optional[ClientCertificate] = None,
        max_response: int = 1 << 30,
        split_groups: bool = False,
    ) -> None:
        if batch_size < 1 or request_bytes < 1 or concurrency < 1 or (tries is not None and tries < 1):
            raise ValueError("batch_size, request_bytes, concurrency and tries: want at least 1")
        self.timeout = timeout
        self._tries = None if tries is None else int(tries)
        self._batch_size, self._request_bytes, self._concurrency = int(batch_size), int(request_bytes), int(concurrency)
        self._backoff = (float(backoff[0]), float(backoff[1]))
        self._transport_options: Dict[str, Any] = {
            "token": bearer_token(token),
            "ca_certs": None if ca_certs is None else os.fspath(ca_certs),
            "client_cert": None if client_cert is None else (os.fspath(client_cert[0]), os.fspath(client_cert[1])),
            "max_response": int(max_response),
        }
        self._addresses = addresses(servers)
        self._split_groups = bool(split_groups)
        self._lock = threading.Lock()
        self._notices = Notices()
        self._jobs: weakref.WeakSet[Job[Any]] = weakref.WeakSet()
        self._open()

    def _open(self) -> None:
        """Connections and threads, which belong to one process."""
        transports = [Transport(a, **self._transport_options) for a in self._addresses]
        self._servers = Servers(transports, Backoff(*self._backoff))
        self._sender = Sender(self._servers, self._tries)
        self._threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="densereward")
        self._close = weakref.finalize(self, _close, self._servers, self._threads)
        self._pid = os.getpid()

    def _check_open(self) -> None:
        """Raises `CanceledError` for a closed client; opens one that came by a fork."""
        if not self._close.alive:
            raise CanceledError("the client is closed")
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._open()

    def _settings(self) -> Dict[str, Any]:
        """What makes another client like this one."""
        return {
            "servers": self._addresses,
            "timeout": self.timeout,
            "tries": self._tries,
            "batch_size": self._batch_size,
            "request_bytes": self._request_bytes,
            "concurrency": self._concurrency,
            "backoff": self._backoff,
            "split_groups": self._split_groups,
            **self._transport_options,
        }

    def __getstate__(self) -> Dict[str, Any]:
        return self._settings()

    def __setstate__(self, settings: Dict[str, Any]) -> None:
        Client.__init__(self, **settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._addresses)!r})"

    @overload
    def score(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Literal["numpy"] = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> Result[NumpyArray]:
        ...

    @overload
    def score(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Literal["torch"],
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> Result[torch.Tensor]:
        ...

    def score(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        latents: Optional[Latents] = None,
        vae: Optional[str] = None,
        mode: Optional[str] = None,
        grid: Optional[Grid] = None,
        groups: Union[Sequence[Union[str, int]], Groups, None] = None,
        advantage: AdvantageLike = None,
        weights: WeightsLike = None,
        returns: Union[Return, Sequence[Return], None] = None,
        evaluator: Optional[str] = None,
        metadata: Optional[Sequence[Metadata]] = None,
        missing: Optional[Missing] = None,
        clamp: bool = False,
        output: Output = "numpy",
        timeout: Optional[float] = None,
    ) -> AnyResult:
        """Scores N images, or latents, with their N prompts.

        ``images``: one array or torch tensor, (N,3,h,w) or (N,h,w,3), of uint8 or
        of floats in [0,1], on any device; or a sequence of such arrays without N,
        PIL images, and PNG, JPEG, WebP or .npy files as bytes, paths, open files,
        ``data:`` URIs or base64. Raw uint8 is the fastest: `densereward.to_uint8`
        makes it of floats. ``clamp`` takes floats that are not in [0,1] for
        overshoot; else an image with more than 1% of them fails. ``latents``:
        (N,C,h,w), (N,C,1,h,w), or packed (N,L,D), floats as the trainer holds them,
        with ``vae`` naming the server's decoder.

        ``mode``: of the evaluator's, the first by default. ``grid``: that of the
        dense maps, a preset ("sd3", "flux", "flux2", "qwen-image", "qwen-image-2.1",
        "sana", "wan", "z-image") or a decoder of the server, (height, width) or the
        side of a square. ``groups``: N group names for advantages, the prompts by
        default, or `Groups` that span requests. ``advantage``: "flowgrpo",
        "denseflow", "denseflow_paper", "boxflow", "gdpo", or a map with "method" and
        its settings, as "densegrpo" needs them. ``weights``: {"scores": {...}, "heatmaps": {...}}. ``returns``:
        what to return beside the scores, of "dense" (default), "heatmaps", "text",
        "boxes", "images". ``evaluator``: the server's first by default.
        ``metadata``: N maps that the evaluator may read, or None for some.
        ``missing``: whether scores and maps that an answer lacks count as "zero",
        as they do by default with a warning, or are an "error" of their sample.
        ``output``: "numpy" or "torch" (on the CPU). ``timeout``: seconds, the
        client's own by default.

        A failed sample has its reason in the result's ``errors``. Raises a
        `ServerError` of the code's class where the whole request failed,
        `ConnectionFailedError`, `ConfigurationError`, `DeadlineExceededError` or
        `CanceledError` where no answer came, and TypeError or ValueError for arguments
        that cannot be sent.
        """
        options = request.options(
            vae, mode, grid, groups, advantage, weights, returns, evaluator, missing, clamp, metadata
        )
        return self._score(self._call(timeout), images, prompts, latents, options, output)

    def _score(self, call: Call, images: Any, prompts: Any, latents: Any, options: Options, output: str) -> AnyResult:
        """`score` with a call that another thread can cancel."""
        ready = self._prepare(images, prompts, latents, options, output)
        return self._finish(ready, self._send_all(call, ready.requests, self._sender.send, self._threads.submit))

    def _prepare(self, images: Any, prompts: Any, latents: Any, options: Options, output: str) -> "_Ready":
        """The requests of a batch. Raises what cannot be sent."""
        if output not in ("numpy", "torch"):
            raise ValueError(f'output {output!r}: want "numpy" or "torch"')
        samples = _samples(images, latents, options)
        listed = request.check_prompts(() if prompts is None else prompts, samples)
        request.check_counts(samples, listed, options)
        self._check_open()

        def key(place: int) -> Optional[str]:
            return request.key(listed, options, place, len(self._addresses) > 1 or self._split_groups)

        plan = request.plan(
            samples.sizes(), listed, options, self._batch_size, self._request_bytes, lambda place: self._home(key(place))
        )
        requests = [(places, Request(request.body(samples, listed, options, places), key(places[0]))) for places in plan]
        return _Ready(requests, samples.failed, options, output)

    def _home(self, key: Optional[str]) -> object:
        """Equal for keys whose groups may come in one request, wherever it goes."""
        return key if key is None or self._split_groups else order(key, [server.address for server in self._servers.all])

    def _finish(self, ready: "_Ready", parts: List[Part]) -> AnyResult:
        """The answer of a batch, of those of its requests."""
        result = merge(parts)
        for place, error in ready.failed.items():
            result.errors[place] = error  # the server only saw a stand-in
        self._notices.tell(result, ready.options)
        return result.torch() if ready.output == "torch" else result

    @overload
    def submit(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Literal["numpy"] = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> Job[NumpyArray]:
        ...

    @overload
    def submit(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Literal["torch"],
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> Job[torch.Tensor]:
        ...

    def submit(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Output = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> Job[Any]:
        """`score`, answered later: the `Job` that comes back at once is a future of the
        result, so that a trainer generates its next images meanwhile.

            job = client.submit(images, prompts)
            images = sample_next()
            rewards = job.result().rewards

        Takes what `score` takes. Arrays are copied before it returns and may be used
        again. Arguments that cannot be sent raise here, everything else `Job.result`.
        ``timeout`` is that of the whole, from now on. The server keeps the request and
        its answer (POST /v1/jobs), so that a connection that breaks costs nothing,
        and one that has started since gets the request again.
        """
        call = self._call(timeout)
        latents, wishes = request.named(options)
        ready = self._prepare(images, prompts, latents, wishes, output)
        for _, one in ready.requests:
            one.message.copied()
        job: Job[Any] = Job(call)
        self._jobs.add(job)
        job.run(lambda: self._finish(ready, self._send_all(call, ready.requests, self._sender.send_job, in_daemon)))
        return job

    def _send_all(
        self, call: Call, requests: Sequence[Tuple[List[int], Request]], send: _Send, start: Callable[..., Future[Result[NumpyArray]]]
    ) -> List[Part]:
        """Sends requests side by side. The first failure ends the others."""
        if len(requests) == 1:
            places, one = requests[0]
            return [(places, send(call, one))]
        sent: List[Future[Result[NumpyArray]]] = [start(send, call, one) for _, one in requests]
        try:
            wait(sent, return_when="FIRST_EXCEPTION")
            failures = [e for e in (f.exception() for f in sent if f.done()) if e is not None]
            if failures:
                raise failures[0]
            return [(places, f.result()) for (places, _), f in zip(requests, sent)]
        finally:
            if not all(f.done() for f in sent):
                call.cancel()
                for f in sent:
                    f.cancel()

    @overload
    def best_of(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        k: int = 1,
        *,
        groups: Optional[Sequence[Union[str, int]]] = None,
        output: Literal["numpy"] = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[BatchOptions],
    ) -> Tuple[List[List[int]], Result[NumpyArray]]:
        ...

    @overload
    def best_of(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        k: int = 1,
        *,
        groups: Optional[Sequence[Union[str, int]]] = None,
        output: Literal["torch"],
        timeout: Optional[float] = None,
        **options: Unpack[BatchOptions],
    ) -> Tuple[List[List[int]], Result[torch.Tensor]]:
        ...

    def best_of(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        k: int = 1,
        *,
        groups: Optional[Sequence[Union[str, int]]] = None,
        output: Output = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[BatchOptions],
    ) -> Tuple[List[List[int]], AnyResult]:
        """Scores as `score` does and lists the samples of each group from the best to
        the worst, at most ``k``, by their reward. Groups are the prompts by default
        and come in the order in which they first appear. Samples that failed are in
        none, and of equal rewards the earlier one is the better. The result is
        `score`'s.

            [[winner]], result = client.best_of(images, ["a red cube"] * len(images))
        """
        if k < 1:
            raise ValueError(f"k is {k}: want at least 1")
        listed = list(prompts or ())
        latents, wishes = request.named(options, groups)
        result = self._score(self._call(timeout), images, listed, latents, wishes, output)
        return best(result.rewards, listed if groups is None else groups, k), result

    def health(self, timeout: float = PROBE_SECONDS) -> Dict[str, bool]:
        """Whether each server says it is ready within ``timeout`` seconds, by
        address."""
        return self._health(Call(timeout))

    def _health(self, call: Call) -> Dict[str, bool]:
        return {address: why is None for address, why in self._look(call).items()}

    def _look(self, call: Call) -> Dict[str, Optional[DenseRewardError]]:
        """Why each server is not ready, None where it is."""
        self._check_open()
        servers = self._servers.all
        with ThreadPoolExecutor(len(servers)) as threads:
            found = list(threads.map(Server.look, servers, [call] * len(servers)))
        return {server.address: why for server, why in zip(servers, found)}

    def wait_ready(self, timeout: Optional[float] = None) -> None:
        """Waits until a server is ready; a model takes a while to load. Raises
        `DeadlineExceededError` after ``timeout`` seconds, the client's own by default,
        and at once what waiting does not better, such as a `ConfigurationError`."""
        self._wait_ready(self._call(timeout))

    def _wait_ready(self, call: Call) -> None:
        backoff = Backoff(*self._backoff)
        looks, told = 0, None
        while True:
            found = list(self._look(call.within(PROBE_SECONDS)).values())
            if None in found:
                return
            hopeless = [why for why in found if not isinstance(why, _PASSING)]
            if len(hopeless) == len(found) and hopeless[0] is not None:
                raise hopeless[0]
            looks += 1
            before, told = told, found[0]
            try:
                call.sleep(backoff.pause(looks))
            except DeadlineExceededError as e:
                if before is not None and isinstance(told and told.__cause__, DeadlineExceededError):
                    told = before  # a look that the end of the call cut off says less
                raise DeadlineExceededError(f"{e.message}; the last look met: {told}") from told

    def models(self, timeout: Optional[float] = None) -> Models:
        """What requests may name: {"protocol", "evaluators": [...], "decoders":
        [...]}, as the first server that answers has it."""
        return self._models(self._call(timeout))

    def _models(self, call: Call) -> Models:
        self._check_open()
        return self._sender.models(call)

    def _call(self, timeout: Optional[float]) -> Call:
        return Call(self.timeout if timeout is None else timeout)

    def close(self) -> None:
        """Closes idle connections and ends the threads; further calls and jobs without
        an answer raise `CanceledError`. A client that nothing refers to any more is
        closed by itself."""
        self._close()
        for job in list(self._jobs):
            job._call.cancel()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Ready(NamedTuple):
    """The requests of a batch with the places of their samples, what could not be read
    here, and what the caller asked for."""

    requests: List[Tuple[List[int], Request]]
    failed: Dict[int, ServerError]
    options: Options
    output: str


_Send = Callable[[Call, Request], Result[NumpyArray]]

#: What a look at a server may meet that passes.
_PASSING = (ConnectionFailedError, NotReadyError, DeadlineExceededError)


def _close(servers: Servers, threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False)
    servers.close()


def _samples(images: Any, latents: Any, options: Options) -> Samples:
    if (images is None) == (latents is None):
        raise ValueError("give images or latents, one of them")
    if (latents is None) != (options.vae is None):
        raise ValueError("vae: goes with latents, and latents need it")
    return from_images(images, bool(options.clamp)) if latents is None else from_latents(latents)
