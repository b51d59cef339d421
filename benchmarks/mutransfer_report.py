"""What benchmarks/mutransfer.py found, as a page with pictures: docs/mutransfer-measured.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from tables import markdown

from tony.tune import Curve
from tony.tune.figures import LOOK, draw_rates

PAGE = "mutransfer-measured.md"
TITLES = {
    "fashion": "ResNet on Fashion-MNIST, SGD with momentum",
    "digits": "ResNet on scikit-learn's digits, SGD with momentum",
}
Figures = Mapping[str, Any]


def write_page(
    folder: Path, found: Mapping[str, Figures], curves: Mapping[str, Mapping[str, Sequence[Curve]]]
) -> None:
    """Write the page and its pictures into `folder`.

    found: figures by part, as the benchmark prints them.   curves: of every sweep that was run.
    """
    sections = [
        "# muTransfer: measured",
        "Written by `benchmarks/mutransfer.py --docs docs`, which says how the runs are made. Learning rates lie a factor 2 apart; the best one is "
        "the vertex of a parabola around the least loss, with a 95% interval (parametric bootstrap over seeds). Rings mark it, crosses "
        "are runs that diverged, the shade is the range of the seeds.",
    ]  # fmt: skip
    figures = {**found, **found.get("resnet", {})}
    for name, pair in curves.items():
        sections += _sweep(folder, name, figures[name], pair)
        if name == "width":
            sections += _wider(figures[name])
        if name == "width" and "reverse" in found:
            sections += _reverse(found["reverse"])
    if "embedding" in found:
        sections += _embedding(found["embedding"])
    if "cost" in found:
        sections += _cost(found["cost"])
    (folder / PAGE).write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _sweep(folder: Path, name: str, figures: Figures, curves: Mapping[str, Sequence[Curve]]) -> list[str]:
    sizes = [curve.size for curve in curves["muP"]]
    picture = f"mutransfer-{name}.png"
    with rc_context({**LOOK, "figure.facecolor": "white"}):
        drawn = Figure(figsize=(9.6, 4.2), layout="constrained")
        draw_rates(curves, drawn.subplots(1, 2, sharex=True, sharey=True))
        lines, labels = drawn.axes[0].get_legend_handles_labels()
        drawn.legend(
            lines, labels, title=figures["over"], loc="outside right upper", fontsize=9, title_fontsize=9
        )
        drawn.savefig(folder / picture, dpi=110, metadata={"Software": None})
    mine, plain = figures["muP"], figures["standard"]
    rows = [
        (size, _rate(mine["log2_lr"][size]), _rate(plain["log2_lr"][size]), f"{mine['least_loss'][size]:.4f}",
         f"{plain['least_loss'][size]:.4f}")
        for size in mine["log2_lr"]
    ]  # fmt: skip
    head = (
        figures["over"],
        "best rate, muP",
        "best rate, standard",
        "least loss, muP",
        "least loss, standard",
    )
    error = "" if mine["regret_error"] is None else f" (standard error {100 * mine['regret_error']:.2f}%)"
    return [
        f"## {TITLES.get(name, 'Transformer')}, {figures['over']} {sizes[0]} to {sizes[-1]}",
        f"![Loss against learning rate, muP and standard]({picture})",
        markdown(head, rows),
        f"The best rate drifts by a factor of {_factor(mine['drift_log2'])} under muP, {_factor(plain['drift_log2'])} under the standard "
        f"parametrisation. The largest model loses {_percent(mine['regret'])}{error} with the smallest one's rate under muP, "
        f"{_percent(plain['regret'])} under standard.",
    ]  # fmt: skip


def _wider(figures: Figures) -> list[str]:
    wider = figures["wider_is_better"]
    pairs = ", ".join(f"{100 * share:.0f}% ({pair})" for pair, share in wider["pairs"].items())
    return [
        f"Wider is better at {100 * wider['share']:.1f}% of the points after warm-up, at 2^{wider['log2_lr']:g}, mean over {wider['seeds']} seeds: {pairs}."
    ]


def _reverse(figures: Figures) -> list[str]:
    names = {"wide": "standard, wide", "copy": "muP with the wide base, narrow", "narrow": "standard, narrow"}
    rows = [
        (label, f"2^{figures['log2_lr'][name]:.2f}",
         "none tried" if (first := figures["first_unstable_log2_lr"][name]) is None else f"2^{first:g}")
        for name, label in names.items()
    ]  # fmt: skip
    return [
        "## Reverse transfer",
        "A narrow model whose base is the wide one behaves like the wide one under the standard parametrisation, at a small part of its "
        "cost. Unstable: above the best rate, and 1.25 times the least loss of its curve.",
        markdown(("model", "best rate", "first unstable rate"), rows),
    ]  # fmt: skip


def _embedding(figures: Figures) -> list[str]:
    widths = list(figures["all"]["widths"])

    def best(at: Figures) -> str:
        return f"2^{at['log2_factor']:.2f}" + ("" if at["is_interior"] else " (edge)")

    rows = [
        (name, *(best(figures[name]["widths"][width]) for width in widths), f"{figures[name]['slope']:+.2f}",
         f"{100 * figures[name]['constant_over_falling']:+.2f}%")
        for name in ("all", "text", "image", "audio")
    ]  # fmt: skip
    head = ("loss of", *(f"width {width}" for width in widths), "slope", "constant against falling")
    return [
        "## The embeddings' own learning rate",
        "Best factor on the embeddings' learning rate beside that of all else, by width, and its slope in log2: a constant rule says 0, "
        "1/sqrt(width) says -0.5. Last: the loss of the widest model if the narrowest one's factor is kept, against dividing it by "
        "sqrt(width).",
        markdown(head, rows),
        f"Nearer to {figures['nearer_to']}.",
    ]  # fmt: skip


def _cost(figures: Figures) -> list[str]:
    rows = [
        (index, *(f"{value:.4g}" for value in point.values()), *(_loss(figures["losses"][side][index]) for side in ("proxy", "target")))
        for index, point in enumerate(figures["points"])
    ]  # fmt: skip
    return [
        "## What tuning costs",
        f"{figures['trials']} random trials at the proxy ({figures['parameters'][0]:,} parameters without embeddings, {figures['tokens'][0]:,} ids "
        f"each), and the same at the target ({figures['parameters'][1]:,}, {figures['tokens'][1]:,}). The search costs "
        f"{_percent(figures['cost_share'])} of training the target. The target's loss with the proxy's choice is "
        f"{figures['loss_transferred']:.4f}, with its own best {figures['loss_tuned_directly']:.4f}: {_percent(figures['regret'])} lost.",
        markdown(("trial", *figures["points"][0], "loss of the proxy", "loss of the target"), rows),
    ]  # fmt: skip


def _rate(at: Figures) -> str:
    known = "" if at["low"] is None else f" ({at['low']:.2f} to {at['high']:.2f})"
    return f"2^{at['value']:.2f}{known}"


def _factor(spread: Figures) -> str:
    known = "" if spread["low"] is None else f" ({2 ** spread['low']:.2f} to {2 ** spread['high']:.2f})"
    return f"{2 ** spread['value']:.2f}{known}"


def _percent(share: float | None) -> str:
    return "everything (diverged)" if share is None else f"{100 * share:.2f}%"


def _loss(loss: float) -> str:
    return "diverged" if loss == float("inf") else f"{loss:.4f}"
