"""Makes the documentation site of the repository's own Markdown:

    python docs/build.py site

Pages keep their places, so that their links to each other hold; those to code and folders
go to the repository. A link that leads nowhere, or to a heading that is not there, fails.
Needs mkdocs-material (.ci/tools.txt).
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCE = "https://github.com/denseflow/densereward/blob/main/"
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


def relinked(page, text, pages, images):
    """text with links that a site has: to pages as they are, to images, which it notes,
    and to all else in the repository. Raises for one that leads nowhere."""

    def link(found):
        before, target, anchor, after = found[1], found[2], found[3] or "", found[4]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = pathlib.PurePosixPath(os.path.normpath(page.parent / target))
        if not (ROOT / path).exists():
            raise SystemExit(f"{page}: {target} leads nowhere")
        if (ROOT / path).is_dir() and str(path / "README.md") in pages:
            path = path / "README.md"
        if str(path) in pages:
            return before + os.path.relpath(path, page.parent) + anchor + after
        if path.suffix in (".png", ".svg", ".jpg"):
            images.add(str(path))
            return found[0]
        return f"{before}{SOURCE}{path}{anchor}{after}"

    # Code keeps what looks like a link in it.
    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    return "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts))


def entries(nav):
    for entry in nav:
        for value in entry.values():
            yield from entries(value) if isinstance(value, list) else [value]


def main():
    out = pathlib.Path(sys.argv[1]).resolve()
    config = yaml.safe_load((ROOT / "docs/mkdocs.yml").read_text())
    shown = list(entries(config["nav"]))
    pages = tracked()
    missing = set(shown) - set(pages)
    if missing:
        raise SystemExit(f"docs/mkdocs.yml names pages that are not there: {sorted(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder) / "pages"
        images = set()
        for name in shown:
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(relinked(pathlib.PurePosixPath(name), (ROOT / name).read_text(), shown, images))
        for name in images:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / name)
        for name in set(pages) - set(shown):  # not on the site, but their links hold too
            relinked(pathlib.PurePosixPath(name), (ROOT / name).read_text(), shown, set())
        config["docs_dir"] = str(home)
        (pathlib.Path(folder) / "mkdocs.yml").write_text(yaml.safe_dump(config, sort_keys=False))
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", f"{folder}/mkdocs.yml", "-d", str(out)]
        # Not --quiet, which would keep warnings from counting.
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(done.stdout)
    print(f"{len(shown)} pages in {out}")


if __name__ == "__main__":
    main()
