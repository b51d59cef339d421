"""Problems whose right answers are known, a sampler that answers from a list, and a server of OpenAI's API."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tony.evals.code import Drawn, Problem

RIGHT, WRONG = "    return x + {i}\n", "    return None\n"


def problem(i: int) -> Problem:
    test = f"def check(f):\n    assert f(1) == {i + 1}\n"
    return Problem(f"T/{i}", f'def f{i}(x):\n    """Add {i}."""\n', f"f{i}", test, solution=RIGHT.format(i=i))


@pytest.fixture
def problems():
    return {f"T/{i}": problem(i) for i in range(3)}


class Scripted:
    """Sample j of problem i is right when (i + j) is even at temperature 0.2, never at others; right ones are likelier."""

    name, identity, parallel, together = "scripted", "scripted-1", 1, 1

    def __init__(self):
        self.calls: list[tuple] = []

    def complete(self, prompts, n, max_tokens, temperature, top_p, stop, seed):
        found = []
        for prompt, own in zip(prompts, seed, strict=True):
            self.calls.append((prompt, n, temperature, own))
            rng = np.random.default_rng(own)
            i = int(prompt[5 : prompt.index("(")])
            right = [temperature == 0.2 and (i + j) % 2 == 0 for j in range(n)]
            found.append(
                [
                    Drawn(RIGHT.format(i=i) if r else WRONG, (-0.1 if r else -0.5) - 0.01 * rng.random(), 8)
                    for r in right
                ]
            )
        yield from reversed(list(enumerate(found)))  # in any order


@pytest.fixture
def scripted():
    return Scripted()


class Server(ThreadingHTTPServer):
    """Answers as told: `has_completions`, `most` choices at a time, `failures` answers with status 500 first."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.has_completions, self.most, self.failures, self.most_stops = True, 100, 0, 100
        self.delay_s = 0.0
        self.bodies: list[tuple[str, dict]] = []

    def handle_error(self, request, client_address):
        """A client that was killed is no error."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append((self.path, body))
        threading.Event().wait(self.server.delay_s)
        if self.server.failures:
            self.server.failures -= 1
            return self.answer(500, {"error": {"message": "busy"}})
        if body["model"] != "tiny":
            return self.answer(404, {"error": {"message": f"no model {body['model']}"}})
        if self.path == "/v1/completions" and self.server.has_completions:
            if len(body["stop"]) > self.server.most_stops:
                return self.answer(400, {"error": {"message": "too many stop sequences"}})
            return self.answer(200, {"choices": [self.completion(body, j) for j in range(self.count(body))]})
        if self.path == "/v1/chat/completions":
            return self.answer(200, {"choices": [self.chat(body) for _ in range(self.count(body))]})
        return self.answer(404, {"detail": "Not Found"})

    def count(self, body):
        return min(body["n"], self.server.most)

    def completion(self, body, j):
        """Every other sample is right, and each goes on past its end: the server ignores the stop strings."""
        i = int(body["prompt"][5 : body["prompt"].index("(")])
        tokens = [
            "    return",
            f" x + {i}\n" if (j + body["seed"]) % 2 == 0 else " 0\n",
            "\ndef more",
            "():\n    pass\n",
        ]
        log_probs = {"tokens": tokens, "token_logprobs": [-0.25, -0.75, -2.0, -8.0]}
        return {"text": "".join(tokens), "finish_reason": "stop", "logprobs": log_probs}

    def chat(self, body):
        prompt = body["messages"][0]["content"]
        i = int(prompt.split("def f")[1].split("(")[0])
        text = f"Here it is:\n```python\nimport math\n\ndef f{i}(x):\n    return x + {i}\n```\nIt adds."
        log_probs = {"content": [{"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -3.0}]}
        return {"message": {"content": text}, "finish_reason": "stop", "logprobs": log_probs}

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()
