"""Every mistake of a caller is answered with the OpenAI error object, the right status and a remedy."""

import asyncio
import base64
import threading
import time

import httpx
import numpy as np
import openai
import pytest

from tony import media
from tony.errors import TonyError
from tony.serve import Limits, reserve

CHAT = "/v1/chat/completions"


def ask(content="seven", **extra):
    return {"model": "fake", "messages": [{"role": "user", "content": content}], **extra}


def check(answer, status, param, *words):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    for word in words:
        assert word in error["message"], error["message"]
    assert answer.headers["x-request-id"].startswith("req_")
    return error


def data_url(data, mime="image/png"):
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def image(url):
    return [{"type": "image_url", "image_url": {"url": url}}]


PNG = media.encode(media.Image(np.zeros((8, 8, 1), np.uint8)), "png")
URL = "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        ([], None, "JSON object"),
        ({"messages": []}, "model", "missing"),
        ({"model": "fake"}, "messages", "missing"),
        ({"model": "fake", "messages": []}, "messages", "at least one"),
        ({"model": "fake", "messages": ["x"]}, "messages[0]", "object"),
        ({"model": "fake", "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "robot"),
        ({"model": "fake", "messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"model": "fake", "messages": [{"role": "assistant", "content": "x"}]}, "messages", "user"),
        (ask(""), "messages", "empty"),
        (ask([{"type": "file"}]), "messages[0].content[0].type", "image_url"),
        (ask([{"type": "text"}]), "messages[0].content[0].text", "string"),
        (ask("\ud800"), "messages[0].content", "surrogate"),
        (ask(image("https://example.org/a.png")), URL, "fetches nothing"),
        (ask(image("file:///etc/passwd")), URL, "fetches nothing"),
        (ask(image("data:image/png,abc")), URL, "base64"),
        (ask(image("data:image/png;base64,%%%")), URL, "not valid base64"),
        (ask(image("data:image/png;base64,")), URL, "empty"),
        (ask(image(data_url(b"no picture at all"))), URL, ""),
        (ask(image(data_url(PNG[:40]))), URL, ""),
        (ask([{"type": "input_audio", "input_audio": {"data": "AAAA"}}]), "messages[0].content[0].input_audio.format", "wav"),
        (ask([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]), "messages[0].content[0].input_audio.data", ""),
        (ask([{"type": "input_audio", "input_audio": {"data": data_url(PNG)[22:], "format": "png"}}]), "messages[0].content[0].input_audio.data", ""),
        (ask("nothing here"), None, "number word"),  # from the engine
        (ask(modalities=["video"]), "modalities", "text, image, audio"),
        (ask(modalities=[]), "modalities", "text, image, audio"),
        (ask(modalities=["audio", "audio"]), "modalities", "once"),
        (ask(audio={"format": "aac"}), "audio.format", "mp3"),
        (ask(audio={"format": "wav"}, stream=True), "audio.format", "pcm16"),
        (ask(stream="yes"), "stream", "true or false"),
        (ask(stream_options={"include_usage": True}), "stream_options", "stream: true"),
        (ask(n=0), "n", "from 1 to 8"),
        (ask(n=True), "n", "whole number"),
        (ask(seed=1.5), "seed", "whole number"),
        (ask(temperature=3), "temperature", "from 0 to 2"),
        (ask(top_p="x"), "top_p", "from 0 to 1"),
        (ask(max_completion_tokens=-1), "max_completion_tokens", "whole number"),
        (ask(tools=[{"type": "function"}]), "tools", "not supported"),
        (ask(stop=["x"]), "stop", "not supported"),
        (ask(logprobs=True), "logprobs", "not supported"),
        (ask(response_format={"type": "json_object"}), "response_format", "not supported"),
        ({"model": "fake", "messages": [{"role": "assistant", "audio": {"id": "audio_x"}}]}, "messages[0].audio.id", "expired"),
    ],
)  # fmt: skip
def test_wrong_requests_are_refused_in_words(client, body, param, word):
    import json

    content = json.dumps(body).encode()
    answer = client.post(CHAT, content=content, headers={"Content-Type": "application/json"})
    assert check(answer, 400, param, word)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"{", "JSON"),
        (b"\xff\xfe{}", "JSON"),
        (b"[" * 100_000, "nested"),
        (b"", "JSON"),
        (b"9" * 5000, "JSON"),
    ],
)
def test_a_body_that_is_no_json(client, content, word):
    check(client.post(CHAT, content=content, headers={"Content-Type": "application/json"}), 400, None, word)


def test_other_content_types_are_400(client):
    for name in ("text/plain", "multipart/form-data; boundary=x", ""):
        answer = client.post(CHAT, content=b"{}", headers={"Content-Type": name})
        check(answer, 400, None, "application/json")
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    check(client.post(CHAT, content=b"{}", headers=headers), 400, None, "uncompressed")


def test_unknown_paths_models_and_methods(client):
    for path in ("/v1/nothing", "/index.php", "/studio/../app.py", "/studio/%2e%2e/app.py", "/studio/x.js"):
        check(client.get(path), 404, None)
    check(client.post(CHAT, json={**ask(), "model": "gpt"}), 404, "model", "'gpt'", "'fake'")
    assert check(client.get(CHAT), 405, None, "POST")["type"] == "invalid_request_error"


