"""A server that is killed and started again in the middle of an epoch.

The first server hangs after half of the images, so that the kill always comes in
the middle; the second has no such flaw.
"""

import os
import threading
import time

import numpy as np
import pytest
from fake_evaluator import identity, random_images, rewards
from test_retry import closed_port

import densereward

BATCHES, SIZE, IN_FLIGHT = 24, 8, 4
GIVEN = random_images(BATCHES * SIZE)
PROMPTS = [f"prompt {i % 7}" for i in range(len(GIVEN))]


class Mortal:
    """A server that hangs after half of the images, until it was replaced."""

    def __init__(self, start, folder):
        self._journal = folder / "journal"
        self._flags = ["-listen", f"127.0.0.1:{closed_port()}", "-journal", self._journal, "-batch", SIZE]
        self._start = start
        self._process = start(*self._flags, "-hang-after", len(GIVEN) // 2)
        self.url = self._process.url

    def evaluated(self):
        """The identities of the images that were evaluated so far, by either."""
        return self._journal.read_text().split() if self._journal.exists() else []

    def die_and_rise(self):
        deadline = time.monotonic() + 60
        while len(self.evaluated()) < len(GIVEN) // 2:
            assert time.monotonic() < deadline
            os.sched_yield()
        self._process.kill()
        assert self._start(*self._flags).url == self.url


@pytest.fixture
def mortal(fake_server, tmp_path):
    return Mortal(fake_server, tmp_path)


def test_an_epoch_survives_a_kill_without_a_loss_or_a_double(mortal):
    """Each sample has its own answer, once, in its place; and what was answered
    before the kill is not asked for again."""
    answered = []  # (number of the batch, result), in the order of the answers

    def epoch(client, first):
        for b in range(first, BATCHES, IN_FLIGHT):
            span = slice(b * SIZE, (b + 1) * SIZE)
            answered.append((b, client.score(GIVEN[span], PROMPTS[span])))

    with densereward.Client(mortal.url, timeout=60, backoff=(0.01, 0.1)) as client:
        ranks = [threading.Thread(target=epoch, args=(client, i)) for i in range(IN_FLIGHT)]
        for rank in ranks:
            rank.start()
        mortal.die_and_rise()
        for rank in ranks:
            rank.join(60)

    assert sorted(b for b, _ in answered) == list(range(BATCHES))
    merged = np.concatenate([r.rewards for _, r in sorted(answered, key=lambda a: a[0])])
    np.testing.assert_allclose(merged, rewards(GIVEN, PROMPTS), rtol=1e-12)
    evaluated = mortal.evaluated()
    assert set(evaluated) == {f"{identity(p):016x}" for p in GIVEN}
    # Only the batches under way at the kill may have been evaluated twice.
    assert len(evaluated) - len(GIVEN) <= IN_FLIGHT * SIZE


def test_a_batch_in_pieces_survives_a_kill(mortal):
    """The pieces that were answered stay answered; the others are sent again."""
    results = []
    with densereward.Client(mortal.url, timeout=60, backoff=(0.01, 0.1), batch_size=4, concurrency=4) as client:
        caller = threading.Thread(target=lambda: results.append(client.score(GIVEN, PROMPTS)))
        caller.start()
        mortal.die_and_rise()
        caller.join(60)
    np.testing.assert_allclose(results[0].rewards, rewards(GIVEN, PROMPTS), rtol=1e-12)
    assert len(mortal.evaluated()) - len(GIVEN) <= 4 * 4
