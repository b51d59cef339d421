"""Protects: on the same weights our engine gives the harness the numbers that its own Hugging Face backend gives."""

import json

import numpy as np
import pytest
import yaml
from tokenizers import AddedToken, processors

pytest.importorskip("lm_eval", reason="needs the extra lm-eval")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from tony.engine.exchange.folder import LanguageModel, export_model
from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.errors import TonyError
from tony.evals.harness import HarnessSettings, evaluate_harness
from tony.evals.harness.model import HarnessModel
from tony.evals.intervals import wilson

WORDS = "zero one two three four five six seven eight nine".split()
CONTEXT = 64


def make_source(random_model, vocabulary, begins):
    """A model over the text ids of `vocabulary`; `begins`: its tokenizer puts an id before every text, as Llama's do."""
    tokenizer = omni_tokenizer(vocabulary)
    tokenizer.add_special_tokens([AddedToken("<begin>", special=True), AddedToken("<end>", special=True)])
    bos, eos = tokenizer.token_to_id("<begin>"), tokenizer.token_to_id("<end>")
    if begins:
        tokenizer.post_processor = processors.TemplateProcessing("<begin> $A", None, [("<begin>", bos)])
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    model = random_model(size, kv_heads=2, context=CONTEXT)
    return LanguageModel(model, tokenizer, bos, eos, "tiny")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "begins"])
def source(request, random_model, vocabulary):
    return make_source(random_model, vocabulary, request.param)


