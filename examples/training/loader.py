"""Batches that worker processes draw, as pinned tensors."""

import queue
import threading

import torch
import torch.multiprocessing as multiprocessing

import annotated
from samples import stream


class Loader:
    def __init__(self, text, seed, shape, data, workers, pin):
        self.shared = multiprocessing.Queue(2 * workers)
        self.ready = queue.Queue(3)
        self.pin = pin
        self.processes = [multiprocessing.Process(target=_produce, args=(self.shared, text, seed, w, shape, data), daemon=True)
                          for w in range(workers)]
        for p in self.processes:
            p.start()
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self):
        while True:
            tensors = {k: torch.from_numpy(v) for k, v in self.shared.get().items()}
            self.ready.put({k: t.pin_memory() if self.pin else t for k, t in tensors.items()})

    def next(self):
        try:
            return self.ready.get(timeout=120)
        except queue.Empty:
            alive = sum(p.is_alive() for p in self.processes)
            raise RuntimeError(f"no batch for 120 s; {alive} of {len(self.processes)} workers are alive") from None

    def close(self):
        for p in self.processes:
            p.kill()


def _produce(shared, text, seed, worker, shape, data):
    torch.set_num_threads(1)
    for batch in annotated.stream(text, seed, worker, shape, data) if data else stream(text, seed, worker, shape):
        shared.put(batch)
