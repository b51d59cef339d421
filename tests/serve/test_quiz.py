"""Protects: the browser cannot learn which text is real; answers are neither lost nor doubled; strangers are refused."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from tony.evals.quiz import Answers, Item, Quiz
from tony.evals.quiz.deal import deal
from tony.serve.quiz import PAGE, SHARED, create_quiz_app

PEOPLE = "/quiz/api/participants"
ITEMS = [Item(f"Opening {i}", f"Text {i} alpha.", f"Text {i} beta.", f"Text {i} gamma.") for i in range(6)]


def client_of(items, path):
    quiz = Quiz(items, Answers(path / "quiz.sqlite", "q"), seed=0)
    return TestClient(create_quiz_app(quiz), base_url="http://127.0.0.1"), quiz


@pytest.fixture
def served(tmp_path):
    client, quiz = client_of(ITEMS, tmp_path)
    with client:
        yield client, quiz


def begin(client):
    return client.post(PEOPLE, json={}).json()["token"]


def walk(client, token):
    """Answer everything; what came on the way, as (headers, bytes)."""
    answer = client.get(f"{PEOPLE}/{token}")
    seen = [answer]
    while answer.json()["question"]:
        place = answer.json()["answered"]
        answer = client.post(f"{PEOPLE}/{token}/answers", json={"place": place, "rating": 1 + place % 5})
        seen.append(answer)
    return [
        (
            {name: value for name, value in a.headers.items() if name not in ("x-request-id", "date")},
            a.content,
        )
        for a in seen
    ]


def test_what_is_sent_does_not_depend_on_the_truth(tmp_path, monkeypatch):
    """The same texts in the same order, the author of every one turned round: not a byte of all that is sent differs."""

    def turned_deal(*arguments):
        return [replace(shown, is_machine=not shown.is_machine) for shown in deal(*arguments)]

    arms = {shown.item: shown.arm for shown in deal(len(ITEMS), 1, 0)}
    turned = [
        replace(item, human=getattr(item, arms[i]), **{arms[i]: item.human}) for i, item in enumerate(ITEMS)
    ]
    (tmp_path / "turned").mkdir()
    client, quiz = client_of(ITEMS, tmp_path)
    client_turned, quiz_turned = client_of(turned, tmp_path / "turned")
    with client, client_turned:
        sent = walk(client, begin(client))
        monkeypatch.setattr("tony.evals.quiz.quiz.deal", turned_deal)
        assert walk(client_turned, begin(client_turned)) == sent and len(sent) == len(ITEMS) + 1
    kept, kept_turned = (q.answers.by_participant()[1] for q in (quiz, quiz_turned))
    assert [a.is_machine for a in kept] == [not a.is_machine for a in kept_turned]


def test_a_state_holds_the_question_and_nothing_else(served):
    client, _ = served
    for _, body in walk(client, begin(client)):
        state = json.loads(body)
        assert set(state) == {"answered", "total", "question"}
        assert state["question"] is None or set(state["question"]) == {"opening", "text"}


def test_the_page_and_its_files_know_no_item(served):
    client, _ = served
    names = ["/", *(f"/quiz/{path.name}" for path in PAGE.iterdir()), *(f"/studio/{name}" for name in SHARED)]
    for name in names:
        answer = client.get(name)
        assert answer.status_code == 200 and "default-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"alpha|beta|gamma|Opening \d|https?://(?!www\.w3\.org)", answer.text), name
    for name in (
        "/quiz/quiz.jsonl",
        "/quiz/quiz.sqlite",
        "/quiz/..%2fapp.py",
        "/studio/talk.js",
        "/evals/quiz.jsonl",
    ):
        assert client.get(name).status_code == 404


def test_a_reload_goes_on_and_a_second_click_does_not_double(served):
    client, quiz = served
    token = begin(client)
    address = f"{PEOPLE}/{token}"
    first = client.get(address).json()
    assert client.get(address).json() == first, "a reload shows the same question"
    after = client.post(f"{address}/answers", json={"place": 0, "rating": 5}).json()
    again = client.post(f"{address}/answers", json={"place": 0, "rating": 1}).json()
    early = client.post(f"{address}/answers", json={"place": 4, "rating": 1}).json()
    assert after == again == early == client.get(address).json() and after["answered"] == 1
    assert [a.rating for a in quiz.answers.by_participant()[1]] == [5]


def test_clicks_at_once_leave_one_answer(served):
    client, quiz = served
    address = f"{PEOPLE}/{begin(client)}/answers"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: client.post(address, json={"place": 0, "rating": 1 + i % 5}), range(24)))
    assert len(quiz.answers.by_participant()[1]) == 1


def test_answers_survive_the_server(tmp_path):
    with client_of(ITEMS, tmp_path)[0] as client:
        token = begin(client)
        state = client.post(f"{PEOPLE}/{token}/answers", json={"place": 0, "rating": 4}).json()
    with client_of(ITEMS, tmp_path)[0] as client:
        assert client.get(f"{PEOPLE}/{token}").json() == state
        assert begin(client) != token


def test_what_is_kept_is_what_was_shown(served):
    client, quiz = served
    token = begin(client)
    texts = [json.loads(body)["question"] for _, body in walk(client, token)][:-1]
    kept = quiz.answers.by_participant()[1]
    for place, (question, answer) in enumerate(zip(texts, kept, strict=True)):
        word = {(True, "model"): "beta", (True, "control"): "gamma"}.get(
            (answer.is_machine, answer.arm), "alpha"
        )
        assert word in question["text"] and answer.rating == 1 + place % 5


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"place": 0, "rating": 6}, 400, "1 to 5"),
        ({"place": 0, "rating": True}, 400, "rating"),
        ({"rating": 3}, 400, "place"),
        ([], 400, "place"),
        ({"place": 0, "rating": 3, "more": "x" * 5000}, 413, "larger"),
    ],
)
def test_bad_answers_are_refused_in_words(served, body, status, word):
    client, quiz = served
    answer = client.post(f"{PEOPLE}/{begin(client)}/answers", json=body)
    assert answer.status_code == status and word in answer.json()["error"]["message"]
    assert quiz.answers.by_participant() == {1: []}


def test_strangers_are_refused(served):
    client, quiz = served
    assert client.get(f"{PEOPLE}/unknown").status_code == 404
    assert client.post(f"{PEOPLE}/unknown/answers", json={"place": 0, "rating": 1}).status_code == 404
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.post(PEOPLE, json={}, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post(PEOPLE, content="{}", headers={"content-type": "text/plain"}).status_code >= 400
    assert client.get("/nothing").json()["error"]["message"] == "there is nothing at /nothing: the quiz is /"
    assert quiz.answers.by_participant() == {}
