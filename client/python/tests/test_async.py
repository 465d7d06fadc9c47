"""The client for asyncio."""

import asyncio
import threading

import numpy as np
import pytest
from judge import pictures, rewards
from stub import ok, refusal
from test_retry import MSGPACK

import densereward


def test_many_calls_are_awaited_together(shared_server):
    given = pictures(12)

    async def main():
        async with densereward.AsyncClient(shared_server.url, in_flight=4) as client:
            await client.wait_ready()
            assert await client.health() == {shared_server.url: True}
            assert (await client.models())["protocol"] == 1
            return await asyncio.gather(*(client.score(given[i : i + 1], [f"prompt {i}"]) for i in range(12)))

    results = asyncio.run(main())
    want = rewards(given, [f"prompt {i}" for i in range(12)])
    np.testing.assert_allclose([r.rewards[0] for r in results], want, rtol=1e-12)


def test_errors_are_those_of_the_client(shared_server):
    async def main():
        async with densereward.AsyncClient(shared_server.url) as client:
            with pytest.raises(densereward.UnknownEvaluator):
                await client.score(pictures(1), ["a"], evaluator="nobody")
            with pytest.raises(ValueError):
                await client.score(pictures(1), ["a", "b"])

    asyncio.run(main())


def test_a_cancelled_task_lets_go_of_its_connection(stub):
    """The server must see it, to drop the work; and the thread must be free."""
    arrived, gone = threading.Event(), threading.Event()

    def script(request):
        arrived.set()
        assert gone.wait(20)
        return ok(request)

    server = stub(script)

    async def main():
        async with densereward.AsyncClient(server.url, in_flight=1) as client:
            task = asyncio.create_task(client.score(pictures(1), ["a"]))
            await asyncio.get_running_loop().run_in_executor(None, arrived.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # The only thread is free again before the server has answered.
            server.script = ok
            result = await asyncio.wait_for(client.score(pictures(1), ["a"]), 20)
            assert not gone.is_set()
            return result

    try:
        assert asyncio.run(main()).ok.all()
    finally:
        gone.set()
    assert len(server.requests) == 2


def test_a_task_cancelled_between_tries_ends(stub):
    arrived = threading.Event()

    def script(request):
        arrived.set()
        return 429, {**MSGPACK, "Retry-After": "60"}, refusal("overloaded")

    server = stub(script)

    async def main():
        async with densereward.AsyncClient(server.url, in_flight=1) as client:
            task = asyncio.create_task(client.score(pictures(1), ["a"]))
            await asyncio.get_running_loop().run_in_executor(None, arrived.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.wait_for(client.health(), 20) == {server.url: True}

    asyncio.run(main())
    assert len(server.requests) == 1
