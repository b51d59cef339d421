"""Protects: what is asked is never among the worked examples, in either language, and every translation counts as right."""

import json

import pytest

from tony.data import tuxpaint
from tony.evals.fewshot import Settings, evaluate_fewshot, find_tasks
from tony.evals.fewshot import evaluate as module
from tony.evals.fewshot.tasks import captions

ANIMALS = "frog toad newt hen cat dog cow pig fox owl bat ant bee eel elk emu".split()
TASKS = [f"captions-{pair}" for pair in ("en-fr", "fr-en", "en-de", "de-en", "en-es", "es-en")]


@pytest.fixture
def stamps(tmp_path, monkeypatch):
    """Sixteen animals, each twice; two say the same in French; one is not translated to German."""

    def write(name, english, french, german, spanish):
        lines = [english, f"fr.utf8={french}", f"de.utf8={german}", f"es.utf8={spanish}"]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    for name in ANIMALS:
        french = "Un crapaud vert." if name in ("frog", "toad") else f"Un {name} fran\u00e7ais."
        german = f"A red {name}." if name == "owl" else f"Ein {name} von uns."
        write(name, f"A red {name}.", french, german, f"\u00a1Un {name} rojo!")
        write(f"{name}-1", f"a red {name.upper()}", french.upper(), german, f"Un {name} rojo")
    monkeypatch.setattr(tuxpaint, "STAMPS", tmp_path)
    captions._captions.cache_clear()
    captions._examples.cache_clear()
    yield tmp_path
    captions._captions.cache_clear()
    captions._examples.cache_clear()


def texts(examples):
    """All captions of examples, in both languages, as they are compared."""
    return {
        captions._plain(text)
        for own in examples
        for text in (own.context.strip("\n ="), own.target, *own.accepted)
    }


@pytest.mark.parametrize("name", TASKS)
def test_no_caption_is_on_both_sides(stamps, name):
    ((task,), errors) = find_tasks([name])
    test, train = task.test(), task.train()
    assert not errors and not texts(test) & texts(train)
    assert len(train) == (3 if "de" in name else 4) and len(test) >= 10
    assert len({own.context for own in test}) == len(test), (
        "a caption that stands under two stamps is asked once"
    )
    for example in (*test, *train):
        task.check(example)
    assert not any("owl" in text for text in texts(test) | texts(train)) or "de" not in name


def test_prompts_are_the_papers(stamps):
    ((task,), _) = find_tasks(["captions-en-es"])
    shot, question = task.train()[0], task.test()[0]
    prompt = task.prefix([shot]) + question.context
    first, second = (own.context.strip("\n =") for own in (shot, question))
    assert prompt == f"Translate English to Spanish:\n{first} ={shot.target}\n{second} ="
    assert shot.target.startswith((" Un ", " \u00a1Un "))


def test_both_directions_ask_about_the_same_captions(stamps):
    (there, back), _ = find_tasks(["captions-en-es", "captions-es-en"])
    assert texts(there.test()) == texts(back.test()) and texts(there.train()) == texts(back.train())


def test_every_translation_of_a_caption_is_right():
    found = captions.examples([("Une grue.", "A crane."), ("une grue", "A hoist."), ("Un chat.", "A cat.")])
    assert [own.target for own in found] == [" A crane.", " A cat."]
    assert [own.accepted for own in found] == [(" A hoist.",), ()]


def test_a_split_of_nothing_is_empty():
    assert captions.split([]) == ([], [])
    assert captions.split([("Taxi.", "TAXI")] * 9) == ([], []), "what is not translated is left out"


def test_right_answers_score_100_and_wrong_ones_0(stamps, random_model, vocabulary, tmp_path, monkeypatch):
    pytest.importorskip("sacrebleu")
    from tony.engine.exchange.folder import LanguageModel
    from tony.engine.exchange.tokenizers import omni_tokenizer

    class Knows:
        """Answers rightly from one worked example on."""

        def __init__(self, *_):
            pass

        def begin(self, cell):
            self.cell = cell

        def ask(self, questions):
            return [
                {
                    "key": q.key,
                    "answer": (q.example.accepted or (q.example.target,))[-1] if self.cell.k else "?",
                }
                for q in questions
            ]

    monkeypatch.setattr(module, "Asker", Knows)
    source = LanguageModel(random_model(vocabulary.size), omni_tokenizer(vocabulary), 0, 1, "tiny")
    tasks, errors = find_tasks(["translation"])
    assert [task.name for task in tasks] == TASKS
    result = evaluate_fewshot(source, tasks, Settings(shots=(0, 1)), tmp_path / "evals", errors)
    assert not result["errors"] and {row["metric"] for row in result["results"]} == {"BLEU"}
    for row in result["results"]:
        assert row["value"] == pytest.approx(100.0 if row["shots"] else 0.0, abs=1e-6)
    first = json.loads((tmp_path / "evals" / "fewshot.jsonl").read_text().splitlines()[0])
    assert first["prompt"].startswith("Translate English to French:\n") and first["value"] is None


def test_the_package_is_fetched_where_it_is_not_installed(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(tuxpaint, "STAMPS", tmp_path / "absent")
    monkeypatch.setattr(
        tuxpaint, "debian_package", lambda *names: asked.append(names) or tmp_path / "unpacked"
    )
    assert tuxpaint.stamps() == tmp_path / "unpacked" / (tmp_path / "absent").relative_to("/")
    assert asked == [("tuxpaint-stamps-default", tuxpaint.SHA256)]
