"""The contract of an evaluation: examples, how they are asked, how answers are scored; numbers with intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """A measured share.

    Attributes:
        name: what was measured.
        metric: of what kind the value is.
        value: right answers over questions.
        low, high: the 95% Wilson interval of the value.
        n: questions.
    """

    name: str
    metric: str
    value: float
    low: float
    high: float
    n: int

    @classmethod
    def share(cls, name: str, right: int, n: int, metric: str = "accuracy") -> Result:
        """`right` of `n`, with its Wilson (1927) interval."""
        from scipy.stats import binomtest

        interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
        return cls(name, metric, right / n, float(interval.low), float(interval.high), n)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_cell(self) -> dict[str, Any]:
        """The short form of the any-to-any table."""
        return {"accuracy": self.value, "low": self.low, "high": self.high, "n": self.n}
