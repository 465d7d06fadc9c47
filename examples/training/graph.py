"""A training step as one CUDA graph, and images drawn beside it on another stream.

A step of a small model is some thousand short kernels. Launched one by one from
Python they leave the device idle between them; a graph launches them at once.
"""

import collections
import contextlib

import torch

WARM = 3  # steps launched kernel by kernel before one is captured: they compile, and make the optimisers' states
AHEAD = 2  # steps that may be under way before the host waits


def own_stream(device):
    """A context in which work goes to a stream that can be captured; the default one cannot."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    torch.cuda.synchronize()
    return torch.cuda.stream(torch.cuda.Stream())


class Captured:
    """A function of a dict of tensors whose shapes never change. It must not wait for the device, nor read from it."""

    def __init__(self, function):
        self.function, self.count = function, 0
        self.graph = self.inputs = self.outputs = None

    def __call__(self, inputs):
        """The function's outputs, which the next call overwrites, and the event behind which the inputs are free."""
        self.count += 1
        if self.count <= WARM:
            return self.function(inputs), torch.cuda.current_stream().record_event()
        if self.graph is None:
            self.inputs = {k: v.clone() for k, v in inputs.items()}
            self.graph = torch.cuda.CUDAGraph()
            torch.cuda.synchronize()
            # thread_local: the thread that pins batches goes on allocating.
            with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
                self.outputs = self.function(self.inputs)
        else:
            for k, v in inputs.items():
                self.inputs[k].copy_(v)
        free = torch.cuda.current_stream().record_event()
        self.graph.replay()
        return self.outputs, free


class Plain:
    """The same for what is not captured."""

    def __init__(self, function):
        self.function = function

    def __call__(self, inputs):
        return self.function(inputs), torch.cuda.current_stream().record_event() if inputs["heat"].is_cuda else None


class Ahead:
    """Draws the next batch while the device works on the one before. draw() gives a dict of tensors."""

    def __init__(self, draw, device):
        self.draw = draw
        self.stream = torch.cuda.Stream(priority=-1) if device.type == "cuda" else None
        self.read = collections.deque()
        self.batch = None
        self.begin(None)

    def next(self):
        """The batch, for the current stream."""
        if self.stream:
            torch.cuda.current_stream().wait_stream(self.stream)
        return self.batch

    def begin(self, free):
        """Draws the next batch; free is the event behind which the one before is no longer read."""
        if free is not None:
            self.read.append(free)
            self.stream.wait_event(free)
            if len(self.read) > AHEAD:
                self.read.popleft().synchronize()
        with torch.cuda.stream(self.stream):  # None on a CPU: no stream
            self.batch = self.draw()
