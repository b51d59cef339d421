"""Protects: a task of lm-evaluation-harness, from a local file, scores on our engine as on its own HF backend."""

import json

import pytest

from tony.engine.exchange.folder import LanguageModel, export_model
from tony.engine.exchange.tokenizers import omni_tokenizer
from tony.evals.harness import run_harness

pytest.importorskip("lm_eval")
WORDS = "zero one two three four five six seven eight nine".split()


@pytest.fixture(scope="module")
def source(random_model, vocabulary):
    return LanguageModel(
        random_model(vocabulary.size, qk_norm=False), omni_tokenizer(vocabulary), 0, 1, "tiny"
    )


@pytest.fixture
def tasks(tmp_path):
    """Two task files: multiple choice with worked examples, and a written answer."""
    data = tmp_path / "data.jsonl"
    rows = [{"q": f"{WORDS[i]} {WORDS[(i + 1) % 10]}", "a": WORDS[(i + 2) % 10], "i": i} for i in range(10)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    head = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    train: {data}\n    test: {data}\n"
    split = "test_split: test\nfewshot_split: train\n"
    choice = tmp_path / "next_word.yaml"
    choice.write_text(
        "task: next_word\n" + head + split + "output_type: multiple_choice\ndoc_to_text: '{{q}}'\n"
        f"doc_to_choice: {WORDS}\ndoc_to_target: a\nmetric_list:\n  - metric: acc\n  - metric: acc_norm\n"
    )
    write = tmp_path / "write_word.yaml"
    write.write_text(
        "task: write_word\n"
        + head
        + split
        + "output_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: a\n"
        "generation_kwargs:\n  until: ['two']\n  max_gen_toks: 6\nmetric_list:\n  - metric: exact_match\n"
    )
    return [str(choice), str(write)]


def test_answers_are_those_of_its_hf_backend(source, tasks, tmp_path):
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    export_model(source, tmp_path / "hf")
    theirs = lm_eval.simple_evaluate(
        model=HFLM(pretrained=str(tmp_path / "hf"), dtype="float32", device="cpu", add_bos_token=False),
        tasks=["next_word", "write_word"], num_fewshot=2, bootstrap_iters=0,
        task_manager=TaskManager(include_path=[str(tmp_path)]),
    )  # fmt: skip
    ours = run_harness(source, tasks, shots=2)
    for name in ("next_word", "write_word"):
        for mine, other in zip(ours["samples"][name], theirs["samples"][name], strict=True):
            assert mine["arguments"] == other["arguments"], "the same prompts"
            for (found,), (expected,) in zip(mine["resps"], other["resps"], strict=True):
                if name == "next_word":
                    assert found[0] == pytest.approx(float(expected[0]), abs=1e-3)
                else:
                    assert found == expected
    assert ours["results"]["next_word"]["acc,none"] == theirs["results"]["next_word"]["acc,none"]
