"""Protects the studies: their problems' own solutions pass, broken ones do not, and known answers give known figures."""

import itertools

import numpy as np
import pytest

from tony.errors import TonyError
from tony.evals.code import (
    Asking,
    Drawing,
    Drawn,
    Problem,
    binding,
    bleu,
    chains,
    docstrings,
    findings,
    misalignment,
    ranking,
    run_study,
)
from tony.evals.code.back_translation import NEVER, with_back_translation
from tony.evals.code.mutants import mutants, subtle_bugs
from tony.sandbox import Sandbox


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(workers=2) as made:
        yield made


def endings(sandbox, programs):
    return {key: (str(v.ending), v.detail) for key, v in sandbox.run_all(programs)}


def row(task, passed, **more):
    base = {
        "task_id": task,
        "passed": passed,
        "ending": "passed" if passed else "wrong",
        "detail": "",
        "cpu_s": 0.1,
    }
    return base | {"memory_bytes": 1, "mean_log_prob": None, "num_tokens": None, "sample_id": "T0-0"} | more


# --- ranking ----------------------------------------------------------------------------------------------


def test_a_choice_among_k_equals_the_mean_over_all_subsets():
    """Against brute force over every subset, equal scores decided by every order of the tied."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(2, 7))
        scores, passed = rng.integers(0, 3, n).tolist(), (rng.random(n) < 0.5).tolist()
        for k in range(1, n + 1):
            picks = []
            for subset in itertools.combinations(range(n), k):
                best = max(scores[i] for i in subset)
                tied = [passed[i] for i in subset if scores[i] == best]
                picks.append(sum(tied) / len(tied))
            assert ranking.chosen_rate(scores, passed, k) == pytest.approx(np.mean(picks))


def test_one_of_one_is_chance_and_a_perfect_score_is_the_oracle():
    rows = [
        row(f"P/{i}", j < i, mean_log_prob=-1.0 + 0.5 * (j < i), num_tokens=4)
        for i in range(4)
        for j in range(4)
    ]
    found = {(r["k"], r["rule"]): r for r in ranking.rank(rows, [1, 3])}
    assert len({round(found[1, rule]["value"], 9) for rule in (*ranking.RULES, "random", "oracle")}) == 1
    assert found[3, "mean log-probability"]["value"] == pytest.approx(found[3, "oracle"]["value"])
    assert found[3, "random"]["gain"] == 0 and found[3, "oracle"]["gain"] > 0.2


def test_without_log_probabilities_there_is_no_such_rule_and_empty_samples_are_never_chosen():
    rows = [row("P/0", True), row("P/0", False)]
    assert {r["rule"] for r in ranking.rank(rows, [2])} == {"random", "oracle"}
    rows = [row("P/0", False, num_tokens=0), row("P/0", True, num_tokens=5, mean_log_prob=-9.0)]
    assert {r["rule"]: r["value"] for r in ranking.rank(rows, [2])}["mean log-probability"] == 1


# --- chains and binding -----------------------------------------------------------------------------------


def test_every_chain_is_solved_by_its_blocks_and_by_no_shorter_chain(sandbox):
    problems = chains.chain_problems(longest=3, each=10)
    assert len(problems) == 13 + 20 and len(chains.BLOCKS) == 13
    solved = endings(sandbox, ((name, p.program(p.solution)) for name, p in problems.items()))
    assert all(ending == "passed" for ending, _ in solved.values())
    none = endings(sandbox, ((name, p.program("    return s\n")) for name, p in problems.items()))
    assert all(ending == "wrong" for ending, _ in none.values())


def test_the_factor_of_a_known_fall_is_found():
    rows = [
        row(f"chain/{n}/{i}", j < 160 * 2.5 ** (1 - n))
        for n in (1, 2, 3, 4)
        for i in range(20)
        for j in range(200)
    ]
    factor = chains.report(rows)["factor"]
    assert factor["low"] <= factor["value"] <= factor["high"] and factor["value"] == pytest.approx(
        2.5, rel=0.05
    )
    assert chains.report([row("chain/1/0", False), row("chain/2/0", False)])["factor"] is None


def test_binding_problems_are_solved_and_a_forgotten_operation_is_named(sandbox):
    steps = [binding.Step(3, ("y",)), binding.Step(-4, ("x", "w"))]
    problem = binding.binding_problem(("x", "y", "z", "w"), steps, True, "paper")
    assert "Add 3 to y, then subtract 4 from both x and w." in problem.prompt
    assert binding.answer(steps, {"x": 5, "y": 1, "z": 2, "w": 6}, True) == 1 * 4 * 2 * 2
    programs = {
        "right": problem.solution,
        "no w": problem.solution.replace("    w += -4\n", ""),
        "no product": problem.solution.replace("return x * y", "return x + y"),
    }
    found = endings(sandbox, ((name, problem.program(text)) for name, text in programs.items()))
    assert found["right"][0] == "passed" and binding.FORGOTTEN in found["no w"][1]
    assert binding.OTHER in found["no product"][1]
    several = binding.binding_problems(each=5)
    assert all(
        e == "passed"
        for e, _ in endings(sandbox, ((n, p.program(p.solution)) for n, p in several.items())).values()
    )
    rows = [
        row("binding/1/0", True),
        row("binding/2/0", False, detail=f"AssertionError: {binding.FORGOTTEN}"),
    ]
    assert binding.report(rows)["wrong"] == {binding.FORGOTTEN: 1}


# --- misalignment -----------------------------------------------------------------------------------------


def test_a_mutant_differs_in_one_place():
    source = "def f(a):\n    # \u00e9 < b\n    return a < 3 and a + 1 > 0\n"
    found = list(mutants(source))
    assert "def f(a):\n    # \u00e9 < b\n    return a <= 3 and a + 1 > 0\n" in found
    assert "def f(a):\n    # \u00e9 < b\n    return a < 3 or a + 1 > 0\n" in found
    assert len(found) == len(set(found)) == 6 + 3
    for text in found:
        compile(text, "mutant", "exec")


def three_problems():
    bodies = {"add": ("a + b", 5), "most": ("a if a > b else b", 3), "both": ("a * b - 2", 4)}
    return {
        name: Problem(
            name, f'def {name}(a, b):\n    """The {name}."""\n', name,
            f"def check(f):\n    assert f(2, 3) == {wanted}\n    assert f(3, 2) == {wanted}\n", solution=f"    return {code}\n",
        )
        for name, (code, wanted) in bodies.items()
    }  # fmt: skip


def test_bugs_are_wrong_but_run_and_stand_in_the_right_context(sandbox):
    problems = three_problems()
    bugs = subtle_bugs(problems, sandbox)
    found = endings(sandbox, ((name, problems[name].program(text)) for name, text in bugs.items()))
    assert len(bugs) == 3 and {ending for ending, _ in found.values()} == {"wrong"}
    asked = misalignment.misaligned_problems(problems, sandbox)
    right, buggy = (asked[f"{context}/add"].prompt for context in misalignment.CONTEXTS[1:3])
    assert len(asked) == 12 and asked["no examples/add"].prompt == problems["add"].prompt
    assert right.endswith(problems["add"].prompt) and right.count("def ") == buggy.count("def ") == 3
    assert problems["most"].solution in right and bugs["most"] in buggy and right.count("def add") == 1
    assert all(
        e == "passed"
        for e, _ in endings(sandbox, ((n, p.program(p.solution)) for n, p in asked.items())).values()
    )


def test_differences_are_paired_by_problem():
    rates = {
        "no examples": 0.5,
        "right examples": 0.75,
        "buggy examples": 0.25,
        misalignment.CONTEXTS[3]: 0.25,
    }
    rows = [row(f"{c}/P{i}", j < 4 * rate) for c, rate in rates.items() for i in range(3) for j in range(4)]
    found = misalignment.report(rows)
    assert [r["value"] for r in found["results"]] == list(rates.values())
    assert [d["value"] for d in found["differences"]] == [-0.5, -0.25, 0.0]


# --- docstrings -------------------------------------------------------------------------------------------


def test_a_docstring_problem_shows_signature_and_body_only():
    (problem,) = docstrings.docstring_problems({"add": three_problems()["add"]}).values()
    assert "def add(a, b):\n    return a + b\n" in problem.prompt and "The add" not in problem.prompt
    assert problem.prompt.endswith('"""') and problem.stops == ('"""',)


def test_going_back_uses_the_generated_docstring_and_refuses_copies():
    problems = three_problems()
    texts = {"add": " Add two numbers.\nBoth whole. ", "most": "", "both": "return a * b - 2"}
    rows = [{"task_id": name, "sample_id": "T0-0", "completion": text} for name, text in texts.items()]
    posed, refused = docstrings.back_problems(problems, rows)
    assert sorted(posed) == ["generated/add/T0-0", "original/add"] and len(refused) == 2
    compile(posed["generated/add/T0-0"].prompt, "prompt", "exec")
    assert "Add two numbers.\n    Both whole." in posed["generated/add/T0-0"].prompt
    rows = [row("generated/add/T0-0", True), row("original/add", True), row("original/add", False)]
    found = docstrings.report(rows, refused)
    assert [r["value"] for r in found["results"]] == [pytest.approx(1 / 3), 0.5]


class Reader:
    """Finds a docstring the likelier the more right the code is; cannot read long code."""

    def __init__(self):
        self.read = 0

    def log_probs(self, pairs):
        self.read += len(pairs)
        assert all(text.endswith('"""') and context.endswith('"""') for context, text in pairs)
        return [None if "long" in context else -1.0 if "a + b" in context else -2.0 for context, _ in pairs]


def test_back_translation_is_scored_once_a_sample_and_ranks(tmp_path):
    problems, reader = {"add": three_problems()["add"]}, Reader()
    texts = ["    return a + b\n", "    return a - b\n", "    return a - b\n", "    return long\n"]
    rows = [row("add", "+" in text, completion=text) for text in texts]
    path = tmp_path / "b.jsonl"
    scored = with_back_translation(rows, problems, reader, path, lambda *_: None)
    assert [r["back_translation"] for r in scored] == [-1.0, -2.0, -2.0, NEVER] and reader.read == 3
    assert with_back_translation(rows, problems, reader, path, lambda *_: None) == scored and reader.read == 3
    by_rule = {r["rule"]: r["value"] for r in ranking.rank(scored, [4])}
    assert by_rule == {"random": 0.25, "oracle": 1, "back-translation": 1}
    # A problem that has no docstring is decided by lot, and does not take the rule from the others.
    silent = [row("other", passed) for passed in (True, False, False, False)]
    by_rule = {r["rule"]: r["value"] for r in ranking.rank(scored + silent, [4])}
    assert by_rule == {"random": 0.25, "oracle": 1, "back-translation": (1 + 0.25) / 2}


# --- BLEU and findings ------------------------------------------------------------------------------------


def test_bleu_is_over_python_tokens():
    pytest.importorskip("sacrebleu")
    a = "    if x < 3:\n        return x  # less\n    return y\n"
    assert bleu.program_bleu(a, a) == bleu.program_bleu(a, a.replace("  # less", "")) == pytest.approx(1)
    assert bleu.tokens("x+=1 # n\n") == ["x", "+=", "1", "NEWLINE"]


def test_bleu_that_tells_nothing_and_bleu_that_tells_all():
    pytest.importorskip("sacrebleu")
    problems = {"add": three_problems()["add"]}
    same, other = problems["add"].solution, "    print(1)\n    x = [2]\n"
    rows = [row("add", True, completion=same), row("add", False, completion=other)]
    found = bleu.report(rows, problems)
    assert found["results"][2]["value"] == 1 and found["overlap"] == 0
    rows = [row("add", True, completion=same), row("add", False, completion=same)]
    assert bleu.report(rows, problems)["results"][2]["value"] == 0.5
    assert bleu.report(rows[:1], problems)["results"] == []


def test_findings_of_known_programs():
    pytest.importorskip("bandit")
    texts = ["eval(input())\n", "x = 1\n", "def (:\n", "import hashlib\nhashlib.md5(b'')\nassert 1\n"]
    found = findings.scan(texts)
    assert [None if of is None else [one["test"] for one in of] for of in found] == [
        ["B307"],
        [],
        None,
        ["B324"],
    ]
    problems = three_problems()
    rows = [
        row("add", True, completion=problems["add"].solution),
        row("add", False, completion="    return eval('1')\n"),
    ]
    result = findings.report(rows, problems)
    shares = {r["name"]: r["value"] for r in result["results"]}
    assert shares["samples: medium or above"] == 0.5 and shares["samples: high or above"] == 0
    assert shares["the known solutions: low or above"] == 0 and result["resources"]["cpu_s"]["most"] == 0.1


# --- the surface ------------------------------------------------------------------------------------------


class Solver:
    """Right for problems of one block or operation, else gives up; writes the same docstring for everything."""

    name, identity, parallel, together = "solver", "solver-1", 1, 3

    def __init__(self):
        self.known = chains.chain_problems() | binding.binding_problems()

    def complete(self, prompts, n, max_tokens, temperature, top_p, stop, seed):
        solutions = {p.prompt: (name, p.solution) for name, p in self.known.items()}
        found = []
        for prompt in prompts:
            name, solution = solutions.get(prompt, ("", "    return a + b\n"))
            text = solution if name.split("/")[1:2] in ([], ["1"]) else "    pass\n"
            found.append([Drawn("Add." if stop == ('"""',) else text, -0.5, 5)] * n)
        yield from enumerate(found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chains", {"1 block": 1, "2 blocks": 0}),
        ("binding", {"1 operation": 1, "2 operations": 0}),
        ("misalignment", {"no examples": 1 / 3}),
        ("docstrings", {"generated docstrings": 1 / 3, "original docstrings": 1 / 3}),
        ("ranking", {"one of 2 by oracle": 1 / 3, "one of 2 by mean log-probability": 1 / 3}),
        ("findings", {"samples: low or above": 0}),
    ],
)
def test_a_study_measures_a_known_model(name, expected, tmp_path):
    how = Drawing(n=2, temperatures=(0.2,))
    found = run_study(name, Asking(Solver(), three_problems(), how, tmp_path, workers=2))
    values = {r["name"]: r["value"] for r in found["results"]}
    assert {key: values[key] for key in expected} == pytest.approx(expected)
    assert (tmp_path / f"code-{name}.json").is_file() and (tmp_path / found["samples"]).is_file()


def test_unknown_studies_and_two_temperatures_are_refused(tmp_path):
    asking = Asking(Solver(), three_problems(), Drawing(temperatures=(0.2, 0.8)), tmp_path)
    with pytest.raises(TonyError, match="no study 'x'"):
        run_study("x", asking)
    with pytest.raises(TonyError, match="one temperature"):
        run_study("chains", asking)
