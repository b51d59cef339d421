"""How well people told a model's texts from real ones, beside how well they told the control's.

Accuracy of a participant is right answers over answers that are not "I don't know"; what is reported is its mean over
participants with the interval of Student's t, as in GPT-3's section 3.9.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tony.atomic import write_json
from tony.errors import TonyError
from tony.evals.intervals import student, wilson
from tony.evals.quiz.answers import Answer
from tony.runs.run import commit_hash

GUESSING = 0.5


def accuracy(answers: Sequence[Answer]) -> float | None:
    """Right answers over answers that are not "I don't know"; None where there are none."""
    verdicts = _verdicts(answers)
    return sum(verdicts) / len(verdicts) if verdicts else None


def _verdicts(answers: Sequence[Answer]) -> list[bool]:
    return [answer.is_right for answer in answers if answer.is_right is not None]


def score(by_participant: dict[int, list[Answer]], num_items: int) -> dict[str, Any]:
    """The results of a quiz of `num_items` items.

    Whoever has not finished does not count. Whoever is right on half of the control's texts or fewer did not read, and
    does not count for the model. For the control, and for the difference of the two, everybody counts who finished:
    to leave out by the control's own score would raise it.
    """
    hands = {
        number: {arm: [a for a in answers if a.arm == arm] for arm in ("model", "control")}
        for number, answers in by_participant.items()
        if len(answers) == num_items
    }
    participants = []
    for number, arms in hands.items():
        model, control = accuracy(arms["model"]), accuracy(arms["control"])
        passed = control is not None and control > GUESSING
        participants.append({"number": number, "model": model, "control": control, "excluded": not passed})
    counted = [hands[p["number"]]["model"] for p in participants if not p["excluded"]]
    everybody = [arms["control"] for arms in hands.values()]
    return {
        "results": [_row("model", counted), _row("control", everybody)],
        "difference": _difference(participants),
        "excluded": sum(p["excluded"] for p in participants),
        "unfinished": len(by_participant) - len(hands),
        "participants": participants,
    }


def _row(arm: str, hands: Sequence[Sequence[Answer]]) -> dict[str, Any]:
    """Mean accuracy over participants; over the answers where there is one participant. `unknown` is the share of "I
    don't know" in all answers."""
    values = [value for hand in hands if (value := accuracy(hand)) is not None]
    value = low = high = None
    if values:
        value = sum(values) / len(values)
        if len(values) > 1:
            low, high = (min(1.0, max(0.0, bound)) for bound in student(values))
        else:
            low, high = wilson(value, sum(len(_verdicts(hand)) for hand in hands))
    answers = [answer for hand in hands for answer in hand]
    unknown = sum(answer.is_right is None for answer in answers) / len(answers) if answers else None
    return {
        "name": arm, "metric": "accuracy", "value": value, "low": low, "high": high, "n": len(values), "unknown": unknown
    }  # fmt: skip


def _difference(participants: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """By how much the control is told more often than the model, paired by participant; None for fewer than two of them,
    or where all differ by the same."""
    from scipy.stats import ttest_1samp

    pairs = [(p["control"], p["model"]) for p in participants if None not in (p["control"], p["model"])]
    differences = [control - model for control, model in pairs]
    if len(set(differences)) < 2:
        return None
    low, high = student(differences)
    test = ttest_1samp(differences, 0.0)
    mean = sum(differences) / len(differences)
    return {
        "value": mean, "low": low, "high": high, "n": len(pairs), "t": float(test.statistic), "p": float(test.pvalue)
    }  # fmt: skip


def write_score(
    folder: Path, head: dict[str, Any], by_participant: dict[int, list[Answer]]
) -> dict[str, Any]:
    """The results of the quiz whose items begin with `head`, written to quiz.json of `folder`.

    Raises:
        TonyError: nobody has finished, or the file cannot be written.
    """
    found = score(by_participant, head["items"])
    if not found["participants"]:
        begun = f" ({found['unfinished']} began)" if found["unfinished"] else ""
        raise TonyError(
            f"{folder}: nobody has finished the quiz yet{begun}. Open its page: tony eval MODEL quiz"
        )
    result = {
        "suite": "quiz",
        "model": head["model"],
        "control": head["control"],
        "commit": commit_hash(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": head["settings"] | {"items": head["items"], "texts": head["texts"]},
        **found,
        "samples": "quiz.jsonl",
    }
    write_json(folder / "quiz.json", result)
    return result
