"""Answers that are fetched later: `submit`."""

import asyncio
import concurrent.futures
import copy
import json
import os
import pickle
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import ROOT
from fake_evaluator import random_images, rewards
from stub import Stub, refusal, response
from test_retry import MSGPACK, closed_port, fast

import densereward

IMAGES = random_images(6)
PROMPTS = [f"prompt {i}" for i in range(6)]


@pytest.fixture
def slow(fake_server):
    """A server whose batches take a while."""
    return fake_server("-delay", "100ms")


@pytest.mark.parametrize("size", [32, 2])
def test_a_job_s_result_is_score_s(client, size):
    with densereward.Client(client._addresses, timeout=30, batch_size=size) as other:
        job = other.submit(IMAGES, PROMPTS, advantage="flowgrpo", groups=["a"] * 3 + ["b"] * 3, grid="sd3")
        result = job.result(20)
    want = client.score(IMAGES, PROMPTS, advantage="flowgrpo", groups=["a"] * 3 + ["b"] * 3, grid="sd3")
    assert job.done() and job.exception() is None and not job.cancel()
    np.testing.assert_array_equal(result.rewards, want.rewards)
    np.testing.assert_array_equal(result.advantages, want.advantages)
    np.testing.assert_array_equal(result.dense.reward, want.dense.reward)


def test_arrays_may_be_used_again_at_once(slow):
    images = np.stack([np.zeros((32, 32, 3), np.uint8)] * 2)
    want = rewards(list(images), ["a", "b"])
    with fast(slow.url) as client:
        job = client.submit(images, ["a", "b"])
        images[:] = 255
        np.testing.assert_allclose(job.result(20).rewards, want, rtol=1e-12)


def test_jobs_are_futures(slow):
    """`wait`, `as_completed` and callbacks take them, in any order."""
    with fast(slow.url) as client:
        jobs = [client.submit([image], [prompt]) for image, prompt in zip(IMAGES, PROMPTS)]
        assert not jobs[-1].done()
        called = threading.Event()
        jobs[0].add_done_callback(lambda job: called.set())
        with pytest.raises(concurrent.futures.TimeoutError):
            jobs[-1].result(0)
        assert {id(j) for j in concurrent.futures.as_completed(jobs, 20)} == {id(j) for j in jobs}
        assert called.wait(20)
        got = np.concatenate([job.result().rewards for job in jobs])
    np.testing.assert_allclose(got, rewards(IMAGES, PROMPTS), rtol=1e-12)


def test_torch_comes_back_where_it_is_asked_for(client, torch):
    assert isinstance(client.submit(IMAGES, PROMPTS, output="torch").result(20).rewards, torch.Tensor)


def test_what_cannot_be_sent_raises_at_once(client):
    for arguments, error in [((IMAGES, PROMPTS[:2]), ValueError), ((None, PROMPTS), ValueError), ((IMAGES, "text"), TypeError)]:
        with pytest.raises(error):
            client.submit(*arguments)
    with pytest.raises(TypeError, match="colour"):
        client.submit(IMAGES, PROMPTS, colour="red")


def test_a_refusal_is_the_result_s(client):
    job = client.submit(IMAGES, PROMPTS, evaluator="nobody")
    with pytest.raises(densereward.UnknownEvaluatorError):
        job.result(20)
    assert isinstance(job.exception(), densereward.UnknownEvaluatorError)
    failed = client.submit(IMAGES, ["fail"] + PROMPTS[1:]).result(20)
    assert np.isnan(failed.rewards[0]) and failed.errors[0].code == "evaluator_failed" and failed.ok[1:].all()


def test_the_time_runs_from_submit_on(fake_server):
    with fast(fake_server("-delay", "20s").url) as client:
        with pytest.raises(densereward.DeadlineExceededError):
            client.submit(IMAGES, PROMPTS, timeout=0.2).result(20)


