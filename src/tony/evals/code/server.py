"""Samples from any server that speaks OpenAI's HTTP API: vLLM, llama.cpp, Ollama, a hosted one.

Text completion (`/completions`) is what an evaluation of this kind needs. A server that only chats is asked for the whole
function in a code block; the results record which of the two it was, for scores of the two are not the same thing.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from tony.errors import TonyError
from tony.evals.code.sampler import ASK, Drawn, cut

KEY = "OPENAI_API_KEY"  # the environment variable that such clients read
PATIENCE_S = 600.0
_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
_FEWEST_STOPS = 4  # what the API promises to take; many servers take more
_BLOCK = re.compile(r"```(?:python|py)?[ \t]*\r?\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


class ServerSampler:
    """A model behind `base_url` (such as http://localhost:8000/v1), called by the name the server gives it.

    Args:
        patience_s: longest wait for one answer.

    Attributes:
        api: "completions", or "chat" once the server has turned out to have no completions.
    """

    def __init__(self, base_url: str, model: str, parallel: int = 8, patience_s: float = PATIENCE_S):
        if not re.match(r"https?://[^/]", base_url):
            raise TonyError(f"--base-url {base_url}: no address of a server; write http://HOST:PORT/v1")
        base_url = base_url.rstrip("/")
        self._base = base_url if base_url.count("/") > 2 else f"{base_url}/v1"
        self._patience_s = patience_s
        self._num_stops = 16
        self.name, self.parallel, self.together, self.api = model, parallel, 1, "completions"
        self.identity = f"{self._base} {model}"

    def complete(
        self,
        prompts: Sequence[str],
        n: int,
        max_tokens: int,
        temperature: float,
        top_p: float,
        stop: Sequence[str],
        seed: Sequence[int],
    ) -> Iterator[tuple[int, list[Drawn]]]:
        settings = {
            "model": self.name, "max_tokens": max_tokens, "temperature": temperature, "top_p": top_p,
        }  # fmt: skip
        for index, (prompt, own) in enumerate(zip(prompts, seed, strict=True)):
            yield index, self._draw(prompt, n, settings, stop, own)

    def _draw(
        self, prompt: str, n: int, settings: dict[str, Any], stop: Sequence[str], seed: int
    ) -> list[Drawn]:
        """`n` samples of one prompt; a server that gives fewer at a time is asked again, with another seed."""
        found: list[Drawn] = []
        while len(found) < n:
            body = settings | {"n": n - len(found), "seed": seed + 7919 * len(found)}
            made = self._completions(prompt, body, stop) if self.api == "completions" else None
            if made is None:
                made = self._chat(prompt, body)
            found += made[: n - len(found)]
        return found

    def _completions(self, prompt: str, body: dict[str, Any], stop: Sequence[str]) -> list[Drawn] | None:
        """Samples by text completion; None where the server has none."""
        stops = list(stop[: self._num_stops])
        # Many tokenizers join a line's end to the next line's indent (see own.py): the model writes both, as harnesses do.
        kept = prompt.rstrip("\n")
        status, answer = self._post("/completions", body | {"prompt": kept, "stop": stops, "logprobs": 1})
        if status == 400 and "stop" in _message(answer) and len(stops) > _FEWEST_STOPS:
            self._num_stops = _FEWEST_STOPS  # the rest is cut here
            return self._completions(prompt, body, stop)
        if status in (404, 405) and "model" not in _message(answer):
            self.api = "chat"
            return None
        return [_completed(choice, stop, prompt[len(kept) :]) for choice in self._choices(status, answer)]

    def _chat(self, prompt: str, body: dict[str, Any]) -> list[Drawn]:
        messages = [{"role": "user", "content": ASK.format(prompt=prompt.rstrip())}]
        status, answer = self._post("/chat/completions", body | {"messages": messages, "logprobs": True})
        if status == 400 and "logprobs" in _message(answer):
            status, answer = self._post("/chat/completions", body | {"messages": messages})
        return [_chatted(choice, prompt) for choice in self._choices(status, answer)]

    def _choices(self, status: int, answer: Any) -> list[dict[str, Any]]:
        if status in (401, 403):
            raise TonyError(
                f"{self._base}: not permitted ({_message(answer)}). Set {KEY} to a key of that server"
            )
        if status != 200:
            raise TonyError(
                f"{self._base}: it refuses to sample from {self.name!r}: {_message(answer)} (status {status}). "
                "Correct the model's name, --max-tokens or --base-url"
            )
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list) or not choices or not all(isinstance(c, dict) for c in choices):
            raise TonyError(
                f"{self._base}: an answer without choices. Give the address of an OpenAI-compatible server"
            )
        return choices

    def _post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON of the answer; a busy or failing server is asked again for half a minute."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._base + path, json.dumps(body).encode(), headers)
        reason = ""
        for wait_s in (*_WAITS_S, None):
            try:
                with urllib.request.urlopen(request, timeout=self._patience_s) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                content = _json(error.read())
                if error.code != 429 and error.code < 500:
                    return error.code, content
                reason = f"status {error.code}: {_message(content)}"
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                cause = getattr(error, "reason", error)
                reason = str(getattr(cause, "strerror", None) or cause)
                if isinstance(cause, ConnectionRefusedError) or "Name or service" in reason:
                    break  # nobody is there: waiting helps no one
            except ValueError:
                raise TonyError(
                    f"{self._base}: an answer that is no JSON. Give the address of an OpenAI-compatible server"
                ) from None
            if wait_s is not None:
                time.sleep(wait_s)
        raise TonyError(
            f"{self._base}: no answer ({reason}). Start the server or correct --base-url; the same command goes on"
        )


def _completed(choice: dict[str, Any], stop: Sequence[str], space: str) -> Drawn:
    """The sample of a choice; `space`, the end of the prompt that the model had to write itself, is not part of it."""
    text = choice.get("text") if isinstance(choice.get("text"), str) else ""
    kept, was_cut = cut(text, stop)
    log_probs = _log_probs(choice.get("logprobs"), len(kept) if was_cut else None)
    is_stopped = was_cut or choice.get("finish_reason") != "length"
    return Drawn(kept.removeprefix(space), _mean(log_probs), len(log_probs) or None, is_stopped)


def _chatted(choice: dict[str, Any], prompt: str) -> Drawn:
    """The program of a chat's answer as what follows the prompt: the function is defined again, and the later one counts."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    content = content if isinstance(content, str) else ""
    block = _BLOCK.search(content)
    code = block.group(1) if block else content
    log_probs = _log_probs(choice.get("logprobs"), None)
    text = code if code[:1] in (" ", "\t") else f"{_unfinished(prompt)}\n\n{code}\n"
    return Drawn(text, _mean(log_probs), len(log_probs) or None, choice.get("finish_reason") != "length")


def _unfinished(prompt: str) -> str:
    """What makes `prompt` a program of its own: a body for its last function, where it has one."""
    try:
        compile(prompt + "    pass\n", "<prompt>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return ""
    return "    pass\n"


def _log_probs(value: Any, length: int | None) -> list[float]:
    """The log-probabilities of either API's form, of the tokens that begin within `length` characters."""
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("content"), list):
        entries = [(e.get("token", ""), e.get("logprob")) for e in value["content"] if isinstance(e, dict)]
    else:
        entries = list(zip(value.get("tokens") or [], value.get("token_logprobs") or [], strict=False))
    found, at = [], 0
    for token, log_prob in entries:
        if length is not None and at > length:
            break
        if isinstance(log_prob, int | float):
            found.append(float(log_prob))
        at += len(token) if isinstance(token, str) else 1
    return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _message(answer: Any) -> str:
    """What a server says of an error, whatever its form, in one short line."""
    if isinstance(answer, dict):
        answer = answer.get("error", answer.get("detail", answer.get("message", answer)))
        answer = answer.get("message", answer) if isinstance(answer, dict) else answer
    return " ".join(str(answer).split())[:200]
