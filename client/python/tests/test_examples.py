"""The Python examples run, each as its own program, against the real server."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT


def run(example, *arguments):
    """What an example prints; it fails the test if it ends with an error."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "client/python/src") + os.pathsep + os.environ.get("PYTHONPATH", "")},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0
    return done.stdout.splitlines()


def test_the_step_s_arithmetic_equals_the_references():
    assert run("denseflow_step/check.py") == ["6 losses, ratio maps and gradients equal the reference's"]


def test_a_step_makes_good_places_likelier(demo_server):
    lines = run("denseflow_step/step.py", "--server", demo_server.url)
    (line,) = [line for line in lines if line.startswith("log p")]
    good, others = (float(word) for word in line.split() if word[0] in "+-")
    assert good > others


def test_a_rollout_shows_every_picture(demo_server):
    lines = run("rollout_python/rollout.py", "--server", demo_server.url)
    assert sum(line.endswith("on a plain background") for line in lines) == 12
    assert sum(line.startswith("batch") for line in lines) == 2


def test_the_overlap_of_rollout_and_rewards_is_timed(demo_server):
    lines = run("overlap/overlap.py", "--server", demo_server.url, "--rollout", "0.01", "--update", "0", "--steps", "1", "--batches", "2", "--images", "1")
    assert [line.split("  ")[0] for line in lines[1:]] == ["score after each batch", "submit"]


def test_the_best_of_n_is_marked(demo_server, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not an image")
    demo = sorted((ROOT / "cmd/densereward/demo").glob("*.png"))
    lines = run("best_of_n/best_of_n.py", "--server", demo_server.url, *map(str, demo), str(tmp_path / "broken.png"))
    assert lines[0].startswith("* ") and not any(line.startswith("*") for line in lines[1:])
    rewards = [float(line.split()[-1]) for line in lines[:-1]]
    assert rewards == sorted(rewards, reverse=True) and len(rewards) == len(demo)
    assert lines[-1].split()[0] == "broken.png" and "image_unsupported" in lines[-1]


def test_without_a_server_an_example_starts_its_own():
    lines = run("best_of_n/best_of_n.py")
    assert len(lines) == len(list((ROOT / "cmd/densereward/demo").glob("*.png"))) and lines[0].startswith("* circle.png ")


def test_the_rollout_in_go_starts_its_own_as_well():
    done = subprocess.run(["go", "run", "./examples/rollout"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert sum(line.endswith("on a plain background") for line in lines) == 8
    assert lines[-1].startswith("loss ")


def test_the_first_tutorial_s_lines_give_the_circle_the_better_alignment(demo_server, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = re.search(r"```python\n(.*?)```", (ROOT / "docs/tutorials/first-reward.md").read_text(), re.DOTALL)[1]
    names = {}
    exec(lines.replace("http://127.0.0.1:8080", demo_server.url), names)
    circle, star = names["result"].scores["semantic_alignment"]
    assert circle > star and names["result"].dense.reward.shape == (2, 64, 64)


@pytest.mark.parametrize("example", ["denseflow_step/step.py", "rollout_python/rollout.py", "overlap/overlap.py", "best_of_n/best_of_n.py"])
def test_every_example_says_how_it_is_run(example):
    assert "--server" in "\n".join(run(example, "--help"))
