"""The laws of Henighan et al. 2020 (arXiv 2010.14701, tables 1 and 3) as data, to stand beside one's own.

L(x) = E + (x0 / x)^alpha in nats a token; N without embeddings; C = 6 N D, which the paper gives in PF-days and this
module in FLOP. What the paper leaves open is None.
"""

from __future__ import annotations

from dataclasses import dataclass

from tony.forecast.table import PF_DAY
from tony.runs import Recipe


@dataclass(frozen=True)
class Power:
    """E + (scale / x)^alpha."""

    irreducible: float
    scale: float
    alpha: float

    def at(self, x: float) -> float:
        """The loss in nats a token."""
        return self.irreducible + (self.scale / x) ** self.alpha


@dataclass(frozen=True)
class Sizes:
    """N_opt = (C / scale)^beta, C in FLOP."""

    scale: float
    beta: float

    def at(self, flops: float) -> float:
        """Parameters."""
        return (flops / self.scale) ** self.beta


@dataclass(frozen=True)
class Domain:
    """One row of table 1; `tokens` of a picture, where the domain is pictures."""

    size: Power
    compute: Power | None
    optimum: Sizes | None
    tokens: int | None = None


def _row(
    size: tuple[float, float, float],
    compute: tuple[float, float, float] | None = None,
    optimum: tuple[float, float] | None = None,
    tokens: int | None = None,
) -> Domain:
    """A row as it is printed, with C in PF-days."""
    return Domain(
        Power(*size),
        compute and Power(compute[0], compute[1] * PF_DAY, compute[2]),
        optimum and Sizes(optimum[0] * PF_DAY, optimum[1]),
        tokens,
    )


# L(N) and L(C) as (E, x0, alpha), N_opt as (C0, beta). Language: L(N) and L(C) from Brown et al. 2020, N_opt from Kaplan
# et al. 2020. The L(C) of the two multimodal rows of image tokens is that of text and picture together.
PAPER: dict[str, Domain] = {
    "language": _row((0.0, 1.47e14, 0.070), (0.0, 3.47e8, 0.048), (3.3e-13, 0.73)),
    "image 8x8": _row((3.12, 8.0e1, 0.24), (3.13, 1.8e-8, 0.19), (5.3e-14, 0.64), 192),
    "image 16x16": _row((2.64, 2.8e2, 0.22), (2.64, 1.6e-8, 0.16), (4.8e-12, 0.75), 768),
    "image 32x32": _row((2.20, 6.3e1, 0.13), (2.21, 3.6e-9, 0.10), (1.6e-13, 0.65), 3072),
    "image VQ 16x16": _row((3.99, 2.7e4, 0.13), (4.09, 6.1e-7, 0.11), (6.2e-14, 0.64), 256),
    "image VQ 32x32": _row((3.07, 1.9e4, 0.14), (3.17, 2.6e-6, 0.12), (9.4e-13, 0.70), 1024),
    "text->image, text": _row((0.0, 5.6e8, 0.037)),
    "text->image, image": _row((2.0, 5.1e3, 0.16), (1.93, 1.5e-6, 0.15), (9.4e-13, 0.70), 3072),
    "image->text, text": _row((0.0, 7.0e8, 0.039)),
    "image->text, image": _row((2.0, 5.5e3, 0.15), (1.97, 1.5e-6, 0.16), (3.3e-12, 0.72), 3072),
    "video": _row((1.01, 3.7e4, 0.24), (0.95, 2.2e-5, 0.14), (1.13e-12, 0.71)),
    "mathematics": _row((0.28, 1.1e4, 0.16), (0.14, 1.4e-5, 0.17), (2.3e-12, 0.69)),
}

# Best width / depth: about 5 for pictures and mathematics, about 100 for language (section 3 and Kaplan et al. 2020).
ASPECT = {"image": 5.0, "mathematics": 5.0, "language": 100.0}


def paper_domain(recipe: Recipe) -> str | None:
    """The row of `PAPER` that is nearest to a recipe's data, or None.

    Pictures by their side (codes of an autoencoder by that of their grid), pairs by which comes first (their pictures' row,
    which has the L(C) of both), text and code as language.
    """
    data, image = recipe.data, recipe.vocabulary.image
    if data.kind == "mathematics":
        return "mathematics"
    if data.kind in ("dictionary", "code"):
        return "language"
    if data.kind == "clips":
        return "video"
    if data.kind == "pairs":
        return f"{data.direction}, image"
    if data.kind != "pictures" or image is None:
        return None
    side = image.side
    if image.kind == "patches":
        from tony.tokens.patches import PatchConfig

        side //= PatchConfig(side=side).patch
    name = f"image {'VQ ' if image.kind == 'patches' else ''}{side}x{side}"
    return name if name in PAPER else None


def of_modality(name: str | None, modality: str) -> str | None:
    """The row of one modality of pairs, from that of their pictures."""
    found = f"{name.split(',')[0]}, {modality}" if name else ""
    return found if found in PAPER else None
