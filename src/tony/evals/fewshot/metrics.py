"""How a written answer is compared with the right ones."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from tony.errors import TonyError


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


def bleu(answers: Sequence[str], accepted: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """Corpus BLEU by sacrebleu, 0 to 100, and its 95% bootstrap interval over sentences.

    Raises:
        TonyError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise TonyError("BLEU needs sacrebleu: pip install 'tony-omni[eval]'") from None
    most = max(len(texts) for texts in accepted)
    references = [
        [(texts[i] if i < len(texts) else texts[0]).strip() for texts in accepted] for i in range(most)
    ]
    found = [answer.strip() for answer in answers]
    metric = BLEU(references=references)
    score = metric.corpus_score(found, None, n_bootstrap=1000)
    middle, half = score._mean, score._ci
    return float(score.score), float(middle - half), float(middle + half)


METRICS = {"exact_match": exact_match, "f1": f1}