class Jobs(Stub):
    """A server whose jobs give ``answer()`` once ``polls`` questions were asked;
    ``breaks`` of them meet a connection that breaks."""

    def __init__(self, polls=0, breaks=0, answer=lambda: (200, MSGPACK, response(6))):
        super().__init__(self._start)
        self.polls, self.breaks, self.answer_of = polls, breaks, answer
        self.started, self.asked, self.dropped = 0, [], []
        jobs, handler = self, self.http.RequestHandlerClass

        class Handler(handler):
            def do_GET(self):
                if self.path == "/readyz":
                    return super().do_GET()
                jobs.asked.append(self.path)
                if jobs.breaks > 0:
                    jobs.breaks -= 1
                    self.close_connection = True
                    return None
                if jobs.polls > 0:
                    jobs.polls -= 1
                    return self.answer(202, {"Content-Type": "application/json"}, b'{"status":"running"}')
                return self.answer(*jobs.answer_of())

            def do_DELETE(self):
                jobs.dropped.append(self.path)
                self.answer(204, {}, b"")

        self.http.RequestHandlerClass = Handler

    def _start(self, request):
        self.started += 1
        return 202, {"Content-Type": "application/json"}, json.dumps({"id": f"a{self.started}", "status": "running"}).encode()


@pytest.fixture
def jobs():
    made = []

    def make(*args, **kwargs):
        made.append(Jobs(*args, **kwargs))
        return made[-1]

    yield make
    for server in made:
        server.close()


def test_an_answer_is_asked_for_until_it_is_there(jobs):
    server = jobs(polls=5)
    with fast(server.url) as client:
        assert len(client.submit(IMAGES, PROMPTS).result(20)) == 6
    assert server.started == 1 and len(server.asked) == 6 and server.asked[0].startswith("/v1/jobs/a1?wait=")


def test_a_broken_connection_costs_no_second_scoring(jobs):
    server = jobs(breaks=2)
    with fast(server.url) as client:
        assert len(client.submit(IMAGES, PROMPTS).result(20)) == 6
    assert server.started == 1 and len(server.asked) == 3


def test_a_server_that_does_not_know_the_job_gets_the_request_again(jobs):
    answers = [(404, {"Content-Type": "application/json"}, b'{"code":"not_found","message":"no job"}'), (200, MSGPACK, response(6))]
    server = jobs(answer=lambda: answers.pop(0))
    with fast(server.url) as client:
        assert len(client.submit(IMAGES, PROMPTS).result(20)) == 6
    assert server.started == 2


def test_a_full_queue_met_by_the_job_is_waited_for(jobs):
    answers = [(429, MSGPACK, refusal("overloaded")), (200, MSGPACK, response(6))]
    server = jobs(answer=lambda: answers.pop(0))
    with fast(server.url) as client:
        assert len(client.submit(IMAGES, PROMPTS).result(20)) == 6
    assert server.started == 2


def test_a_server_that_is_gone_leaves_the_job_to_another(jobs, client):
    gone = jobs(breaks=1 << 30)
    with fast([gone.url, client._addresses[0]]) as both:
        for _ in range(2):  # one of them begins at the first
            np.testing.assert_allclose(both.submit(IMAGES, PROMPTS).result(20).rewards, rewards(IMAGES, PROMPTS), rtol=1e-12)
            gone.ready = False
    assert gone.started == 1


@pytest.mark.parametrize("text", [b"{}", b'{"id": 7}', b'{"id": "../score"}', b"[", b'{"id": ""}'])
def test_an_id_that_is_none_is_an_error(stub, text):
    server = stub(lambda request: (202, {"Content-Type": "application/json"}, text))
    with fast(server.url) as client, pytest.raises(densereward.InvalidResponseError, match="id"):
        client.submit(IMAGES, PROMPTS).result(20)


def test_a_cancelled_job_ends_on_the_server_too(jobs):
    server = jobs(polls=1 << 30)
    with fast(server.url) as client:
        job = client.submit(IMAGES, PROMPTS)
        while not server.asked:
            os.sched_yield()
        assert job.cancel() and job.cancelled() and job.done()
        with pytest.raises(concurrent.futures.CancelledError):
            job.result(20)
        while not server.dropped:
            os.sched_yield()
    assert server.dropped == ["/v1/jobs/a1"]


