"""Several servers as one."""

import os
import socket
import threading
import time

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from stub import ok, refusal, response, scripted
from test_retry import MSGPACK, closed_port, fast

import densereward

PROMPTS = ["a", "b"]
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


def test_idle_servers_take_turns(stub):
    servers = [stub(ok), stub(ok)]
    with fast([s.url for s in servers], batch_size=1, concurrency=1) as client:
        assert len(client.score(np.zeros((20, 8, 8, 3), np.uint8), ["a"] * 20)) == 20
    assert [len(s.requests) for s in servers] == [10, 10]


def test_a_busy_server_leaves_requests_to_the_other(stub):
    done = threading.Event()

    def hold(request):
        assert done.wait(20)
        return ok(request)

    held, free = stub(hold), stub(ok)
    with fast([held.url, free.url], batch_size=1, concurrency=2) as client:
        free.script = lambda request: (len(free.requests) == 19 and done.set()) or ok(request)
        assert len(client.score(np.zeros((20, 8, 8, 3), np.uint8), ["a"] * 20)) == 20
    assert (len(held.requests), len(free.requests)) == (1, 19)


def test_addresses_may_come_in_one_text(stub):
    servers = [stub(ok), stub(ok)]
    with fast(f"{servers[0].url}, {servers[1].url}/") as client:
        assert client.health() == {servers[0].url: True, servers[1].url: True}


@pytest.mark.parametrize("address", ["localhost:8080", "ftp://host", "http://", "http://host/?q=1", ""])
def test_an_address_that_is_none_is_an_error(address):
    with pytest.raises(ValueError):
        densereward.Client(address)


def test_https_is_checked(fake_server, tmp_path):
    server = fake_server("-tls", tmp_path / "certificate.pem")
    with fast(server.url) as wary, pytest.raises(densereward.UntrustedServerError, match="(?i)certificate"):
        wary.score(IMAGES, PROMPTS)
    elsewhere = server.url.replace("127.0.0.1", "localhost")  # which the certificate does not name
    with fast(elsewhere, ca_certs=str(tmp_path / "certificate.pem")) as wary, pytest.raises(densereward.UntrustedServerError):
        wary.score(IMAGES, PROMPTS)
    with fast(server.url, ca_certs=str(tmp_path / "certificate.pem"), batch_size=1) as client:
        assert client.score(IMAGES, PROMPTS).ok.all()
        assert client.health() == {server.url: True}


def test_a_path_before_the_protocols_own_is_kept(stub):
    server = stub(ok)
    with fast(server.url + "/rewards") as client:
        assert client.score(IMAGES, PROMPTS).ok.all()


def test_a_server_that_is_down_is_passed_over(stub):
    up = stub(ok)
    with fast([f"http://127.0.0.1:{closed_port()}", up.url]) as client:
        for _ in range(4):
            assert client.score(IMAGES, PROMPTS).ok.all()
    assert len(up.requests) == 4


def test_a_full_server_sends_its_requests_to_the_other(stub):
    full = stub(scripted((429, {**MSGPACK, "Retry-After": "60"}, refusal("overloaded"))))
    free = stub(ok)
    with fast([full.url, free.url]) as client:
        for _ in range(4):
            assert client.score(IMAGES, PROMPTS).ok.all()
    assert (len(full.requests), len(free.requests)) == (1, 4)


def test_a_server_that_failed_is_asked_whether_it_is_ready_before_it_gets_pictures(stub):
    server = stub(scripted((503, MSGPACK, refusal("not_ready")), ok))
    server.ready = False

    def readiness(probe, limit=3):
        server.ready = server.probes >= limit

    handler = server.http.RequestHandlerClass
    original = handler.do_GET
    handler.do_GET = lambda self: (readiness(self), original(self))
    with fast(server.url) as client:
        assert client.score(IMAGES, PROMPTS).ok.all()
    assert len(server.requests) == 2
    assert server.probes == 4


def test_servers_with_different_checkpoints_cannot_share_a_batch(stub):
    servers = [stub(lambda r, m=m: (200, MSGPACK, response(len(r[1]["prompts"]), model=m))) for m in ("one", "two")]
    with fast([s.url for s in servers], batch_size=1) as client, pytest.raises(densereward.ModelMismatchError, match="one.*two"):
        client.score(IMAGES, PROMPTS)


def test_health_tells_the_servers_apart(stub):
    up, loading = stub(ok), stub(ok)
    loading.ready = False
    down = f"http://127.0.0.1:{closed_port()}"
    with fast([up.url, loading.url, down]) as client:
        assert client.health() == {up.url: True, loading.url: False, down: False}


def test_wait_ready_waits_for_the_model(fake_server):
    server = fake_server("-loading", "200ms")
    with fast(server.url) as client:
        client.wait_ready()
        assert client.health() == {server.url: True}
    with fast(f"http://127.0.0.1:{closed_port()}") as client, pytest.raises(densereward.DeadlineExceededError):
        client.wait_ready(timeout=0.05)


def test_wait_ready_keeps_its_time_where_a_server_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as mute, fast(f"http://127.0.0.1:{mute.getsockname()[1]}") as client:
        began = time.monotonic()
        with pytest.raises(densereward.DeadlineExceededError):
            client.wait_ready(timeout=0.2)
        assert time.monotonic() - began < 4  # a look without that limit takes 5 s


def test_models_lists_what_a_request_may_name(fake_server):
    server = fake_server("-name", "doctor", "-fingerprint", "f00d")
    with fast(server.url) as client:
        models = client.models()
    assert [(e["name"], e["fingerprint"]) for e in models["evaluators"]] == [("doctor", "f00d")]
    assert models["protocol"] == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of newer Pythons, about this very danger
def test_a_child_after_a_fork_has_its_own_connections(shared_server):
    """A connection that two processes write to would mix their requests up."""
    given = random_images(4)
    want = rewards(given, ["a"] * 4)
    with densereward.Client(shared_server.url, batch_size=1) as client:
        client.score(given, ["a"] * 4)
        child = os.fork()
        if child == 0:
            good = all(np.allclose(client.score(given, ["a"] * 4).rewards, want) for _ in range(5))
            os._exit(0 if good else 1)
        for _ in range(5):
            np.testing.assert_allclose(client.score(given, ["a"] * 4).rewards, want)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
