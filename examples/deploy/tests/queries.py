"""Has Prometheus scrape a running server and answer every query of the dashboard and
every alert:

    python queries.py densereward

Rewards, groups that wait, refusals and broken samples come first, so that there are series
of all kinds. A query without an answer is one whose names the server does not have. Needs
prometheus and the Python client. GPUs may have no series.
"""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import numpy as np
import yaml

import densereward

HERE = pathlib.Path(__file__).resolve().parents[1]

#: Metrics of which a machine without a card, and answers that lack nothing, have no series.
ABSENT = ("densereward_gpu_memory_bytes", "densereward_missing_parts_total")


def dashboard_queries():
    dashboard = json.loads((HERE / "grafana/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$model", ".*")


def alert_queries():
    """Both sides of what alerts compare, without the statuses that a server without faults
    does not have."""
    for group in yaml.safe_load((HERE / "prometheus/alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            for side in re.split(r" (?:>|==|and|<) (?![0-9]*\))", rule["expr"]):
                if not re.fullmatch(r"[\d.]+", side.strip()):
                    yield rule["alert"], re.sub(r"\{status=[^}]*\}", "", re.sub(r"\[\d+[mh]\]", "[1m]", side))


def load(server, jobs):
    """Something of every kind."""
    client = densereward.Client(server, timeout=60)
    rng = np.random.default_rng()
    for _ in range(2):
        images = [rng.integers(0, 255, (64, 64, 3), np.uint8), b"not an image"]
        client.score(images, ["a red circle"] * 2, advantage="flowgrpo")
        client.score(images[:1], ["a red circle"])
        try:
            client.score(images[:1], ["a"], evaluator="nobody")
        except densereward.UnknownEvaluatorError:
            pass
        time.sleep(1.2)  # two scrapes
    groups = densereward.Groups(step="waits", size=2, members=[0])
    jobs.append(client.submit(images[:1], ["a red circle"], groups=groups, advantage="flowgrpo"))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def ask(prometheus, query):
    text = urllib.request.urlopen(f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": query}), timeout=10).read()
    return json.loads(text)["data"]["result"]


def check(prometheus):
    """The queries that nothing answers."""
    return [
        f"{where}: {query}"
        for where, query in (*dashboard_queries(), *alert_queries())
        if not any(name in query for name in ABSENT) and not ask(prometheus, query)
    ]


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder, densereward.LocalServer("--log-level=error", program=program) as server:
        config = {
            "global": {"scrape_interval": "500ms"},
            "scrape_configs": [{"job_name": "d", "static_configs": [{"targets": [server.url.split("//")[1]]}]}],
        }
        path = pathlib.Path(folder) / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        port = free_port()
        command = ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        prometheus, address, jobs = subprocess.Popen(command), f"http://127.0.0.1:{port}", []
        try:
            deadline = time.monotonic() + 60
            load(server.url, jobs)
            while True:
                try:
                    missing = check(address)
                except OSError as e:
                    missing = [str(e)]
                if not missing or time.monotonic() > deadline:
                    break
                time.sleep(0.5)
        finally:
            for job in jobs:
                job.cancel()
            prometheus.terminate()
            prometheus.wait()
    if missing:
        sys.exit("no answer to\n" + "\n".join(missing))
    print(f"{len(list(dashboard_queries()))} queries of the dashboard and {len(list(alert_queries()))} of alerts are answered")


if __name__ == "__main__":
    main()
