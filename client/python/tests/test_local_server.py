"""A local server lives as long as the process that started it, and no longer."""

import copy
import os
import pickle
import select
import subprocess
import sys

import pytest
from conftest import ROOT

import densereward

#: Starts a server, says which processes it is made of, and ends in some way.
PROGRAM = """
import os, signal, subprocess, sys, threading
import densereward

def start():
    global server
    server = densereward.LocalServer(program=sys.argv[2])
    child = open(f"/proc/{server._process.pid}/task/{server._process.pid}/children").read()
    print(server._process.pid, child, flush=True)

if sys.argv[1] == "a thread that is over":
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    densereward.Client(server.url).wait_ready(5)
    os.kill(os.getpid(), signal.SIGKILL)
start()
if sys.argv[1] == "an exception":
    raise RuntimeError("the trainer failed")
if sys.argv[1].startswith("SIG"):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
if sys.argv[1] == "a child that lives on":
    if os.fork() == 0:
        sys.stdout.close()
        os.close(1)
        os.read(0, 1)  # until the test ends
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "a killed guard":
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()
    os.kill(os.getpid(), signal.SIGKILL)
"""

ENDS = [
    "the end",
    "an exception",
    "SIGTERM",
    "SIGKILL",
    "a thread that is over",
    "a child that lives on",
    "a killed guard",
]


def is_gone(pid, within=10):
    """Whether a process, which is no child of ours, ends within some seconds."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], within)[0])
    finally:
        os.close(watched)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("end", ENDS)
def test_the_server_is_gone_after(end, program):
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, end, program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "client/python/src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as trainer:
        pids = [int(pid) for pid in trainer.stdout.readline().split()]
        assert len(pids) == 2, "a guard and its server"
        trainer.wait(30)
        assert all(is_gone(pid) for pid in pids)


def test_a_child_after_a_fork_does_not_stop_it(demo_server):
    child = os.fork()
    if child == 0:
        demo_server.stop()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with densereward.Client(demo_server.url) as client:
        client.wait_ready(timeout=5)


def test_it_stops_once_and_says_what_ended_it(program):
    server = densereward.LocalServer(program=program)
    server.stop()
    server.stop()
    assert server._process.returncode == 0
    with pytest.raises(densereward.ConnectionFailedError, match="exit code"):
        densereward.LocalServer("--no-such-flag", program=program)


def test_a_program_that_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        densereward.LocalServer(program="no-such-program")
    with pytest.raises(FileNotFoundError, match="./densereward"):
        densereward.LocalServer(program=["./densereward"], cwd=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="go build ./cmd/densereward"):
        densereward.LocalServer()


def test_a_relative_program_is_looked_for_where_it_runs(program):
    folder, name = os.path.split(program)
    with densereward.LocalServer(program=f"./{name}", cwd=folder) as server, densereward.Client(server.url) as client:
        assert client.health() == {server.url: True}


def test_flags_may_be_numbers_and_paths(program, tmp_path):
    with pytest.raises(densereward.ConnectionFailedError, match="exit code"):
        densereward.LocalServer("--model", tmp_path, "--max-batch-size", 4, program=program)


def test_it_does_not_cross_processes(demo_server):
    for way in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="give its url"):
            way(demo_server)
