"""BLEU by sacrebleu (Papineni et al. 2002; Post 2018): of a corpus with its interval, and of one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tony.errors import TonyError


def _metric(**settings: Any) -> Any:
    """sacrebleu's BLEU.

    Raises:
        TonyError: sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise TonyError("BLEU needs the package sacrebleu: pip install 'tony-omni[eval]'") from None
    return BLEU(**settings)


def corpus_bleu(answers: Sequence[str], accepted: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """BLEU of all answers together, 0 to 100, and its 95% bootstrap interval over sentences.

    Args:
        answers: what was written.
        accepted: of each answer the references, one or more.

    Raises:
        TonyError: sacrebleu is not installed.
    """
    most = max(len(texts) for texts in accepted)
    references = [
        [(texts[i] if i < len(texts) else texts[0]).strip() for texts in accepted] for i in range(most)
    ]
    metric = _metric(references=references)
    score = metric.corpus_score([answer.strip() for answer in answers], None, n_bootstrap=1000)
    middle, half = score._mean, score._ci
    return float(score.score), float(middle - half), float(middle + half)


def sentence_bleu(tokens: Sequence[str], reference: Sequence[str]) -> float:
    """BLEU of one sentence that is cut into tokens already, 0 to 1, up to 4-grams; orders that it is too short for are left out.

    Raises:
        TonyError: sacrebleu is not installed.
    """
    metric = _metric(tokenize="none", effective_order=True, smooth_method="exp")
    joined = [" ".join("\\s".join(token.split()) for token in own) for own in (tokens, reference)]
    return min(1.0, metric.sentence_score(joined[0], [joined[1]]).score / 100)
