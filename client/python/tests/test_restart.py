"""A server that is killed and started again in the middle of an epoch."""

import os
import threading
import time

import numpy as np
from judge import identity, pictures, rewards
from test_retry import closed_port

import densereward

BATCHES, SIZE, IN_FLIGHT = 24, 8, 4


def judged(journal):
    """The identities of the pictures that the servers have judged so far."""
    return journal.read_text().split() if journal.exists() else []


def test_an_epoch_survives_a_kill_without_a_loss_or_a_double(fake_server, tmp_path):
    """Each sample has its own answer, once, in its place; and what was answered
    before the kill is not asked for again."""
    journal = tmp_path / "journal"
    server = fake_server("-listen", f"127.0.0.1:{closed_port()}", "-journal", journal, "-delay", "5ms", "-batch", SIZE)
    given = pictures(BATCHES * SIZE)
    prompts = [f"prompt {i % 7}" for i in range(len(given))]
    answered = []  # (place of the batch, result), in the order of the answers
    half = threading.Event()

    def epoch(client, first):
        for b in range(first, BATCHES, IN_FLIGHT):
            span = slice(b * SIZE, (b + 1) * SIZE)
            answered.append((b, client.score(given[span], prompts[span])))
            if len(answered) >= BATCHES // 2:
                half.set()

    with densereward.Client(server.url, timeout=60, backoff=(0.01, 0.1)) as client:
        ranks = [threading.Thread(target=epoch, args=(client, i)) for i in range(IN_FLIGHT)]
        for rank in ranks:
            rank.start()
        assert half.wait(60)
        server.kill()
        server.start()
        for rank in ranks:
            rank.join(60)

    assert sorted(b for b, _ in answered) == list(range(BATCHES))
    merged = np.concatenate([r.rewards for _, r in sorted(answered, key=lambda a: a[0])])
    np.testing.assert_allclose(merged, rewards(given, prompts), rtol=1e-12)
    evaluated = judged(journal)
    assert set(evaluated) == {f"{identity(p):016x}" for p in given}
    # Only the batches under way at the kill may have been judged twice.
    assert len(evaluated) - len(given) <= IN_FLIGHT * SIZE


def test_a_split_batch_survives_a_kill(fake_server, tmp_path):
    """The pieces that were answered stay answered; the others are sent again."""
    journal = tmp_path / "journal"
    server = fake_server("-listen", f"127.0.0.1:{closed_port()}", "-journal", journal, "-delay", "5ms", "-batch", 2)
    given = pictures(64)
    prompts = [f"prompt {i % 7}" for i in range(len(given))]
    results = []
    with densereward.Client(server.url, timeout=60, backoff=(0.01, 0.1), batch_size=2, concurrency=4) as client:
        caller = threading.Thread(target=lambda: results.append(client.score(given, prompts)))
        caller.start()
        deadline = time.monotonic() + 60
        while len(judged(journal)) < 16 and time.monotonic() < deadline:
            os.sched_yield()
        server.kill()
        assert 16 <= len(judged(journal)) < 64
        server.start()
        caller.join(60)
    np.testing.assert_allclose(results[0].rewards, rewards(given, prompts), rtol=1e-12)
    assert len(judged(journal)) - 64 <= 4 * 2  # only the pieces under way were judged twice