def test_closing_a_client_gives_its_jobs_up(jobs):
    server = jobs(polls=1 << 30)
    client = fast(server.url)
    job = client.submit(IMAGES, PROMPTS)
    while not server.asked:
        os.sched_yield()
    client.close()
    with pytest.raises(densereward.CanceledError):
        job.result(20)
    with pytest.raises(densereward.CanceledError):
        client.submit(IMAGES, PROMPTS)


def test_a_job_outlives_its_server(fake_server):
    """One that was killed in the middle and started again gets the request again."""
    flags = ["-listen", f"127.0.0.1:{closed_port()}"]
    first = fake_server(*flags, "-delay", "60s")
    with densereward.Client(first.url, timeout=60, backoff=(0.01, 0.1)) as client:
        job = client.submit(IMAGES, PROMPTS)
        assert not job.done()
        first.kill()
        fake_server(*flags)
        np.testing.assert_allclose(job.result(30).rewards, rewards(IMAGES, PROMPTS), rtol=1e-12)


def test_groups_meet_across_jobs(client):
    submitted = []
    for rank in range(2):
        groups = densereward.Groups(step="jobs", size=2, names=["g"], members=[rank])
        submitted.append(client.submit([IMAGES[rank]], [PROMPTS[rank]], groups=groups, advantage="flowgrpo"))
    assert sum(job.result(20).advantages[0] for job in submitted) == pytest.approx(0, abs=1e-9)


def test_a_job_refuses_to_be_pickled_and_copied(slow):
    with fast(slow.url) as client:
        job = client.submit(IMAGES, PROMPTS)
        for copied in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="belongs to the process"):
                copied(job)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(job.result(20))).rewards, job.result().rewards)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_says_whose_job_it_is(jobs):
    server = jobs(polls=1 << 30)
    with fast(server.url) as client:
        job = client.submit(IMAGES, PROMPTS)
        child = os.fork()
        if child == 0:
            try:
                job.result(20)
            except densereward.CanceledError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert job.cancel()


def test_python_ends_while_jobs_are_under_way(fake_server):
    server = fake_server("-delay", "60s")
    program = (
        "import numpy as np, densereward\n"
        f"client = densereward.Client({server.url!r}, batch_size=1)\n"
        "job = client.submit(np.zeros((3, 8, 8, 3), np.uint8), ['a'] * 3)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "client/python/src")}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, env=env)


def test_asyncio_awaits_and_cancels_jobs(client, jobs):
    waiting = jobs(polls=1 << 30)

    async def run():
        async with densereward.AsyncClient(client._addresses) as one, densereward.AsyncClient(waiting.url) as other:
            first, second = one.submit(IMAGES, PROMPTS), other.submit(IMAGES, PROMPTS)
            result = await asyncio.wait_for(first, 20)
            while not waiting.asked:
                await asyncio.sleep(0)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            while not waiting.dropped:
                await asyncio.sleep(0)
            return result

    np.testing.assert_allclose(asyncio.run(run()).rewards, rewards(IMAGES, PROMPTS), rtol=1e-12)


def test_a_connection_that_dies_without_a_word_is_found_out(monkeypatch, client):
    """Each question has an end of its own, well before the call's."""
    from densereward import _job_fetch

    monkeypatch.setattr(_job_fetch, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(_job_fetch, "PROBE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        server = client._servers.all[0]
        server = type(server)(type(server.transport)(f"http://127.0.0.1:{mute.getsockname()[1]}", token=None, ca_certs=None, client_cert=None, max_response=1 << 20))
        started = type("Started", (), {"body": b'{"id":"a1"}', "address": server.address})
        with pytest.raises(densereward.ConnectionFailedError, match="does not answer any more"):
            _job_fetch.fetch(_job_fetch.Call(60), server, started, {})
