"""Runs the demo and checks that the checkpoint within the program tells its right images
from its flawed ones.

    python check.py DENSEREWARD [FOLDER]   # the program, and where the overlays go
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

# The images of each prompt, the right one first.
GROUPS = {
    "a red circle": ["circle", "circle-warped", "circle-bleeding", "circle-noise"],
    "a green triangle": ["triangle", "triangle-colour", "triangle-shape", "triangle-extra"],
    "a yellow star to the left of a blue square": ["star", "star-swapped", "star-below", "star-colours"],
}


def advantages(printed, names):
    """Those of images in the demo's tables: image, four scores, reward, advantage, mean weight."""
    rows = [re.search(rf"^ +{name}( +[01]\.\d\d){{4}} +[01]\.\d{{3}} +([+-]\d\.\d{{3}}) +[01]\.\d{{3}}$", printed, re.M) for name in names]
    assert all(rows), f"no row of one of {names} in\n{printed}"
    return [float(row[2]) for row in rows]


def main(program, folder):
    done = subprocess.run([program, "demo", "--out", folder], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert "no --model: " in done.stderr, done.stderr
    for prompt, names in GROUPS.items():
        assert f"{prompt}\n" in done.stdout, prompt
        right, *flawed = advantages(done.stdout, names)
        assert max(flawed) < 0 < right, f"{prompt}: the first image is right and the others are not; advantages {right}, {flawed}"
    advantages(done.stdout, [f"latents-{i}" for i in range(4)])
    overlays = sorted(Path(folder).glob("*.overlay.png"))
    assert len(overlays) == 16, overlays
    print(done.stdout, end="")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as fresh:
        main(sys.argv[1], *(sys.argv[2:] or [fresh]))
