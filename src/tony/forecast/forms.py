"""The forms that a scaling law can have, all of one kind: a sum of terms, each a coefficient times powers.

    L = sum_k exp(t_k),     t_k = log coefficient - sum_j exponent_j log x_j,     log L = logsumexp_k t_k

Every t_k is linear in the parameters (logs of coefficients, and exponents), so a form is a design array (rows, terms,
parameters) and one solver fits them all (Hoffmann et al. 2022, appendix D.3: terms stay positive, residuals are in log L).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tony.errors import TonyError

VARIABLES = ("N", "D", "C")


@dataclass(frozen=True)
class Term:
    """One term: the parameter that is the log of its coefficient, and (variable, parameter) for each exponent."""

    coefficient: int
    powers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Form:
    """A law's shape.

    Attributes:
        name: how it is asked for.
        formula: how it is written.
        parameters: names of the parameters, in order; `log X` is the log of the positive constant X.
        terms: the sum.
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    terms: tuple[Term, ...]

    @property
    def variables(self) -> tuple[str, ...]:
        used = {variable for term in self.terms for variable, _ in term.powers}
        return tuple(v for v in VARIABLES if v in used)

    @property
    def has_constant(self) -> bool:
        """Whether there is an irreducible loss."""
        return any(not term.powers for term in self.terms)

    @property
    def exponents(self) -> tuple[int, ...]:
        return tuple(sorted({p for term in self.terms for _, p in term.powers}))

    def design(self, logs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The array X (rows, terms, parameters) with t = X theta, for log x of each variable, arrays (rows,)."""
        rows = len(next(iter(logs.values())))
        design = np.zeros((rows, len(self.terms), len(self.parameters)))
        for k, term in enumerate(self.terms):
            design[:, k, term.coefficient] = 1.0
            for variable, parameter in term.powers:
                design[:, k, parameter] -= logs[variable]
        return design

    def shift(self, centres: Mapping[str, float]) -> np.ndarray:
        """The matrix (parameters, parameters) that carries theta to where log x is measured from `centres`.

        Coefficients then are terms at the centre of the data, hardly correlated with the exponents.
        """
        matrix = np.eye(len(self.parameters))
        for term in self.terms:
            for variable, parameter in term.powers:
                matrix[term.coefficient, parameter] -= centres[variable]
        return matrix

    def constants(self, theta: np.ndarray) -> dict[str, float]:
        """The parameters by name, logs undone; for a single power also x0 of (x0 / x)^alpha, the paper's notation."""
        values = {}
        for name, value in zip(self.parameters, theta, strict=True):
            with np.errstate(over="ignore"):  # of a resample that ran away
                values[name.removeprefix("log ")] = float(np.exp(value) if name.startswith("log ") else value)
        if self.name.startswith("power"):
            variable = self.variables[0]
            log_coefficient, exponent = theta[self.parameters.index("log A")], values["alpha"]
            with np.errstate(all="ignore"):
                values[f"{variable}0"] = float(np.exp(np.divide(log_coefficient, exponent)))
        if self.name == "overtraining":
            # Gadre et al. 2024: L = E + alpha N^q + beta 6^(q/2) (M N)^q with M = D / N and q = -2 eta.
            q = -values["p"]
            values |= {
                "alpha": values["A"], "beta": values["B"] * 6 ** (-q / 2), "q": q, "eta": -q / 2,
            }  # fmt: skip
        return values


def _power(variable: str, constant: bool) -> Form:
    name = f"power+constant:{variable}" if constant else f"power:{variable}"
    formula = f"{'E + ' if constant else ''}A / {variable}^alpha"
    if not constant:
        return Form(name, f"L = {formula}", ("log A", "alpha"), (Term(0, ((variable, 1),)),))
    return Form(name, f"L = {formula}", ("log E", "log A", "alpha"), (Term(0), Term(1, ((variable, 2),))))


JOINT = Form(
    "joint",
    "L = E + A / N^a + B / D^b",
    ("log E", "log A", "a", "log B", "b"),
    (Term(0), Term(1, (("N", 2),)), Term(3, (("D", 4),))),
)
OVERTRAINING = Form(
    "overtraining",
    "L = E + A / N^p + B / D^p   (= E + (a M^eta + b M^-eta) C^-eta, p = 2 eta, M = D / N)",
    ("log E", "log A", "p", "log B"),
    (Term(0), Term(1, (("N", 2),)), Term(3, (("D", 2),))),
)
FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        *(_power(v, constant) for v in VARIABLES for constant in (True, False)),
        JOINT,
        OVERTRAINING,
    )
}


def form_named(name: str) -> Form:
    """The form called `name`.

    Raises:
        TonyError: there is none.
    """
    if name not in FORMS:
        raise TonyError(f"form {name!r} is not known. Known: {', '.join(FORMS)}, and auto to choose one")
    return FORMS[name]
