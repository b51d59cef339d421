"""Choosing one of k samples without tests: by log-probability, against chance and the oracle (Chen et al. 2021, 3.3).

For n samples of a problem, what a rule picks out of k of them is averaged over all subsets of k exactly, as pass@k is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from math import comb
from typing import Any

from tony.evals.pass_at_k import mean_over_problems, pass_at_k, rate_over_problems

Row = Mapping[str, Any]
_NEVER = float("-inf")  # the score of a sample without a token
RULES: dict[str, Callable[[Row], float]] = {
    "mean log-probability": lambda row: row["mean_log_prob"] if row["num_tokens"] else _NEVER,
    "sum of log-probabilities": lambda row: (
        row["mean_log_prob"] * row["num_tokens"] if row["num_tokens"] else _NEVER
    ),
}
BACK_TRANSLATION = "back-translation"  # log P(docstring | sample), where a sampler can score
ORACLE, RANDOM = "oracle", "random"


def chosen_rate(scores: Sequence[float], passed: Sequence[bool], k: int) -> float:
    """How likely the best-scored of k of the samples, drawn without replacement, is right.

    With the samples in falling order of score, the one at place i (from 0) is the best of C(n-1-i, k-1) of the C(n, k)
    subsets. Equal scores are decided by lot: each place of a tie holds the tie's share of right samples.
    """
    n = len(scores)
    shares: list[float] = []
    for _, group in groupby(
        sorted(zip(scores, passed, strict=True), key=lambda p: -p[0]), key=lambda p: p[0]
    ):
        right = [one for _, one in group]
        shares += [sum(right) / len(right)] * len(right)
    return sum(share * comb(n - 1 - i, k - 1) for i, share in enumerate(shares)) / comb(n, k)


def rank(rows: Sequence[Row], ks: Sequence[int]) -> list[dict[str, Any]]:
    """For each k and rule: the share of problems solved, its interval, and the gain over a random choice with its own.

    Args:
        rows: judged samples of one temperature; those without log-probabilities give no ranking rule.
        ks: sizes of the choice; problems with fewer samples are left out.
    """
    problems: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        problems[row["task_id"]].append(row)
    found = []
    for k in ks:
        enough = [group for group in problems.values() if len(group) >= k]
        if not enough:
            continue
        passed = [[bool(row["passed"]) for row in group] for group in enough]
        chance = [pass_at_k(len(p), sum(p), 1) for p in passed]
        values = {RANDOM: chance, ORACLE: [pass_at_k(len(p), sum(p), k) for p in passed]}
        for name, score in _rules_for(rows).items():
            values[name] = [
                chosen_rate([score(row) for row in group], p, k)
                for group, p in zip(enough, passed, strict=True)
            ]
        for name, rates in values.items():
            value, low, high = rate_over_problems(rates)
            gain = mean_over_problems([a - b for a, b in zip(rates, chance, strict=True)])
            found.append(
                {"k": k, "rule": name, "value": value, "low": low, "high": high, "n": len(rates)}
                | dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True))
            )
    return found


def _rules_for(rows: Sequence[Row]) -> dict[str, Callable[[Row], float]]:
    """The rules that the rows have the figures for."""
    rules = {}
    if all(
        row["num_tokens"] == 0 or (row["num_tokens"] and row["mean_log_prob"] is not None) for row in rows
    ):
        rules |= RULES
    if any(row.get("back_translation") is not None for row in rows):
        # A problem without a docstring, as one of HumanEval's is for this rule, has equal scores: decided by lot.
        rules[BACK_TRANSLATION] = lambda row: row.get("back_translation", 0.0)
    return rules
