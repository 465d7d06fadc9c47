"""A server that says what a test tells it to."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgpack
import numpy as np


def tensor(array):
    """An array as the server writes it."""
    return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": list(array.shape), b"data": array.tobytes()}


def response(n, model="stub", **fields):
    """The body of a response for n samples without maps."""
    numbers = tensor(np.zeros(n))
    return msgpack.packb(
        {
            "rewards": numbers,
            "scores": {s: numbers for s in ("semantic_alignment", "aesthetics", "plausibility", "overall")},
            "missing": [[]] * n,
            "errors": [None] * n,
            "evaluator": "stub",
            "model": model,
            "timing_ms": {"total": 1.0},
            **fields,
        }
    )


def refusal(code, message="as told"):
    return msgpack.packb({"code": code, "message": message})


class Stub:
    """Answers POST /v1/score by calling ``script(request)``, which gives
    (status, headers, body), and GET /readyz by ``ready``. ``requests`` holds what
    came: (headers, decoded body)."""

    def __init__(self, script):
        self.script, self.ready, self.requests = script, True, []
        self.probes = 0
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                stub.probes += 1
                self.answer(200 if stub.ready else 503, {"Content-Type": "application/json"}, b"{}")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = (dict(self.headers), msgpack.unpackb(body))
                stub.requests.append(request)
                given = stub.script(request)
                if given is None:
                    self.close_connection = True
                    return
                self.answer(*given)

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request, address):
                pass  # clients of these tests go away on purpose

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def scripted(*answers):
    """A script that gives each answer once and the last one for ever after."""
    left = list(answers)

    def script(request):
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer(request) if callable(answer) else answer

    return script


def ok(request):
    return 200, {"Content-Type": "application/msgpack"}, response(len(request[1]["prompts"]))
