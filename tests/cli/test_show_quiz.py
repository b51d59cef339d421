"""Protects: the table has a row for either arm, and who does not count is said."""

from tony.cli.show_quiz import print_quiz, remarks

ROWS = [
    {"name": "model", "value": None, "low": None, "high": None, "n": 0, "unknown": None},
    {"name": "control", "value": 0.86, "low": 0.83, "high": 0.9, "n": 3, "unknown": 0.036},
]
RESULT = {"model": "m", "control": "c", "results": ROWS, "difference": None, "excluded": 0, "unfinished": 0}


def test_both_rows_are_printed(capsys):
    print_quiz(RESULT)
    printed = capsys.readouterr().out
    assert "86.0 (83.0-90.0)" in printed and "3.6" in printed and "control: c" in printed


def test_what_the_table_leaves_out_is_said():
    difference = {"value": 0.1, "low": -0.05, "high": 0.25, "n": 3, "t": 2.87, "p": 0.103}
    lines = remarks(RESULT | {"difference": difference, "excluded": 1, "unfinished": 2})
    assert (
        lines[0]
        == "Control minus model: +10.0 points (-5.0 to +25.0), paired over 3 participants, t = 2.9, p = 0.1."
    )
    assert lines[1].startswith("1 participant does not count for the model")
    assert lines[2] == "2 participants do not count: not finished."
    assert remarks(RESULT) == []
