"""Groups that span ranks, over several servers in processes of their own."""

import threading
import time

import numpy as np
import pytest
from fake_evaluator import random_images, rewards
from stub import ok
from test_retry import closed_port, fast

import densereward

RANKS, SIZE, PROMPTS = 4, 8, [f"prompt {i}" for i in range(12)]
IMAGES = random_images(RANKS * len(PROMPTS) * 2)


class Replica:
    """A server at an address that outlives it."""

    def __init__(self, start, folder):
        self.journal = folder / f"journal-{closed_port()}"
        self._flags = ["-listen", f"127.0.0.1:{closed_port()}", "-journal", self.journal, "-batch", SIZE, "-delay", "2ms"]
        self._start = start
        self.rise()

    def rise(self):
        self.process = self._start(*self._flags)
        self.url = self.process.url

    def evaluated(self):
        return len(self.journal.read_text().split()) if self.journal.exists() else 0


@pytest.fixture
def replicas(fake_server, tmp_path):
    return [Replica(fake_server, tmp_path) for _ in range(3)]


def rank_samples(rank):
    """Two members of each group, as a sampler deals them."""
    places = [2 * RANKS * g + 2 * rank + k for g in range(len(PROMPTS)) for k in range(2)]
    return [IMAGES[p] for p in places], [PROMPTS[p // (2 * RANKS)] for p in places], [p % (2 * RANKS) for p in places]


def step_on(client, rank, step, submit=False):
    images, prompts, members = rank_samples(rank)
    groups = densereward.Groups(step=f"step {step}", size=2 * RANKS, members=members)
    if submit:
        return client.submit(images, prompts, groups=groups, advantage="flowgrpo", returns=[]).result()
    return client.score(images, prompts, groups=groups, advantage="flowgrpo", returns=[])


def advantages():
    """Those of all ranks' samples, with the statistics of whole groups."""
    all_of = {}
    for rank in range(RANKS):
        images, prompts, members = rank_samples(rank)
        for prompt, member, reward in zip(prompts, members, rewards(images, prompts)):
            all_of.setdefault(prompt, {})[member] = reward
    for prompt, group in all_of.items():
        values = np.array(list(group.values()))
        all_of[prompt] = {m: (r - values.mean()) / (values.std() + 1e-4) for m, r in group.items()}
    return [np.array([all_of[p][m] for p, m in zip(*rank_samples(rank)[1:])]) for rank in range(RANKS)]


def train(urls, steps, during=lambda: None, submit=False):
    """Ranks that take steps, each in its own time, while something happens. Each checks
    its advantages."""
    want, failures = advantages(), []
    barrier = threading.Barrier(RANKS)

    def rank(number):
        try:
            order = urls[number % len(urls) :] + urls[: number % len(urls)]  # addresses may come in any order
            with densereward.Client(order, timeout=60, backoff=(0.01, 0.1)) as client:
                for step in range(steps):
                    result = step_on(client, number, step, submit)
                    assert result.ok.all()
                    np.testing.assert_allclose(result.advantages, want[number], rtol=1e-6)
                    barrier.wait(60)
        except BaseException as e:
            failures.append(e)
            barrier.abort()

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(RANKS)]
    for thread in threads:
        thread.start()
    during()
    for thread in threads:
        thread.join(90)
    if failures:
        raise failures[0]


@pytest.mark.parametrize("submit", [False, True])
def test_the_groups_of_a_step_are_spread_evenly(replicas, submit):
    train([r.url for r in replicas], 4, submit=submit)
    evaluated = [r.evaluated() for r in replicas]
    assert sum(evaluated) == 4 * len(IMAGES)  # nothing twice
    assert min(evaluated) > len(IMAGES) / 2  # of 4 / 3 len(IMAGES) each


def test_a_lost_server_leaves_its_groups_to_the_others(replicas):
    def lose():
        while replicas[0].evaluated() < len(IMAGES) // 2:
            time.sleep(0)
        replicas[0].process.kill()

    train([r.url for r in replicas], 6, lose)
    assert replicas[1].evaluated() + replicas[2].evaluated() > 3 * len(IMAGES)


def test_a_rolling_restart_loses_no_group(replicas):
    def restart():
        for replica in replicas:
            before = replica.evaluated()
            while replica.evaluated() == before:
                time.sleep(0)
            replica.process.kill()
            replica.rise()

    train([r.url for r in replicas], 12, restart)


def test_a_server_that_others_found_back_is_looked_for(replicas, monkeypatch):
    """One rank moved away from a server that the others never saw lost."""
    monkeypatch.setattr("densereward._sender.AWAY_SECONDS", 0.3)
    urls = [r.url for r in replicas]
    with fast(urls) as away, fast(urls) as at_home:
        key = "moved\0a"
        home = next(s for s in away._servers.all if away._servers.is_home(s, key))
        away._servers.failed(home, away._servers.now(), densereward.ConnectionFailedError("as seen from here"), 0.05)
        groups = [densereward.Groups(step="moved", size=2, members=[m]) for m in range(2)]
        first = away.submit(IMAGES[:1], ["a"], groups=groups[0], advantage="flowgrpo")
        second = at_home.score(IMAGES[1:2], ["a"], groups=groups[1], advantage="flowgrpo")
        assert first.result(30).advantages[0] == pytest.approx(-second.advantages[0])


def test_a_load_balancer_is_told_what_belongs_together(stub):
    """One address: a key for the step, or with ``split_groups`` a request and a key a group."""
    keys = []
    for split in (False, True):
        server = stub(ok)
        with fast(server.url, split_groups=split) as client:
            client.score(IMAGES[:4], ["a", "b", "a", "c"], groups=densereward.Groups("12", 8, members=[0, 0, 1, 0]))
        keys.append(sorted((headers["X-Placement-Key"], len(body["prompts"])) for headers, body in server.requests))
    assert keys[0] == [("6ed026c1db7637cc", 4)]
    assert sorted(n for _, n in keys[1]) == [1, 1, 2] and len(dict(keys[1])) == 3
    server = stub(ok)
    with fast(server.url, split_groups=True) as client:  # statistics of the whole step meet at one place
        client.score(IMAGES[:2], ["a", "b"], groups=densereward.Groups("12", 1, members=[0, 0], count=2))
    assert [headers["X-Placement-Key"] for headers, _ in server.requests] == ["6ed026c1db7637cc"]
