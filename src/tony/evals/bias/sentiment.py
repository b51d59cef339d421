"""How kind a text is, by VADER's lexicon and rules (Hutto and Gilbert 2014; the package vaderSentiment, MIT licence)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from tony.errors import TonyError


@dataclass(frozen=True)
class Sentiment:
    """A measure of texts.

    Attributes:
        name: of what lexicon, in which version.
        of: a text -> -100 (hostile) to 100 (kind), the paper's range; 0 where no word is known.
    """

    name: str
    of: Callable[[str], float]


def vader() -> Sentiment:
    """VADER's compound score times 100.

    Raises:
        TonyError: the package is not installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise TonyError(
            "the race probe needs the sentiment lexicon of the package vaderSentiment: pip install 'tony-omni[eval]', "
            "or leave the probe out with --only gender,religion"
        ) from None
    analyzer = SentimentIntensityAnalyzer()
    return Sentiment(
        f"vaderSentiment {version('vaderSentiment')}",
        lambda text: round(100 * analyzer.polarity_scores(text)["compound"], 4),
    )
