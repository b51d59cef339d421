"""Protects: a killed evaluation goes on to the same bytes, and what is known is not asked again."""

import json
import math
import signal
import subprocess
import sys
import time

import pytest
import torch

from tony.engine.exchange.folder import LanguageModel
from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.errors import TonyError
from tony.evals.bias import Settings, evaluate_bias, find_probes
from tony.evals.bias.probe import TOGETHER
from tony.evals.bias.race import race
from tony.evals.bias.sentiment import Sentiment
from tony.evals.bias.subject import EngineSubject

FILES = ("bias.json", "bias.jsonl")
FEW = Settings(samples=3)


@pytest.fixture(scope="module")
def source(random_model, vocabulary):
    return LanguageModel(random_model(vocabulary.size, kv_heads=2), omni_tokenizer(vocabulary), 0, 1, "tiny")


@pytest.fixture(scope="module")
def probes():
    letters = Sentiment("letters", lambda text: float(text.count("e") - text.count("o")))
    return [*find_probes(["gender", "religion"]), race(letters)]


def test_a_subject_weighs_as_plain_forward_passes_do(source):
    contexts, continuations = ["The doctor was a", "The nurse was a"], [" man", " woman"]
    found = EngineSubject(source).nats(contexts, continuations)
    for context, row in zip(contexts, found, strict=True):
        for continuation, nats in zip(continuations, row, strict=True):
            ids, before = source.encode(context + continuation), source.encode(context)
            logits = source.model(torch.tensor([ids]))[0, len(before) - 1 : -1].double()
            own = logits.log_softmax(-1).gather(1, torch.tensor(ids[len(before) :])[:, None])
            assert nats == pytest.approx(float(own.sum()), abs=1e-3)


def test_completions_are_a_function_of_seed_and_place(source):
    subject = EngineSubject(source)
    three = subject.write("Jews are", 3, 5)
    assert subject.write("Jews are", 5, 5)[:3] == three == EngineSubject(source).write("Jews are", 3, 5)
    assert subject.write("Jews are", 3, 6) != three


def test_a_run_that_was_cut_short_goes_on_to_the_same_bytes(source, tmp_path):
    probes = find_probes(["gender", "religion"])
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    steps = []
    evaluate_bias(EngineSubject(source), probes, FEW, whole, lambda *step: steps.append(step))
    total = steps[-1][1]
    assert steps[-1][0] == total and [step[0] for step in steps] == sorted(step[0] for step in steps)
    journal = (whole / "bias.journal.jsonl").read_bytes()
    for share in (0.001, 0.5, 0.99):
        cut.mkdir(exist_ok=True)
        (cut / "bias.journal.jsonl").write_bytes(journal[: int(share * len(journal))])
        evaluate_bias(EngineSubject(source), probes, FEW, cut)
        for name in FILES:
            assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_what_is_known_is_not_asked_again(planted, tmp_path):
    def subject():
        return planted(lambda _: (0.2, 0.1), lambda _: {"old": 0.5, "tall": 0.5})

    first, probes = subject(), find_probes(["gender", "religion"])
    result = evaluate_bias(first, probes, Settings(samples=TOGETHER), tmp_path)
    again = subject()
    assert evaluate_bias(again, probes, Settings(samples=TOGETHER), tmp_path) == result and not again.asked
    more = subject()
    evaluate_bias(more, probes, Settings(samples=TOGETHER + 1), tmp_path)
    assert len(more.asked) == 6, "a part for each religion, and nothing of what is known"
    other = subject()
    other.identity = {"weights": "others"}
    evaluate_bias(other, probes, Settings(samples=TOGETHER), tmp_path)
    assert other.asked == first.asked


def test_every_figure_has_an_interval_and_says_what_it_is_not(source, probes, tmp_path):
    result = evaluate_bias(EngineSubject(source), probes, FEW, tmp_path)
    assert set(result["limits"]) == {row["probe"] for row in result["results"]} | {"religion"}
    for row in result["results"]:
        assert math.isfinite(row["low"]) and row["low"] <= row["value"] <= row["high"] and row["n"] > 0
    rows = [json.loads(line) for line in (tmp_path / "bias.jsonl").read_text().splitlines()]
    assert sum(row["probe"] == "race" for row in rows) == 6 * 3 * 3
    assert json.loads((tmp_path / "bias.json").read_text()) == result


def test_a_killed_command_goes_on(source, tmp_path):
    """SIGKILL in the middle, then the same command to the end, shown as a table."""
    source.save(tmp_path / "model", "made here")
    command = [
        sys.executable, "-c", "from tony.cli import main; main()", "eval", str(tmp_path / "model"), "bias",
        "--only", "gender,religion", "--samples", "3",
    ]  # fmt: skip
    evals = tmp_path / "model" / "evals"
    journal = evals / "bias.journal.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not journal.exists() or journal.read_bytes().count(b"\n") < 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Most male: " in done.stdout and done.stdout.count("What this cannot show: ") == 2
    kept = {name: (evals / name).read_bytes() for name in FILES}
    journal.unlink()
    again = subprocess.run([*command, "--json"], capture_output=True, check=True)
    assert {name: (evals / name).read_bytes() for name in FILES} == kept
    assert json.loads(again.stdout) == json.loads(kept["bias.json"])


def test_no_samples_are_refused():
    with pytest.raises(TonyError, match="samples=0"):
        Settings(samples=0)
