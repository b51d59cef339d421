"""Does likeness to the known solution tell right samples from wrong ones? (Chen et al. 2021, figure 8: BLEU does not)"""

from __future__ import annotations

import io
import tokenize
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tony.evals.bleu import sentence_bleu
from tony.evals.code.problems import Problem
from tony.evals.pass_at_k import mean_over_problems

_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
BINS = 20


def tokens(code: str) -> list[str]:
    """The tokens of a program as Python has them, comments left out; what cannot be read further is split at spaces."""
    found: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type not in _LAYOUT:
                found.append(token.string.strip() or tokenize.tok_name[token.type])
    except (tokenize.TokenError, SyntaxError):
        return found or code.split()
    return found


def program_bleu(code: str, reference: str) -> float:
    """BLEU (0 to 1) of one program against one reference, over Python's tokens."""
    return sentence_bleu(tokens(code), tokens(reference))


def report(rows: Sequence[Mapping[str, Any]], problems: Mapping[str, Problem]) -> dict[str, Any]:
    """Mean BLEU of right and of wrong samples, how often a right one is the likelier-looking, and how far they overlap.

    All are taken within problems that have both kinds and a known solution, then averaged over these problems. `auc` is
    the chance that of a right and a wrong sample the right one has the higher BLEU: 0.5 says that BLEU tells nothing.
    `overlap` is the shared area of the two distributions over all samples of those problems.
    """
    groups: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    known: dict[tuple[str, str], float] = {}
    for row in rows:
        reference = problems[row["task_id"]].solution
        if reference is None:
            continue
        key = row["task_id"], row["completion"]
        if key not in known:
            known[key] = program_bleu(row["completion"], reference)
        groups[row["task_id"]][bool(row["passed"])].append(known[key])
    both = [group for group in groups.values() if group[True] and group[False]]
    if not both:
        return {"results": [], "why": "no problem has both right and wrong samples: draw more"}
    rates = {
        "BLEU of right samples": [np.mean(g[True]) for g in both],
        "BLEU of wrong samples": [np.mean(g[False]) for g in both],
        "right above wrong (0.5 = chance)": [_auc(g[True], g[False]) for g in both],
    }
    results = []
    for name, values in rates.items():
        value, low, high = mean_over_problems(values)
        results.append(
            {"name": name, "metric": "BLEU", "value": value, "low": low, "high": high, "n": len(both)}
        )
    histograms = {
        name: np.histogram([x for g in both for x in g[is_right]], bins=BINS, range=(0, 1))[0]
        for name, is_right in (("right", True), ("wrong", False))
    }
    shares = [h / h.sum() for h in histograms.values()]
    return {
        "results": results,
        "overlap": float(np.minimum(*shares).sum()),
        "histograms": {name: h.tolist() for name, h in histograms.items()},
    }


def _auc(right: Sequence[float], wrong: Sequence[float]) -> float:
    a, b = np.array(right)[:, None], np.array(wrong)[None]
    return float((a > b).mean() + 0.5 * (a == b).mean())
