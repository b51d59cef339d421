"""How a written answer is compared with the right ones."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 where the answer is one of the accepted ones, white space around them aside."""
    return float(answer.strip() in {text.strip() for text in accepted})


def words(text: str) -> list[str]:
    """Lower-case words without punctuation and articles (the normalisation of SQuAD's official script)."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(answer: str, accepted: Sequence[str]) -> float:
    """The best harmonic mean of precision and recall of words, over the accepted answers (Rajpurkar et al. 2016)."""
    return max(_f1(words(answer), words(text)) for text in accepted)


def _f1(answer: list[str], right: list[str]) -> float:
    if not answer or not right:
        return float(answer == right)
    common = sum((Counter(answer) & Counter(right)).values())
    return 2 * common / (len(answer) + len(right))


METRICS = {"exact_match": exact_match, "f1": f1}