@pytest.fixture(scope="module")
def theirs(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hf") / "model"
    export_model(source, folder)
    # Its cache of logits takes the first rows for the last ones where two requests of the same ids part at different places,
    # and a row of a batch that has met a stop string goes on until all have: a stop string within a special token's name
    # (which is not shown) then ends nothing.
    return HFLM(pretrained=str(folder), dtype="float32", device="cpu", batch_size=1, logits_cache=False)


def instances(kind, arguments):
    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


PAIRS = [
    ("zero one", " two"),
    ("zero one ", "two"),  # the space goes to the continuation
    ("zero one \n", "two"),  # and other white space too
    ("zero on", "e two three four five"),  # a token spans the border
    ("", "three + five"),  # nothing before it
    ("", "<begin>one two"),  # begins with the prefix itself
    ("<begin>one", " two"),  # the tokenizer's own begin is not put twice
    ("z\u00e9ro", " \u4e09"),  # characters of several tokens
    ("one two three four five six seven eight nine " * 9, "zero one"),  # cut from the left
    ("one", " five six" * 12),
]


def test_log_likelihoods_are_those_of_the_hugging_face_backend(source, theirs):
    ours = HarnessModel(source)
    found = ours.loglikelihood(instances("loglikelihood", PAIRS))
    expected = theirs.loglikelihood(instances("loglikelihood", PAIRS), disable_tqdm=True)
    for pair, (nats, greedy), (other, other_greedy) in zip(PAIRS, found, expected, strict=True):
        ids = len(source.encode(pair[1]))
        assert abs(nats - other) / ids < 1e-4, pair
        assert greedy == other_greedy


def test_a_text_begins_with_nothing_before_it(source):
    (text,) = HarnessModel(source).generate_until(
        instances("generate_until", [("", {"until": [], "max_gen_toks": 4})])
    )
    assert text


def test_greedy_is_told(source):
    ours = HarnessModel(source)
    (text,) = ours.generate_until(
        instances("generate_until", [("one two", {"until": [], "max_gen_toks": 1})])
    )
    ids = ours.tok_encode("one two")
    (next_id,) = source.encode(text)
    other = (next_id + 1) % source.model.config.vocabulary
    found = ours._loglikelihood_tokens([(("a", "b"), ids, [next_id]), (("a", "c"), ids, [other])])
    assert [greedy for _, greedy in found] == [True, False]


LENGTHS = [0, 1, CONTEXT - 1, CONTEXT, CONTEXT + 1, 2 * CONTEXT, 5 * CONTEXT + 3]


def text_of(source, length):
    """A text of so many ids."""
    words = np.random.default_rng(0).choice(WORDS, 6 * CONTEXT)
    text, rest = "", "".join(f"{word}\n" for word in words)
    while len(source.encode(text)) < length:
        text, rest = text + rest[0], rest[1:]
    assert len(source.encode(text)) == length
    return text


def test_rolling_windows_are_those_of_the_hugging_face_backend(source, theirs):
    """Around every border of a window; an id is scored once, so the sum is the likelihood of the whole text."""
    texts = [(text_of(source, n),) for n in LENGTHS]
    found = HarnessModel(source).loglikelihood_rolling(instances("loglikelihood_rolling", texts))
    expected = theirs.loglikelihood_rolling(instances("loglikelihood_rolling", texts), disable_tqdm=True)
    for (text,), nats, other in zip(texts, found, expected, strict=True):
        assert abs(nats - other) / max(1, len(source.encode(text))) < 1e-4, text


def writing(theirs):
    """Contexts with stop strings that come in what is written: pieces of it, one within a token, one over a border."""
    contexts = ["zero one", "three + five", "nine " * 40]
    free = [(text, {"until": [], "max_gen_toks": 24}) for text in contexts]
    texts = theirs.generate_until(instances("generate_until", free), disable_tqdm=True)
    stopped = [
        (context, {"until": [text[at : at + size]], "max_gen_toks": 24})
        for context, text in zip(contexts, texts, strict=True)
        for at, size in ((3, 1), (5, 4), (9, 2))
        if text[at : at + size]
    ]
    several = [("seven", {"until": ["\n", "e", "qq"], "max_gen_toks": 24, "do_sample": False})]
    return [*free, *stopped, *several]


def test_texts_and_stop_strings_are_those_of_the_hugging_face_backend(source, theirs):
    asked = writing(theirs)
    found = HarnessModel(source).generate_until(instances("generate_until", asked))
    expected = theirs.generate_until(instances("generate_until", asked), disable_tqdm=True)
    assert found == expected
    assert any(found)


def test_what_cannot_be_asked_is_said(source):
    model = HarnessModel(source)
    with pytest.raises(TonyError, match="max_gen_toks is 64"):
        model.generate_until(instances("generate_until", [("one", {"until": [], "max_gen_toks": CONTEXT})]))
    with pytest.raises(TonyError, match="num_beams"):
        model.generate_until(
            instances("generate_until", [("one", {"until": [], "max_gen_toks": 8, "num_beams": 3})])
        )
    with pytest.raises(TonyError, match="a continuation has"):
        model.loglikelihood(instances("loglikelihood", [("one", " seven" * CONTEXT)]))
    for pair in [("one", ""), ("thr", "ee")]:  # "three" is one token: the border lies behind it
        with pytest.raises(TonyError, match="0 ids"):
            model.loglikelihood(instances("loglikelihood", [pair]))
    bare = LanguageModel(source.model, source.tokenizer, None, None, "bare")
    with pytest.raises(TonyError, match="begins or ends"):
        HarnessModel(bare).loglikelihood(instances("loglikelihood", [("", "one")]))


def test_shared_beginnings_are_computed_once(source):
    """Whatever order the requests come in, and though they are scored in parts."""
    shots = "one two three, "
    pairs = [(shots + first, f" {last}") for last in WORDS for first in WORDS]
    model = HarnessModel(source)
    model.loglikelihood(instances("loglikelihood", pairs))
    nodes = {
        tuple(ids[: end + 1])
        for a, b in pairs
        for ids in [model.tok_encode(a + b)[:-1]]
        for end in range(len(ids))
    }
    assert model.scorer.computed == len(nodes)


def test_drawn_texts_differ_between_repeats_and_come_again_with_the_seed(source):
    asked = [("one", {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.0})] * 3
    first, again = (
        HarnessModel(source, seed=5).generate_until(instances("generate_until", asked)) for _ in "ab"
    )
    assert first == again and len(set(first)) == 3


# Whole tasks, as somebody writes them.


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A folder with three tasks and their data."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {
            "question": f"{one} and {two} make",
            "choices": [WORDS[(i + j + k) % 10] for k in range(4)],
            "label": (i * j) % 4,
        }
        for i, one in enumerate(WORDS[:6])
        for j, two in enumerate(WORDS[:4])
    ]
    for split, part in (("test", rows[:16]), ("train", rows[16:])):
        lines = [
            json.dumps(row | {"answer": row["choices"][row["label"]], "text": f"{row['question']} it.\n" * 6})
            for row in part
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {split: str(folder / f"{split}.jsonl") for split in ("test", "train")},
            "cache_dir": str(folder / "cache"),
        },
        "training_split": "train",
        "fewshot_split": "train",
        "test_split": "test",
        "doc_to_text": "{{question}}",
    }
    choice = {
        "task": "sums_choice",
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    write = {
        "task": "sums_write",
        "output_type": "generate_until",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\n", "e"], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match"}],
    }
    roll = {
        "task": "sums_roll",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    }
    for task in (choice, write, roll):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(data | task, sort_keys=False))
    return folder


