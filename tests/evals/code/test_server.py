"""Protects sampling from servers: the stop rule, log-probabilities, small servers, chat, and errors of one line."""

import pytest

from tony.errors import TonyError
from tony.evals.code.sampler import FUNCTION_STOPS
from tony.evals.code.server import ServerSampler


def draw(server, n=2, model="tiny", prompt="def f3(x):\n", stop=FUNCTION_STOPS, seed=0):
    sampler = ServerSampler(server.url, model)
    return sampler, dict(sampler.complete([prompt], n, 50, 0.2, 0.95, stop, [seed]))[0]


def test_text_is_cut_at_the_stop_and_log_probabilities_end_there(server):
    _, drawn = draw(server)
    assert [one.text for one in drawn] == ["    return x + 3\n", "    return 0\n"]
    assert all(
        one.is_stopped and one.num_tokens == 3 for one in drawn
    )  # the token that holds the stop is the third
    assert drawn[0].mean_log_prob == pytest.approx(-1.0)
    path, body = server.bodies[0]
    assert path == "/v1/completions" and body["top_p"] == 0.95 and body["stop"] == list(FUNCTION_STOPS)


def test_a_server_that_gives_one_at_a_time_is_asked_again_with_other_seeds(server):
    server.most = 1
    _, drawn = draw(server, n=3)
    assert len(drawn) == 3 and len({body["seed"] for _, body in server.bodies}) == 3


def test_a_server_that_takes_four_stops_gets_four_and_the_text_is_cut_all_the_same(server):
    server.most_stops = 4
    _, drawn = draw(server, stop=("\nclass", "\nif", "\n#", "\nprint", "\ndef"))
    assert [len(body["stop"]) for _, body in server.bodies] == [5, 4]
    assert drawn[0].text == "    return x + 3\n"


def test_a_server_that_only_chats_gives_the_function_of_its_code_block(server):
    server.has_completions = False
    prompt = 'def f3(x):\n    """Add three."""\n'
    sampler, drawn = draw(server, prompt=prompt)
    assert sampler.api == "chat" and drawn[0].mean_log_prob == -2.0
    names = {}
    exec(prompt + drawn[0].text, names)
    assert names["f3"](1) == 4 and "It adds" not in drawn[0].text


def test_a_failing_server_is_asked_again(server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda s: None)
    server.failures = 2
    assert len(draw(server)[1]) == 2
    server.failures = 100
    with pytest.raises(TonyError, match=r"no answer .*busy.*same command goes on"):
        draw(server)


def test_bad_addresses_and_models_are_named(server):
    with pytest.raises(TonyError, match="no model absent"):
        draw(server, model="absent")
    with pytest.raises(TonyError, match=r"--base-url example\.org"):
        ServerSampler("example.org", "tiny")
    with pytest.raises(TonyError, match="Start the server"):
        list(ServerSampler("http://127.0.0.1:9/v1", "tiny").complete(["x"], 1, 1, 0.0, 1.0, (), [0]))
