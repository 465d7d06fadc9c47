"""Makes cache.json, the cache that huggingface_hub keeps, and holds the program against the library.

    python make.py                       writes cache.json
    python make.py --check DENSEREWARD   compares it, then either program uses what the other fetched

Both ask a hub of this file.
"""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.parse

MADE_WITH = "2.4.0"  # of huggingface_hub
COMMIT = "c" * 40
FILES = {
    "config.json": b'{"model_type": "clip"}',
    "README.md": b"words",
    "merges.txt": b"#version: 0.2\n",
    "model.safetensors": b"0123456789abcdef" * 64,
    "vae/config.json": b"{}",
}
NEEDED = ["config.json", "merges.txt", "model.safetensors"]


def large(name):
    return name.endswith(".safetensors")


def blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag(name):
    return hashlib.sha256(FILES[name]).hexdigest() if large(name) else blob(FILES[name])


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith("/api/models/org/model/tree/"):
            return self.answer(json.dumps([self.entry(name) for name in FILES]).encode(), {"Content-Type": "application/json"})
        if path.startswith("/api/models/org/model"):
            siblings = []
            for name, content in FILES.items():
                sibling = {"rfilename": name, "size": len(content), "blobId": blob(content)}
                if large(name):
                    sibling["lfs"] = {"sha256": etag(name), "size": len(content), "pointerSize": 134}
                siblings.append(sibling)
            about = {"id": "org/model", "modelId": "org/model", "sha": COMMIT, "siblings": siblings, "private": False, "downloads": 0, "likes": 0, "tags": []}
            return self.answer(json.dumps(about).encode(), {"Content-Type": "application/json"})
        name = path.removeprefix(f"/org/model/resolve/{COMMIT}/").removeprefix("/org/model/resolve/main/")
        if name not in FILES:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.answer(FILES[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(name)}"'})

    def entry(self, name):
        entry = {"type": "file", "path": name, "size": len(FILES[name]), "oid": blob(FILES[name])}
        if large(name):
            entry["lfs"] = {"oid": etag(name), "size": len(FILES[name]), "pointerSize": 134}
        return entry

    def answer(self, content, headers):
        self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def listing(cache):
    """What a cache holds: folders are left out, and what is of one program alone."""
    found = {}
    for path in sorted(pathlib.Path(cache).rglob("*")):
        name = path.relative_to(cache).as_posix()
        if name.startswith(".locks") or name == "CACHEDIR.TAG":
            continue
        if path.is_symlink():
            found[name] = {"link": os.readlink(path)}
        elif path.suffix == ".json":
            found[name] = {"json": json.loads(path.read_text())}
        elif path.is_file():
            found[name] = {"text": path.read_text()}
    return found


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
    os.environ.pop("HF_HUB_OFFLINE", None)
    import huggingface_hub

    golden = pathlib.Path(__file__).with_name("cache.json")
    with tempfile.TemporaryDirectory() as work:
        theirs, ours = os.path.join(work, "theirs"), os.path.join(work, "ours")
        huggingface_hub.snapshot_download("org/model", cache_dir=theirs, allow_patterns=NEEDED)
        text = json.dumps(listing(theirs), indent=1, sort_keys=True) + "\n"
        if len(sys.argv) < 2:
            golden.write_text(text)
            return
        if huggingface_hub.__version__ == MADE_WITH:
            assert text == golden.read_text(), "cache.json is not what the library keeps"

        def run(cache, *arguments, **environment):
            command = [sys.argv[2], *arguments]
            done = subprocess.run(command, env={**os.environ, "HF_HUB_CACHE": cache, **environment}, capture_output=True, text=True)
            return done.returncode, done.stdout.strip(), done.stderr

        code, path, said = run(ours, "model", "fetch", "org/model")
        assert code == 0, said
        assert listing(ours) == listing(theirs), (listing(ours), listing(theirs))
        options = {"cache_dir": ours, "local_files_only": True}
        assert huggingface_hub.snapshot_download("org/model", allow_patterns=NEEDED, **options) == path
        for name in NEEDED:
            with open(huggingface_hub.hf_hub_download("org/model", name, **options), "rb") as file:
                assert file.read() == FILES[name], name
        (repository,) = huggingface_hub.scan_cache_dir(ours).repos
        assert repository.repo_id == "org/model" and repository.nb_files == len(NEEDED), repository
        # Without network, and in a cache that nobody may write, the program finds what the library
        # fetched: it fails only when it reads the model, which is none.
        server.shutdown()
        code, _, said = run(theirs, "score", "--evaluator", "clip=clipscore:org/model", "--prompt", "x", __file__, HF_HUB_OFFLINE="1")
        assert code == 1 and os.path.join(theirs, "models--org--model", "snapshots", COMMIT) in said, (code, said)
        print("huggingface_hub", huggingface_hub.__version__, "and the program use each other's cache")


if __name__ == "__main__":
    main()
