"""Runs what the tutorials say: their Python against a server, their commands with what a
newcomer has in place of what they name (the embedded checkpoint for a published one,
drawn images for shards, a port that is free).

    python docs/lines.py densereward

Needs the Python client, torch and Pillow.
"""

import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import torch

import densereward

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BLOCK = re.compile(r"^( *)```(python|sh)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def blocks(page):
    for indent, language, text in BLOCK.findall((HERE / "tutorials" / f"{page}.md").read_text()):
        yield language, textwrap.dedent(text)


def python(page, server, **names):
    """The page's Python, one block after the other, with the names that it takes as given."""
    for language, text in blocks(page):
        if language == "python":
            text = re.sub(r'"http://[^"]*"', repr(server), text)
            exec(compile(text, f"docs/tutorials/{page}.md", "exec"), names)
    return names


def trainer(server):
    """Two batches of prompts, then a rank's members of a group of two."""
    seen, images = [], lambda prompts: torch.rand(len(prompts), 3, 64, 64)
    given = {"densereward": densereward, "token": None, "batches": [["a red circle"] * 2, ["a blue star"] * 2], "sample": images, "step": 1}
    blocks_of = [text for language, text in blocks("trainer") if language == "python"]
    first, groups = (re.sub(r'"http://[^"]*"', repr(server), text) for text in blocks_of)
    exec(first, given := {**given, "learn": lambda advantages, weight: seen.append((advantages.shape, weight.shape))})
    assert seen == [((2,), (2, 8, 8))] * 2, seen
    jobs = []
    for ranks in ([0], [1]):  # of which each calls the same lines
        exec(groups.replace("size=24", "size=2").replace("client.submit", "job = client.submit"), given := {**given, "images": images("a"), "prompts": ["a red circle"], "members": ranks})
        jobs.append(given["job"])
    a, b = (job.result(60).advantages[0] for job in jobs)
    assert abs(a + b) < 1e-6, (a, b)


def commands(program, folder):
    """Each command with stand-ins. One that serves is ended when it is ready."""
    stand_ins = {"--model ImageDoctor": "", "--model GYX97/ImageDoctor": "", "--device cuda": "", "--listen 0.0.0.0:8080": "--listen 127.0.0.1:0", "shards/*.parquet": "drawn", "go run ./cmd/densereward": program}
    (folder / "tokens.txt").write_text("a-token-of-more-than-sixteen-characters\n")
    (folder / "drawn").mkdir()
    for name in ("circle", "star"):
        shutil.copy(ROOT / f"cmd/densereward/demo/{name}.png", folder / "drawn")
        (folder / f"drawn/{name}.txt").write_text(f"a red {name}")
    (folder / "human.jsonl").write_text("".join(f'{{"file_name": "{n}.png", "overall": {v}}}\n' for n, v in (("circle", 0.9), ("star", 0.2))))
    done = []
    for page in sorted(p.stem for p in (HERE / "tutorials").glob("*.md")):
        for language, text in blocks(page):
            for line in text.strip().splitlines() if language == "sh" else ():
                for old, new in stand_ins.items():
                    line = line.replace(old, new)
                words = [program if word == "densereward" else word for word in shlex.split(line)]
                run(words, ROOT if words[0] == "go" else folder)
                done.append(line)
    return done


def run(words, folder):
    if words[1] != "serve":
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return
    if "--listen" not in words:
        words = [*words, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True)
    ready = next((line for line in process.stderr if "ready" in line), None)
    process.send_signal(signal.SIGTERM)
    process.stderr.read()
    assert ready and process.wait() == 0, words


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with densereward.LocalServer("--log-level=error", program=program) as server:
        names = python("first-reward", server.url)
        aligned = names["result"].scores["semantic_alignment"]
        assert aligned[0] > aligned[1] and names["result"].dense.reward.shape == (2, 64, 64), names["result"]
        trainer(server.url)
    with tempfile.TemporaryDirectory() as folder:
        print("the tutorials' Python, and their commands: " + "; ".join(commands(program, pathlib.Path(folder))))


main()
