"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Literal, Mapping, Optional, Sequence, Tuple, TypeVar, Union, overload

from . import _request as request
from ._best import best
from ._call import Call
from ._client import Client
from ._job import Job
from ._request import Groups
from ._response import AnyResult, Result
from ._types import BatchOptions, ClientCertificate, Images, Models, NumpyArray, Output, ScoreOptions

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

T = TypeVar("T")


class AsyncClient:
    """A `Client` whose calls are awaited.

    Takes what `Client` takes, and ``in_flight``, the most calls at a time; further
    ones queue. Calls run in threads: they spend their time in the network and
    copying tensors to the host, neither of which holds up the loop, and a body goes
    out from the caller's memory, for less of the processor's time than an event
    loop takes (PERFORMANCE.md has figures). They belong to no event loop, so that
    one client serves several. A cancelled task ends its requests at once, and the
    server drops their work. After a fork the child opens its own connections and
    threads. Copies, by `copy` and `pickle`, are as those of `Client`.
    """

    def __init__(
        self,
        servers: Union[str, Sequence[str]],
        *,
        in_flight: int = 32,
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
        self._client = Client(
            servers,
            token=token,
            timeout=timeout,
            tries=tries,
            batch_size=batch_size,
            request_bytes=request_bytes,
            concurrency=concurrency,
            backoff=backoff,
            ca_certs=ca_certs,
            client_cert=client_cert,
            max_response=max_response,
            split_groups=split_groups,
        )
        self._in_flight = int(in_flight)
        self._lock = threading.Lock()
        self._open()

    def __getstate__(self) -> Dict[str, Any]:
        return {"in_flight": self._in_flight, **self._client._settings()}

    def __setstate__(self, settings: Dict[str, Any]) -> None:
        AsyncClient.__init__(self, **settings)

    def __repr__(self) -> str:
        return repr(self._client).replace("Client", type(self).__name__, 1)

    def _open(self) -> None:
        """Threads, which belong to one process."""
        self._threads = ThreadPoolExecutor(self._in_flight, thread_name_prefix="densereward-async")
        self._pid = os.getpid()

    def _check_open(self) -> None:
        """As `Client` does it."""
        self._client._check_open()
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._open()

    @overload
    async def score(
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
    async def score(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Literal["torch"],
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> Result[torch.Tensor]:
        ...

    async def score(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Output = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> AnyResult:
        """`Client.score`, awaited."""
        latents, wishes = request.named(options)
        return await self._run(self._client._score, self._client._call(timeout), images, prompts, latents, wishes, output)

    @overload
    def submit(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Literal["numpy"] = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> asyncio.Future[Result[NumpyArray]]:
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
    ) -> asyncio.Future[Result[torch.Tensor]]:
        ...

    def submit(
        self,
        images: Optional[Images] = None,
        prompts: Optional[Sequence[str]] = None,
        *,
        output: Output = "numpy",
        timeout: Optional[float] = None,
        **options: Unpack[ScoreOptions],
    ) -> asyncio.Future[AnyResult]:
        """As `Client.submit`, in a running event loop, whose future it gives. Cancelling
        that ends the server's work too."""
        loop = asyncio.get_running_loop()
        job: Job[Any] = self._client.submit(images, prompts, output=output, timeout=timeout, **options)
        return asyncio.wrap_future(job, loop=loop)

    @overload
    async def best_of(
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
    async def best_of(
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

    async def best_of(
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
        """As `Client.best_of`."""
        if k < 1:
            raise ValueError(f"k is {k}: want at least 1")
        listed = list(prompts or ())
        latents, wishes = request.named(options, groups)
        result = await self._run(self._client._score, self._client._call(timeout), images, listed, latents, wishes, output)
        return best(result.rewards, listed if groups is None else groups, k), result

    async def health(self, timeout: float = 5.0) -> Dict[str, bool]:
        """`Client.health`, awaited."""
        return await self._run(self._client._health, Call(timeout))

    async def wait_ready(self, timeout: Optional[float] = None) -> None:
        """`Client.wait_ready`, awaited."""
        await self._run(self._client._wait_ready, self._client._call(timeout))

    async def models(self, timeout: Optional[float] = None) -> Models:
        """`Client.models`, awaited."""
        return await self._run(self._client._models, self._client._call(timeout))

    async def _run(self, function: Callable[..., T], call: Call, *args: Any) -> T:
        """What function(call, ...) gives, in a thread; a cancelled task gives the
        call up."""
        self._check_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(function, call, *args))
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def close(self) -> None:
        """Closes idle connections and ends the threads."""
        self._threads.shutdown(wait=False)
        self._client.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


# `Client.score` says by name what it takes, for help() and completion.
setattr(AsyncClient.score, "__signature__", inspect.signature(Client.score))
