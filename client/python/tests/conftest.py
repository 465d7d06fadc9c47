import pathlib
import subprocess
import sys

import pytest

import standin
from fake_evaluator import random_images
from stub import Stub

import densereward

ROOT = pathlib.Path(__file__).resolve().parents[3]


def build(tmp_path_factory, package):
    """A program of this repository as an executable file."""
    binary = tmp_path_factory.mktemp("bin") / pathlib.Path(package).name
    subprocess.run(["go", "build", "-o", str(binary), package], cwd=ROOT, check=True)
    return str(binary)


class Process:
    """A server in its own process. The first line it prints is its address."""

    def __init__(self, command, env=None):
        self.command, self.env = command, env
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True, env=self.env)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("http"), f"{self.command[0]} did not start"

    def kill(self):
        """Ends it at once, as a crash or the kernel would."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()  # may come twice


@pytest.fixture(scope="session")
def fake_binary(tmp_path_factory):
    return build(tmp_path_factory, "./client/python/tests/testdata/fakeserver")


@pytest.fixture
def fake_server(fake_binary):
    """Starts real servers with the fake evaluator: fake_server("-delay", "10ms")."""
    started = []

    def start(*flags):
        started.append(Process([fake_binary, *map(str, flags)]))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def shared_server(fake_binary):
    """One real server with the fake evaluator for all tests that leave it be."""
    process = Process([fake_binary])
    yield process
    process.kill()


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The real program."""
    return build(tmp_path_factory, "./cmd/densereward")


@pytest.fixture(scope="session")
def nano_server(program):
    """The real program on the miniature checkpoint, without an answer prefix, as the
    reference's cases were made."""
    with densereward.LocalServer("--model", ROOT / "engine/imagedoctor/nano", "--prefix", "", program=program) as server:
        yield server


@pytest.fixture(scope="session")
def demo_server(program):
    """The real program as it comes, on the checkpoint that is built into it."""
    with densereward.LocalServer(program=program) as server:
        yield server


@pytest.fixture
def client(shared_server):
    with densereward.Client(shared_server.url, timeout=30) as c:
        yield c


@pytest.fixture
def stub():
    """Starts servers that say what they are told: stub(script)."""
    started = []

    def start(script):
        started.append(Stub(script))
        return started[-1]

    yield start
    for s in started:
        s.close()


@pytest.fixture(scope="session")
def certificate():
    """A PEM file of a certificate for 127.0.0.1 and its key, that only tests trust."""
    return str(pathlib.Path(__file__).parent / "testdata/certificate.pem")


@pytest.fixture
def images():
    return random_images(3)


def torch_is_installed():
    path = sys.modules.pop("torch", None)
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    finally:
        if path is not None:
            sys.modules["torch"] = path
    return True


@pytest.fixture(params=["stand-in", "real"] if torch_is_installed() else ["stand-in"])
def torch(request, monkeypatch):
    """torch itself where it is installed, and a module with its interface."""
    if request.param == "real":
        import torch

        return torch
    monkeypatch.setitem(sys.modules, "torch", standin.torch)
    return standin.torch


@pytest.fixture
def no_torch(monkeypatch):
    """A Python without torch: importing it fails."""
    monkeypatch.setitem(sys.modules, "torch", None)
