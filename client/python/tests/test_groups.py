"""Groups whose samples come from several processes, each with its own client."""

import threading

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from test_retry import fast

import densereward
from densereward import Groups

GIVEN = random_images(6)
PROMPTS = ["a cat", "a dog"] * 3


def ranks(servers, groups, advantage="flowgrpo"):
    """The results of one request for each pair of samples, sent at the same time."""
    results = [None] * 3

    def send(rank):
        span = slice(2 * rank, 2 * rank + 2)
        with fast(servers[rank % len(servers) :] + servers[: rank % len(servers)]) as client:
            results[rank] = client.score(GIVEN[span], PROMPTS[span], groups=groups(rank), advantage=advantage, returns=[])

    threads = [threading.Thread(target=send, args=(rank,)) for rank in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    return np.concatenate([r.advantages for r in results])


def test_statistics_span_the_requests_of_a_step(shared_server):
    got = ranks([shared_server.url], lambda rank: Groups("spans", 3, members=[rank, rank]))
    with fast(shared_server.url) as client:
        want = client.score(GIVEN, PROMPTS, advantage="flowgrpo", returns=[]).advantages
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_statistics_over_all_groups_of_a_step(shared_server):
    advantage = {"method": "flowgrpo", "global_std": True}
    got = ranks([shared_server.url], lambda rank: Groups("all", 3, members=[rank, rank], count=2), advantage)
    r = rewards(GIVEN, PROMPTS)
    mean = np.array([r[i % 2 :: 2].mean() for i in range(6)])
    np.testing.assert_allclose(got, (r - mean) / (r.std() + 1e-4), rtol=1e-9)


def test_groups_have_their_own_names(shared_server):
    got = ranks([shared_server.url], lambda rank: Groups("named", 6, names=["all"] * 2, members=[2 * rank, 2 * rank + 1]))
    r = rewards(GIVEN, PROMPTS)
    np.testing.assert_allclose(got, (r - r.mean()) / (r.std() + 1e-4), rtol=1e-9)


def test_all_clients_send_a_step_to_one_of_several_servers(fake_server):
    """Whatever the order in which each of them was given the addresses."""
    servers = [fake_server().url, fake_server().url]
    for step in range(4):
        got = ranks(servers, lambda rank, step=step: Groups(str(step), 3, members=[rank, rank]))
        assert np.isfinite(got).all()


def test_requests_that_disagree_are_told_so(shared_server):
    with fast(shared_server.url) as client, pytest.raises(densereward.ServerError) as caught:
        client.score(GIVEN, PROMPTS, groups=Groups("twice", 6, members=[0] * 6), advantage="flowgrpo")
    assert caught.value.code in ("group_conflict", "invalid_value")


def test_a_group_that_stays_incomplete_names_its_missing_members(shared_server):
    groups = Groups("short", 4, members=[2])
    with fast(shared_server.url) as client, pytest.raises(densereward.GroupIncompleteError, match='"a" misses members 0, 1, 3'):
        client.score(GIVEN[:1], ["a"], groups=groups, advantage="flowgrpo", timeout=0.3)