def test_a_body_that_is_too_large(client):
    big = {"Content-Type": "application/json"}
    check(client.post(CHAT, content=b"x" * (2**20 + 1), headers=big), 413, None, "1 MiB")

    def unannounced():
        for _ in range(20):
            yield b"x" * 100_000

    check(client.post(CHAT, content=unannounced(), headers=big), 413, None, "smaller")


def test_a_crash_is_a_500_without_its_details(client):
    error = check(client.post(CHAT, json=ask("crash")), 500, None, "req_")
    assert "secret" not in error["message"] and error["type"] == "server_error"
    assert client.post(CHAT, json=ask()).status_code == 200


def test_a_crash_in_a_stream_is_an_error_event(live, omni, monkeypatch):
    part = omni._part

    def breaks(index, modality, *rest):
        yield next(part(index, modality, *rest))
        raise RuntimeError("secret detail")

    monkeypatch.setattr(omni, "_part", breaks)
    api = openai.OpenAI(base_url=f"{live}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIError, match="its log has the details"):
        list(api.chat.completions.create(**ask(), stream=True))


def test_other_hosts_and_origins_are_refused(client):
    check(client.get("/health", headers={"Host": "evil.example:8000"}), 403, None, "localhost")
    assert client.get("/health", headers={"Host": "localhost:1234"}).status_code == 200
    assert client.get("/health", headers={"Host": "[::1]:1234"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9"):
        check(client.post(CHAT, json=ask(), headers={"Origin": origin}), 403, None, "pages of")
    answer = client.post(CHAT, json=ask(), headers={"Origin": "http://127.0.0.1"})
    assert answer.status_code == 200 and "access-control-allow-origin" not in answer.headers


def test_two_at_once_are_both_answered_and_one_too_many_is_told_when_to_return(fakes, serving):
    omni = fakes.FakeOmni(delay=0.02)
    with serving(omni, limits=Limits(waiting=0)) as url, httpx.Client(base_url=url, timeout=30) as http:
        answers = []

        def post(word):
            answers.append((word, http.post(CHAT, json=ask(word, modalities=["text", "audio"]))))

        threads = [threading.Thread(target=post, args=(word,)) for word in ("three", "seven", "nine", "one")]
        for thread in threads:
            thread.start()
        while http.get("/health").json()["requests"] < 4:
            time.sleep(0.01)
        refused = http.post(CHAT, json=ask())
        assert check(refused, 503, None, "try again")["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        for thread in threads:
            thread.join()
        assert len(answers) == 4
        for word, answer in answers:
            assert answer.json()["choices"][0]["message"]["content"] == word


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine(fakes, serving, stream):
    omni = fakes.FakeOmni(delay=0.05)
    with serving(omni) as url:
        body = ask(modalities=["text", "image", "audio"], stream=stream)
        if stream:
            with httpx.stream("POST", url + CHAT, json=body, timeout=30) as answer:
                next(answer.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + CHAT, json=body, timeout=0.3)
        until = time.monotonic() + 5
        while omni.closed == 0:
            assert time.monotonic() < until, "the reply went on although nobody reads it"
            time.sleep(0.02)
        assert httpx.get(url + "/health").json()["requests"] == 0


def test_the_event_loop_stays_free_while_a_reply_is_made(fakes, serving):
    with serving(fakes.FakeOmni(delay=0.3)) as url:
        waiting = threading.Thread(target=lambda: httpx.post(url + CHAT, json=ask(), timeout=30))
        waiting.start()
        time.sleep(0.1)
        begin = time.monotonic()
        assert httpx.get(url + "/health").status_code == 200
        assert time.monotonic() - begin < 0.25
        waiting.join()


def test_a_port_in_use_is_named_with_a_free_one():
    with reserve("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            TonyError, match=rf"^port {port} is in use: choose another with --port (\d+)$"
        ) as caught:
            reserve("127.0.0.1", port)
        other = int(str(caught.value).split()[-1])
        reserve("127.0.0.1", other).close()
    for host, port, word in [("127.0.0.1", 70000, "does not exist"), ("no.such.invalid", 80, "not known"), ("192.0.2.1", 8000, "cannot listen")]:  # fmt: skip
        with pytest.raises(TonyError, match=word):
            reserve(host, port)


def test_serve_answers_on_its_address_and_stops(fakes):
    import os
    import signal
    import subprocess
    import sys

    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import fakes; from tony.serve import serve\n"
        "serve(fakes.FakeOmni(), port=0, on_ready=lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, os.path.dirname(fakes.__file__)], stdout=subprocess.PIPE, text=True
    )
    try:
        url = process.stdout.readline().strip()
        assert httpx.get(url + "/health").json()["status"] == "ok"
        process.send_signal(signal.SIGINT)
        process.wait(10)
    finally:
        process.kill()


def test_a_job_can_be_cancelled_before_it_begins():
    from tony.serve.worker import Worker

    async def main():
        worker, started = Worker(waiting=4, together=1), []

        def slow(name):
            started.append(name)
            for i in range(5):
                time.sleep(0.02)
                yield i

        first, second = worker.submit(lambda: slow("a")), worker.submit(lambda: slow("b"))
        second.cancel()
        assert [event async for event in first.events()] == list(range(5))
        assert [event async for event in second.events()] == []
        assert started == ["a"]
        worker.stop()

    asyncio.run(main())
