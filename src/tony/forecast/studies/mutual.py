"""The information that a model has of captions and pictures, in nats an example (Henighan et al. 2020, section 5).

    text->image    I = L_image(blank caption) - L_image(caption)
    image->text    I = L_text(blank picture)  - L_text(picture)         L: sums over an example, not means over its ids

Both losses are of one example, so that what makes an example hard cancels: errors are those of paired differences.

Each loss exceeds its entropy by what the model lacks, so the difference exceeds the information where a model lacks more after a
blank; it can even exceed the entropy of the captions. What holds in any case is beside it, `at_least`,

    E[ log q(caption | picture) - log p(caption) ] = I - E[ KL(p(caption | picture) || q(caption | picture)) ] <= I

(Barber and Agakov 2003), where q is the model itself (image->text), or Bayes' rule with the model's p(picture | caption) over all
captions that there are (text->image); no blank has a part in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from tony.data.pairs import blanked
from tony.media import Document, Text
from tony.model import Segments
from tony.tokens.vocabulary import MODALITIES, Tokens
from tony.train.loop import Trainer

TOGETHER = 64  # examples that are measured in one pass
ASKED = 48  # pictures before which all captions are tried (text->image)


@dataclass(frozen=True)
class Measured:
    """Information in nats an example and infogain (without unit), with standard errors, and what they are made of.

    Attributes:
        text: nats of a whole text of which nothing is known, the denominator of infogain.
        at_least: nats an example that the true information has at least, by this model.
    """

    information: float
    information_error: float
    infogain: float
    infogain_error: float
    text: float
    at_least: float
    at_least_error: float

    @classmethod
    def of(cls, blank: np.ndarray, given: np.ndarray, text: np.ndarray, told: np.ndarray) -> Measured:
        """Of nats (n,) of n examples: of what comes second without and with what comes first, and of the text alone.

        `told` (m,) are log q(caption | picture) - log p(caption) of some examples.

        The error of the ratio of two means is that of its residuals (Cochran 1977, Sampling Techniques, section 2.11).
        """
        gained = blank - given
        gain = float(gained.mean() / text.mean())
        root = float(np.sqrt(len(gained)))
        return cls(
            information=float(gained.mean()),
            information_error=float(gained.std(ddof=1)) / root,
            infogain=gain,
            infogain_error=float((gained - gain * text).std(ddof=1) / text.mean()) / root,
            text=float(text.mean()),
            at_least=float(told.mean()),
            at_least_error=float(told.std(ddof=1) / np.sqrt(len(told))),
        )


@torch.no_grad()
def nats_of(trainer: Trainer, documents: Sequence[Tokens]) -> np.ndarray:
    """The nats (n, modalities) that the counted ids of each document take in all, in float32."""
    kinds_of_all, found = len(MODALITIES), []
    for first in range(0, len(documents), TOGETHER):
        part = documents[first : first + TOGETHER]
        longest = max(map(len, part))
        ids, counted = np.zeros((len(part), longest), np.int64), np.zeros((len(part), longest), bool)
        for row, tokens in enumerate(part):
            ids[row, : len(tokens)], counted[row, : len(tokens)] = tokens.ids, tokens.counted
        # A document's first id is never counted, so the place before a counted one is in the same row.
        places = torch.from_numpy(np.flatnonzero(counted.reshape(-1)[1:]))
        targets = torch.from_numpy(ids.reshape(-1))[places + 1].to(trainer.device)
        segments = Segments.from_lengths([[len(tokens)] for tokens in part], longest).to(trainer.device)
        states = trainer.model.trunk(torch.from_numpy(ids).to(trainer.device), segments)
        logits = trainer.model.readout(states.index_select(0, places.to(trainer.device)))
        nats = F.cross_entropy(logits.float(), targets, reduction="none").double()
        cells = (places // longest).to(trainer.device) * kinds_of_all + trainer.kinds[targets]
        sums = torch.bincount(cells, nats, minlength=len(part) * kinds_of_all)
        found.append(sums.view(len(part), kinds_of_all).cpu().numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class Captions:
    """The captions that there are, and their probabilities (captions,) as a sample of them says."""

    texts: list[str]
    probabilities: np.ndarray

    @classmethod
    def of(cls, sample: Iterable[str]) -> Captions:
        counts = Counter(sample)
        values = np.array(list(counts.values()), float)
        return cls(list(counts), values / values.sum())

    def entropy(self, sampled: int) -> float:
        """In nats: that of the frequencies, and Miller and Madow's correction for a sample of so many."""
        return float(
            -(self.probabilities * np.log(self.probabilities)).sum() + (len(self.texts) - 1) / (2 * sampled)
        )


def losses(trainer: Trainer, documents: Sequence[Document]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nats (n,) of n pairs: of what comes second after a blank and after what comes first, and of the text alone."""
    encode = trainer.vocabulary.encode
    text, image = MODALITIES.index("text"), MODALITIES.index("image")
    given = nats_of(trainer, [encode(document) for document in documents])
    blank = nats_of(trainer, [encode(blanked(document)) for document in documents])
    if isinstance(documents[0].parts[0], Text):
        return blank[:, image], given[:, image], given[:, text]
    return blank[:, text], given[:, text], blank[:, text]


def told(trainer: Trainer, documents: Sequence[Document], captions: Captions) -> np.ndarray:
    """log q(caption | picture) - log p(caption) (m,) of pairs, the first ASKED of them where Bayes' rule is needed."""
    if isinstance(documents[0].parts[0], Text):
        documents = documents[:ASKED]
        odds = np.array([_log_odds(trainer, document, captions) for document in documents])
    else:
        odds = -losses(trainer, documents)[1]
    known = dict(zip(captions.texts, np.log(captions.probabilities), strict=True))
    return odds - np.array([known[caption_of(document)] for document in documents])


def caption_of(document: Document) -> str:
    return next(part.text for part in document if isinstance(part, Text))


def _log_odds(trainer: Trainer, document: Document, captions: Captions) -> float:
    """log q(caption | picture) by Bayes' rule: of all captions before this picture, how much this one accounts for."""
    asked = [Document([Text(words), document.parts[1]]) for words in captions.texts]
    nats = nats_of(trainer, [trainer.vocabulary.encode(each) for each in asked])[:, MODALITIES.index("image")]
    joint = np.log(captions.probabilities) - nats
    return float(joint[captions.texts.index(caption_of(document))] - np.logaddexp.reduce(joint))
