"""The client for asyncio."""

import asyncio
import inspect
import os
import socket
import threading

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from stub import ok, refusal
from test_retry import MSGPACK, closed_port

import densereward


async def cancelled(task, arrived):
    """Cancels a task once the thread that does its work has set arrived."""
    task = asyncio.create_task(task)
    await asyncio.get_running_loop().run_in_executor(None, arrived.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_score_has_the_signature_of_the_clients():
    assert inspect.signature(densereward.AsyncClient.score) == inspect.signature(densereward.Client.score)


def test_many_calls_are_awaited_together(shared_server):
    given = random_images(12)

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
            with pytest.raises(densereward.UnknownEvaluatorError):
                await client.score(random_images(1), ["a"], evaluator="nobody")
            with pytest.raises(ValueError):
                await client.score(random_images(1), ["a", "b"])

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
            await cancelled(client.score(random_images(1), ["a"]), arrived)
            # The only thread is free again before the server has answered.
            server.script = ok
            result = await asyncio.wait_for(client.score(random_images(1), ["a"]), 20)
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
            await cancelled(client.score(random_images(1), ["a"]), arrived)
            assert await asyncio.wait_for(client.health(), 20) == {server.url: True}

    asyncio.run(main())
    assert len(server.requests) == 1


CALLS = {
    "health": lambda client: client.health(60),
    "wait_ready": lambda client: client.wait_ready(60),
    "models": lambda client: client.models(60),
}


@pytest.mark.parametrize("method", CALLS)
def test_every_cancelled_method_lets_go_of_its_connection(method):
    """Of a server that takes requests and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        mute.settimeout(20)
        accepted = []
        arrived = threading.Event()

        def accept():
            connection, _ = mute.accept()
            accepted.append(connection)
            connection.settimeout(20)
            connection.recv(1)
            arrived.set()

        acceptor = threading.Thread(target=accept)
        acceptor.start()

        async def main():
            async with densereward.AsyncClient(f"http://127.0.0.1:{mute.getsockname()[1]}", in_flight=1) as client:
                await cancelled(CALLS[method](client), arrived)

        asyncio.run(main())
        acceptor.join(20)
        with accepted[0] as connection:
            connection.settimeout(3)  # of less than a probe takes to give up by itself
            while connection.recv(4096):  # what is left of the request, then the end
                pass


def test_a_cancelled_wait_between_looks_frees_its_thread(stub):
    server = stub(ok)
    server.ready = False
    looked = threading.Event()
    handler = server.http.RequestHandlerClass
    original = handler.do_GET
    handler.do_GET = lambda self: (original(self), looked.set())

    async def main():
        async with densereward.AsyncClient(server.url, in_flight=1, backoff=(60, 60)) as client:
            await cancelled(client.wait_ready(), looked)
            return await asyncio.wait_for(client.score(random_images(1), ["a"]), 20)

    assert asyncio.run(main()).ok.all()


def test_a_closed_client_says_so():
    async def main():
        client = densereward.AsyncClient(f"http://127.0.0.1:{closed_port()}")
        await client.close()
        with pytest.raises(densereward.CanceledError, match="the client is closed"):
            await client.score(random_images(1), ["a"])

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of newer Pythons, about this very danger
def test_a_child_after_a_fork_has_its_own_threads(shared_server):
    given = random_images(1)
    client = densereward.AsyncClient(shared_server.url, in_flight=1, timeout=20)

    async def reward():
        return (await asyncio.wait_for(client.score(given, ["a"]), 20)).rewards

    want = rewards(given, ["a"])
    np.testing.assert_allclose(asyncio.run(reward()), want)
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = np.allclose(asyncio.run(reward()), want)
        finally:
            os._exit(0 if good else 1)
    np.testing.assert_allclose(asyncio.run(reward()), want)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    asyncio.run(client.close())