@pytest.mark.parametrize("shots", [0, 2])
def test_whole_tasks_give_the_numbers_of_the_hugging_face_backend(
    source, theirs, tasks, tmp_path, shots, no_network, monkeypatch
):
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda _: None)  # seconds of looking at the machine
    settings = HarnessSettings(shots=shots, items=12)
    result = evaluate_harness(source, [str(tasks)], settings, tmp_path)
    expected = lm_eval.simple_evaluate(
        model=theirs,
        tasks=[str(path) for path in sorted(tasks.glob("*.yaml"))],
        num_fewshot=shots,
        limit=12,
        bootstrap_iters=1000,
        random_seed=0,
        numpy_random_seed=0,
        torch_random_seed=0,
        fewshot_random_seed=0,
    )
    assert not result["errors"]
    rows = {(row["task"], row["metric"]): row for row in result["results"]}
    assert {metric for _, metric in rows} == {
        "acc", "acc_norm", "exact_match", "word_perplexity", "byte_perplexity", "bits_per_byte"
    }  # fmt: skip
    for (task, metric), row in rows.items():
        value = expected["results"][task][f"{metric},none"]
        assert row["value"] == pytest.approx(value, rel=0 if metric.startswith(("acc", "exact")) else 1e-4)
        assert row["n"] == 12 and (row["shots"] == shots or task == "sums_roll")
        assert row["low"] is None or row["low"] <= row["value"] <= row["high"]
    lines = [json.loads(line) for line in (tmp_path / "lm-eval.jsonl").read_text().splitlines()]
    assert len(lines) == 36
    for task in ("sums_choice", "sums_write", "sums_roll"):
        own = {line["doc_id"]: line for line in lines if line["task"] == task}
        for sample in expected["samples"][task]:
            assert own[sample["doc_id"]]["arguments"] == [list(a) for a in sample["arguments"]]
            for (mine,), (other,) in zip(own[sample["doc_id"]]["resps"], sample["resps"], strict=True):
                if task == "sums_choice":
                    assert mine[0] == pytest.approx(other[0], abs=1e-3) and mine[1] == other[1]
                elif task == "sums_write":
                    assert mine == other
                else:
                    assert mine == pytest.approx(other, abs=1e-2)  # of about 100 ids


@pytest.fixture
def no_network(monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_later_evaluation_computes_only_what_is_new(source, tasks, tmp_path, monkeypatch):
    first = evaluate_harness(source, [str(tasks)], HarnessSettings(items=4), tmp_path)
    journal = tmp_path / "lm-eval.journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-7])  # a kill cut the last line short
    assert evaluate_harness(source, [str(tasks)], HarnessSettings(items=4), tmp_path) == first
    assert journal.read_bytes() == whole
    monkeypatch.setattr("tony.engine.score.Scorer.score", None)
    monkeypatch.setattr("tony.engine.text.TextEngine.complete", None)
    assert evaluate_harness(source, [str(tasks)], HarnessSettings(items=4), tmp_path) == first


def test_a_task_that_cannot_be_read_costs_its_own_line_only(source, tasks, tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text(
        "task: broken\ndataset_path: json\ndataset_kwargs:\n  data_files: {test: absent.jsonl}\n"
    )
    names = [str(broken), str(tmp_path / "absent.yaml"), str(tasks / "sums_choice.yaml")]
    result = evaluate_harness(source, names, HarnessSettings(items=2), tmp_path / "out")
    assert {row["task"] for row in result["results"]} == {"sums_choice"}
    assert len(result["errors"]) == 2
    assert all(any(name in line for line in result["errors"]) for name in names[:2])
    with pytest.raises(TonyError, match="no task in this folder"):
        (tmp_path / "empty").mkdir()
        evaluate_harness(source, [str(tmp_path / "empty")], HarnessSettings(), tmp_path)


def test_a_folder_may_hold_groups_and_a_share_has_wilsons_interval(source, tasks, tmp_path):
    folder = tmp_path / "group"
    folder.mkdir()
    (folder / "one.yaml").write_text((tasks / "sums_choice.yaml").read_text())
    (folder / "all.yaml").write_text(
        yaml.safe_dump(
            {"group": "sums", "task": ["sums_choice"], "aggregate_metric_list": [{"metric": "acc"}]}
        )
    )
    result = evaluate_harness(source, [str(folder)], HarnessSettings(items=5), tmp_path)
    rows = {(row["task"], row["metric"]): row for row in result["results"]}
    assert rows["sums", "acc"]["value"] == rows["sums_choice", "acc"]["value"] and not result["errors"]
    own = rows["sums_choice", "acc"]
    assert (own["low"], own["high"]) == pytest.approx(wilson(own["value"], 5))
