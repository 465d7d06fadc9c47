"""The client: images and prompts in, scores and dense rewards out."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _request as request
from ._call import Call
from ._errors import CanceledError
from ._merge import Part, merge
from ._request import Grid, Groups, Options
from ._response import Result
from ._samples import Samples, from_images, from_latents
from ._sender import Sender
from ._servers import PROBE_SECONDS, Backoff, Server, Servers, addresses
from ._transport import Transport


class Client:
    """Asks DenseReward servers for scores.

    ``servers`` is an address such as ``"http://localhost:8080"``, or several:
    requests go to the one with the least to do, and one that fails is left alone
    until it says that it is ready again. A client keeps its connections alive and
    is safe for use by many threads; after a fork the child opens its own.

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
        ca_certs: Optional[str] = None,
        client_cert: Optional[Tuple[str, str]] = None,
        max_response: int = 1 << 30,
    ) -> None:
        if batch_size < 1 or request_bytes < 1 or concurrency < 1 or (tries is not None and tries < 1):
            raise ValueError("batch_size, request_bytes, concurrency and tries: want at least 1")
        self.timeout = timeout
        self._tries = tries
        self._batch_size, self._request_bytes, self._concurrency = batch_size, request_bytes, concurrency
        self._backoff = backoff
        listed = addresses(servers)
        self._transport_options: Dict[str, Any] = {
            "token": token,
            "ca_certs": ca_certs,
            "client_cert": client_cert,
            "max_response": max_response,
        }
        self._addresses = listed
        self._lock = threading.Lock()
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

    def score(
        self,
        images: Any = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        latents: Any = None,
        vae: Optional[str] = None,
        mode: Optional[str] = None,
        grid: Optional[Grid] = None,
        groups: Union[Sequence[str], Groups, None] = None,
        advantage: Union[str, Mapping[str, Any], None] = None,
        weights: Optional[Mapping[str, Mapping[str, float]]] = None,
        returns: Optional[Sequence[str]] = None,
        evaluator: Optional[str] = None,
        output: str = "numpy",
        timeout: Optional[float] = None,
    ) -> Result:
        """Scores N images, or latents, with their N prompts.

        ``images``: one array or torch tensor, (N,3,h,w) or (N,h,w,3), of uint8 or
        of floats in [0,1], on any device; or a sequence of such arrays without N,
        PIL images, and bytes of PNG, JPEG or WebP files. Raw uint8 is the fastest:
        `densereward.to_uint8` makes it of floats. ``latents``: (N,C,h,w), or
        packed (N,L,D), floats as the trainer holds them, with ``vae`` naming the
        server's decoder.

        ``mode``: "answer" (default) or "think". ``grid``: that of the dense maps, a
        preset ("sd3", "flux", ...) or (height, width). ``groups``: N group names
        for advantages, the prompts by default, or `Groups` that span requests.
        ``advantage``: "flowgrpo", "denseflow", "denseflow_paper", "boxflow", or a
        map with "method" and its settings. ``weights``: {"scores": {...},
        "heatmaps": {...}}. ``returns``: what to return beside the scores, of
        "dense" (default), "heatmaps", "text", "boxes", "images". ``evaluator``:
        the server's first by default. ``output``: "numpy" or "torch" (on the CPU).
        ``timeout``: seconds, the client's own by default.

        A failed sample has its reason in the result's ``errors``. Raises a
        `ServerError` of the code's class where the whole request failed,
        `ConnectionFailedError`, `UntrustedServerError`, `DeadlineExceededError` or `CanceledError` where no
        answer came, and TypeError or ValueError for arguments that cannot be sent.
        """
        options = Options(vae, mode, grid, groups, advantage, weights, returns, evaluator)
        return self._score(self._call(timeout), images, prompts, latents, options, output)

    def _score(self, call: Call, images: Any, prompts: Any, latents: Any, options: Options, output: str) -> Result:
        """`score` with a call that another thread can cancel."""
        if output not in ("numpy", "torch"):
            raise ValueError(f'output {output!r}: want "numpy" or "torch"')
        listed = request.check_prompts(() if prompts is None else prompts)
        samples = _samples(images, latents, options.vae)
        request.check_counts(samples, listed, options)
        self._check_open()
        plan = request.plan(samples.sizes(), listed, options, self._batch_size, self._request_bytes)
        result = merge(self._send_all(call, [(p, request.body(samples, listed, options, p)) for p in plan]))
        for place, error in samples.failed.items():
            result.errors[place] = error  # the server only saw an empty file
        return result.torch() if output == "torch" else result

    def _send_all(self, call: Call, bodies: Sequence[Tuple[List[int], Dict[str, Any]]]) -> List[Part]:
        """Sends requests side by side. The first failure ends the others."""
        if len(bodies) == 1:
            places, body = bodies[0]
            return [(places, self._sender.send(call, body))]
        sent: List[Future[Result]] = [self._threads.submit(self._sender.send, call, body) for _, body in bodies]
        try:
            wait(sent, return_when="FIRST_EXCEPTION")
            failures = [e for e in (f.exception() for f in sent if f.done()) if e is not None]
            if failures:
                raise failures[0]
            return [(places, f.result()) for (places, _), f in zip(bodies, sent)]
        finally:
            if not all(f.done() for f in sent):
                call.cancel()
                for f in sent:
                    f.cancel()

    def health(self, timeout: float = 5.0) -> Dict[str, bool]:
        """Whether each server says it is ready within ``timeout`` seconds, by
        address."""
        return self._health(Call(timeout))

    def _health(self, call: Call) -> Dict[str, bool]:
        self._check_open()

        def ready(server: Server) -> bool:
            return server.ready(call)

        servers = self._servers.all
        with ThreadPoolExecutor(len(servers)) as threads:
            return {server.address: answer for server, answer in zip(servers, threads.map(ready, servers))}

    def wait_ready(self, timeout: Optional[float] = None) -> None:
        """Waits until a server is ready; a model takes a while to load. Raises
        `DeadlineExceededError` after ``timeout`` seconds, the client's own by default."""
        self._wait_ready(self._call(timeout))

    def _wait_ready(self, call: Call) -> None:
        backoff = Backoff(*self._backoff)
        looks = 0
        while not any(self._health(call.within(PROBE_SECONDS)).values()):
            looks += 1
            call.sleep(backoff.pause(looks))

    def models(self, timeout: Optional[float] = None) -> Dict[str, Any]:
        """What requests may name: {"protocol", "evaluators": [...], "decoders":
        [...]}, as the first server that answers has it."""
        return self._models(self._call(timeout))

    def _models(self, call: Call) -> Dict[str, Any]:
        self._check_open()
        return self._sender.models(call)

    def _call(self, timeout: Optional[float]) -> Call:
        return Call(self.timeout if timeout is None else timeout)

    def close(self) -> None:
        """Closes idle connections and ends the threads; further calls raise
        `CanceledError`. A client that nothing refers to any more is closed by itself."""
        self._close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _close(servers: Servers, threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False)
    servers.close()


def _samples(images: Any, latents: Any, vae: Optional[str]) -> Samples:
    if (images is None) == (latents is None):
        raise ValueError("give images or latents, one of them")
    if (latents is None) != (vae is None):
        raise ValueError("vae: goes with latents, and latents need it")
    return from_images(images) if latents is None else from_latents(latents)
