"""The best of N images of one prompt:

    PYTHONPATH=client/python/src python3 examples/best_of_n/best_of_n.py
    PYTHONPATH=client/python/src python3 examples/best_of_n/best_of_n.py --prompt "a cat" *.png

Prints the files, best first, with their rewards, and marks the one to keep. Files
that cannot be scored come last, with the reason. Without files it takes those of
the server's demonstration, and without --server a server with the demonstration
checkpoint is started for the occasion.
"""

import argparse
import contextlib
import pathlib
import sys

import densereward

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUNDLED = sorted((ROOT / "cmd/densereward/demo").glob("*.png"))


def ranked(client, files, prompt):
    """(reward, file, error) of each file, best first; failed ones last, with a
    reward of NaN."""
    result = client.score(files, [prompt] * len(files), returns=[])
    scored = list(zip(result.rewards, files, result.errors))
    return sorted(scored, key=lambda entry: (entry[2] is not None, -entry[0] if entry[2] is None else 0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--server", help="address of a server")
    parser.add_argument("--prompt", default="a red circle on a plain background")
    parser.add_argument("files", nargs="*", type=pathlib.Path, default=BUNDLED, metavar="FILE")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if not args.server:
            program = ["go", "run", "./cmd/densereward"]
            args.server = stack.enter_context(densereward.LocalServer(program=program, cwd=str(ROOT))).url
        client = stack.enter_context(densereward.Client(args.server))
        entries = ranked(client, args.files, args.prompt)
    for place, (reward, file, error) in enumerate(entries):
        mark = "*" if place == 0 and error is None else " "
        print(f"{mark} {file.name:24} {error if error is not None else f'{reward:.3f}'}")
    if entries[0][2] is not None:
        sys.exit("none of the files could be scored")


if __name__ == "__main__":
    main()
