"""Trying again: when, where and for how long."""

import logging
import socket
from datetime import datetime, timezone

import numpy as np
import pytest
from stub import ok, refusal, scripted

import densereward
from densereward._call import Call
from densereward._sender import _retry_after as retry_after
from densereward._placement import header, rank
from densereward._servers import Backoff, Servers
from densereward._transport import Answer

IMAGES = np.zeros((2, 8, 8, 3), np.uint8)
PROMPTS = ["a", "b"]
MSGPACK = {"Content-Type": "application/msgpack"}


def busy(seconds):
    return 429, {**MSGPACK, "Retry-After": seconds}, refusal("overloaded")


def fast(url, **options):
    return densereward.Client(url, **{"backoff": (0.001, 0.002), "timeout": 20, **options})


PASSING = {
    "a full queue": busy("0.01"),
    "too many groups": (429, MSGPACK, refusal("too_many_groups")),
    "a server that is not ready": (503, MSGPACK, refusal("not_ready")),
    "a proxy whose server restarts": (502, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>"),
    "a connection that breaks": None,
}


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_is_tried_again(kind, stub):
    server = stub(scripted(lambda request: PASSING[kind], lambda request: PASSING[kind], ok))
    with fast(server.url) as client:
        assert client.score(IMAGES, PROMPTS).ok.all()
    assert len(server.requests) == 3


def test_all_tries_of_a_request_carry_its_id(stub):
    server = stub(scripted(busy("0"), ok))
    with fast(server.url) as client:
        client.score(IMAGES, PROMPTS)
        client.score(IMAGES, PROMPTS)
    first, second, third = (headers["X-Request-ID"] for headers, _ in server.requests)
    assert first == second != third


LASTING = {
    densereward.InvalidValueError: 400,
    densereward.BodyTooLargeError: 413,
    densereward.InternalError: 500,
    densereward.EvaluatorFailedError: 500,
    densereward.GroupIncompleteError: 504,
    densereward.DeadlineExceededError: 504,
}


@pytest.mark.parametrize("error", LASTING, ids=lambda e: e.code)
def test_what_does_not_pass_is_not_tried_again(error, stub):
    server = stub(scripted((LASTING[error], MSGPACK, refusal(error.code))))
    with fast(server.url) as client, pytest.raises(error, match="as told"):
        client.score(IMAGES, PROMPTS)
    assert len(server.requests) == 1


def test_tries_are_bounded_where_asked(stub):
    server = stub(scripted(busy("0")))
    with fast(server.url, tries=3) as client, pytest.raises(densereward.OverloadedError):
        client.score(IMAGES, PROMPTS)
    assert len(server.requests) == 3


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_a_server_that_nobody_started_is_a_failed_connection():
    with fast(f"http://127.0.0.1:{closed_port()}", tries=2) as client, pytest.raises(densereward.ConnectionFailedError):
        client.score(IMAGES, PROMPTS)


def test_the_deadline_ends_the_tries_and_says_what_they_met(stub, caplog):
    server = stub(scripted(busy("60")))
    with fast(server.url) as client, pytest.raises(densereward.DeadlineExceededError, match="the last try met: overloaded"):
        client.score(IMAGES, PROMPTS, timeout=0.05)
    assert len(server.requests) == 1
    assert [r.levelno for r in caplog.records if r.name == "densereward"] == [logging.WARNING]


def test_a_hanging_server_meets_the_deadline(stub):
    import threading

    let_go = threading.Event()
    server = stub(lambda request: let_go.wait(20) and None)
    try:
        with fast(server.url) as client, pytest.raises(densereward.DeadlineExceededError):
            client.score(IMAGES, PROMPTS, timeout=0.05)
    finally:
        let_go.set()


def test_the_server_is_told_how_long_the_client_waits(stub):
    server = stub(ok)
    with fast(server.url) as client:
        client.score(IMAGES, PROMPTS, timeout=12.5)
        client.timeout = None
        client.score(IMAGES, PROMPTS)
    assert 12 < float(server.requests[0][0]["X-Request-Timeout"]) <= 12.5
    assert "X-Request-Timeout" not in server.requests[1][0]


def test_a_call_that_is_over_says_so():
    with pytest.raises(densereward.DeadlineExceededError):
        Call(0).left()
    call = Call(None)
    assert call.left() is None
    call.cancel()
    with pytest.raises(densereward.CanceledError):
        call.sleep(60)


RETRY_AFTER = {
    "seconds": ("1.5", 1.5),
    "a date": ("Mon, 01 Jan 2080 00:00:00 GMT", ...),
    "a date without a zone": ("Mon, 01 Jan 2080 00:00:00", ...),
    "a date whose zone is unknown": ("Mon, 01 Jan 2080 00:00:00 -0000", ...),
    "a date of the past": ("Thu, 01 Jan 1970 00:00:00", 0.0),
    "a date beyond any pause": ("Fri, 01 Jan 9999 00:00:00 GMT", 0.0),
    "a date that is none": ("Fri, 01 Jan 99999999999999999999 00:00:00 GMT", 0.0),
    "nothing": ("", 0.0),
    "words": ("soon", 0.0),
    "less than nothing": ("-1", 0.0),
    "infinity": ("inf", 0.0),
    "not a number": ("nan", 0.0),
    "2^31 seconds": ("2147483648", 0.0),
    "less than 2^31 seconds": ("2147483647", 2147483647.0),
}


@pytest.mark.parametrize("kind", RETRY_AFTER)
def test_retry_after_is_seconds_or_a_date_or_nothing(kind):
    text, want = RETRY_AFTER[kind]
    got = retry_after(Answer(429, {"retry-after": text}, b""))
    if want is ...:
        want = (datetime(2080, 1, 1, tzinfo=timezone.utc) - datetime.now(timezone.utc)).total_seconds()
    assert got == pytest.approx(want, abs=60)  # seconds between the two looks at the clock


def test_a_closed_client_says_so_at_once(stub):
    server = stub(ok)
    client = fast(server.url, batch_size=1)
    client.close()
    calls = [client.health, client.wait_ready, client.models]
    for call in [*calls, lambda: client.score(IMAGES, PROMPTS), lambda: client.score(IMAGES[:1], ["a"])]:
        with pytest.raises(densereward.CanceledError, match="the client is closed"):
            call()
    assert not server.requests


def test_a_client_that_is_closed_between_tries_ends_the_call(stub):
    def close(request):
        client.close()
        return busy("0")

    server = stub(close)
    client = fast(server.url)
    with pytest.raises(densereward.CanceledError, match="the client is closed"):
        client.score(IMAGES, PROMPTS)
    assert len(server.requests) == 1


class FakeTransport:
    def __init__(self, address):
        self.address = address


class TestLeavingServersAlone:
    """The choice among servers, with a clock that the test moves."""

    @pytest.fixture
    def now(self):
        return [100.0]

    @pytest.fixture
    def servers(self, now):
        transports = [FakeTransport(a) for a in "abc"]
        return Servers(transports, Backoff(1.0, 8.0, rand=lambda: 1.0), now=lambda: now[0])

    def pick(self, servers):
        server, wait = servers.choose()
        if wait == 0:
            servers.give_back(server)
        return server.address, wait

    def test_equal_servers_take_turns(self, servers):
        assert sorted(self.pick(servers)[0] for _ in range(6)) == list("aabbcc")

    def test_the_one_with_the_least_to_do_is_next(self, servers):
        taken = [servers.choose()[0].address for _ in range(3)]
        assert sorted(taken) == list("abc")

    def test_a_failed_server_is_left_alone_and_comes_back(self, servers, now):
        a = servers.all[0]
        servers.failed(a, now[0], densereward.ConnectionFailedError("a"), None)
        assert {self.pick(servers)[0] for _ in range(6)} == {"b", "c"}
        now[0] += 1.0
        assert {self.pick(servers)[0] for _ in range(6)} == {"a", "b", "c"}

    def test_pauses_double_up_to_the_longest_and_end_with_an_answer(self, servers, now):
        a, pauses = servers.all[0], []
        for _ in range(5):
            servers.failed(a, now[0], densereward.ConnectionFailedError("a"), None)
            pauses.append(a.resumes_at - now[0])
            now[0] = a.resumes_at
        assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
        servers.answered(a)
        servers.failed(a, now[0], densereward.ConnectionFailedError("a"), None)
        assert a.resumes_at - now[0] == 1.0

    def test_requests_that_fail_together_count_once(self, servers, now):
        a, began = servers.all[0], now[0]
        now[0] += 5
        for _ in range(8):
            servers.failed(a, began, densereward.ConnectionFailedError("a"), None)
        assert a.failures == 1

    def test_retry_after_makes_a_pause_longer(self, servers, now):
        servers.failed(servers.all[0], now[0], densereward.OverloadedError("full"), 30.0)
        assert servers.all[0].resumes_at - now[0] == 30.0

    def test_when_all_are_left_alone_the_shortest_wait_is_told(self, servers, now):
        for server, seconds in zip(servers.all, (30.0, 10.0, 20.0)):
            servers.failed(server, now[0], densereward.OverloadedError("full"), seconds)
        assert self.pick(servers) == ("b", 10.0)

    def test_requests_of_a_step_meet_at_one_server(self, servers):
        for step in map(str, range(20)):
            met = {servers.choose(step)[0].address for _ in range(5)}
            assert met == {min("abc", key=lambda a: rank(step, a))}
        assert len({servers.choose(str(s))[0].address for s in range(20)}) == 3

    def test_a_step_waits_for_its_server_while_it_is_full_and_leaves_it_when_it_is_down(self, servers, now):
        first, second, _ = sorted(servers.all, key=lambda s: rank("7", s.address))
        servers.failed(first, now[0], densereward.OverloadedError("full"), 30.0)
        assert servers.choose("7") == (first, 30.0)
        servers.failed(first, now[0], densereward.ConnectionFailedError("gone"), None)
        assert servers.choose("7") == (second, 0.0)

    @pytest.mark.parametrize("status", [502, 503])
    def test_a_step_leaves_a_server_of_which_a_proxy_says_that_it_is_down(self, status, servers, now):
        first, second, _ = sorted(servers.all, key=lambda s: rank("7", s.address))
        page = densereward.ServerError("<h1>Bad Gateway</h1>", code=f"http_{status}", status=status)
        servers.failed(first, now[0], page, 0.0)
        assert servers.choose("7") == (second, 0.0)

    def test_the_order_of_servers_is_the_one_that_all_clients_share(self):
        """As the Go client has it, whose tests hold the same key."""
        assert header("12") == "6ed026c1db7637cc"
        assert rank("", "") == 0xB9034AD37056F5FB  # computed by Go, as the next
        assert rank("12", "http://a:8080") == 0xF563FE4E828F3FC2

    @pytest.mark.parametrize("pattern", ["http://host:808{}", "http://replica-{}.rewards:8080", "http://10.0.0.{}:80"])
    def test_servers_that_differ_in_a_digit_have_even_shares(self, pattern):
        servers = [pattern.format(i) for i in range(1, 5)]
        homes = [min(servers, key=lambda s: rank(f"step {i // 32}\0prompt {i % 32}", s)) for i in range(4000)]
        assert all(850 < homes.count(s) < 1150 for s in servers)

    def test_half_of_a_pause_is_random(self):
        assert [Backoff(1.0, 8.0, rand=lambda r=r: r).pause(1) for r in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]
        assert Backoff(1.0, 8.0, rand=lambda: 1.0).pause(10_000) == 8.0
