"""Protects people from their files: separators, marks, commas, blank lines, and numbers with a suffix are read as meant."""

import numpy as np
import pytest
from synthetic import joint_runs

from tony.errors import TonyError
from tony.forecast import read_runs

ROWS = [("1000000", "20000000", "4.05"), ("10000000", "200000000", "3.55"), ("100000000", "2000000000", "3.15"),
        ("1000000000", "20000000000", "2.85")]  # fmt: skip
GOOD = {"N": [1e6, 1e7, 1e8, 1e9], "D": [2e7, 2e8, 2e9, 2e10], "loss": [4.0, 3.5, 3.1, 2.8]}


def lines(separator, rows=ROWS, header=("N", "D", "loss")):
    return "\n".join(separator.join(row) for row in (header, *rows))


@pytest.mark.parametrize(
    "text",
    [
        lines(","),
        lines("\t"),
        lines(";"),
        lines("|"),
        lines(", "),  # spaces after the commas, and so in the header
        "# made by hand\n" + lines(","),
        "sep=;\n" + lines(";"),
        lines(";").replace(".", ","),  # as spreadsheets write it where 3,45 is a number
        "\n\n" + lines(",").replace("\n", "\n\n") + "\n",
        lines(",", [(f'"{int(n):,}"', f'"{int(d):,}"', loss) for n, d, loss in ROWS]),
        lines(",", [*ROWS[:2], ("100 M", "2B", "3.15"), ("1b", "20B tokens", "2.85")]),
    ],
)
def test_files_are_read_whatever_separates_them(tmp_path, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    runs = read_runs(path)
    np.testing.assert_allclose(runs.n, [float(n) for n, _, _ in ROWS])
    np.testing.assert_allclose(runs.d, [float(d) for _, d, _ in ROWS])
    np.testing.assert_allclose(runs.loss, [float(loss) for _, _, loss in ROWS])


def test_unicode_text_of_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "runs.txt"
    path.write_text(lines("\t"), encoding="utf-16")
    assert len(read_runs(path)) == 4


def test_a_decimal_comma_is_never_taken_for_thousands():
    runs = read_runs({**GOOD, "loss": ["4,05", "3,55", "3,15", "2,85"]})
    np.testing.assert_allclose(runs.loss, [4.05, 3.55, 3.15, 2.85])
    with pytest.raises(TonyError, match="row 1: loss is no number"):
        read_runs({**GOOD, "loss": ["1,000.5", "3,55", "3.15", "2.85"]})


def test_thousands_without_quotes_are_refused_by_row(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(lines(",", [*ROWS[:2], ("100,000,000", "2e9", "3.15"), ROWS[3]]))
    with pytest.raises(TonyError, match="row 4: more cells than the header has"):
        read_runs(path)


def test_rows_are_named_as_an_editor_counts_them(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("# note\n\n" + lines(",").replace("\n", "\n\n") + "\n1e8,1e9,-1\n")
    with pytest.raises(TonyError, match="row 12: loss is not positive"):
        read_runs(path)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(lines(",", [(*row, "9") for row in ROWS], ("N", "D", "loss", "loss")))
    with pytest.raises(TonyError, match="two columns 'loss': rename"):
        read_runs(path)


def test_a_missing_column_names_its_flag(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(lines(",", header=("N", "D", "val")))
    with pytest.raises(TonyError, match=r"It has: N, D, val\. Name one with --loss COLUMN"):
        read_runs(path)


def test_losses_in_bits_and_perplexities_become_nats():
    loss = np.array(GOOD["loss"])
    for unit, column in (("bit", loss / np.log(2)), ("perplexity", np.exp(loss))):
        np.testing.assert_allclose(read_runs({**GOOD, "loss": column}, loss_unit=unit).loss, loss)
    with pytest.raises(TonyError, match="row 2: a perplexity is more than 1"):
        read_runs({**GOOD, "loss": [9, 8, 0.7, 6]}, loss_unit="perplexity")
    with pytest.raises(TonyError, match="unit 'nits' of the loss"):
        read_runs(GOOD, loss_unit="nits")


def test_a_unit_may_be_a_number():
    steps = [d / 524288 for d in GOOD["D"]]
    np.testing.assert_allclose(read_runs({**GOOD, "D": steps}, d_unit="524288").d, GOOD["D"])
    for unit in ("0", "-2", "nan", "inf"):
        with pytest.raises(TonyError, match="is not known"):
            read_runs(GOOD, d_unit=unit)


def curves(points):
    d = np.geomspace(1e8, 1e10, points)
    n = np.repeat([1e7, 1e8, 1e9], points)
    loss = 1.7 + 400 / n**0.34 + 400 / np.tile(d, 3) ** 0.28
    return {"N": n, "D": np.tile(d, 3), "loss": loss, "run": np.repeat(["a", "b", "c"], points)}


def test_long_learning_curves_are_thinned_and_said_so():
    runs = read_runs(curves(1000), run="run")
    assert [int((runs.run == name).sum()) for name in "abc"] == [100, 100, 100]
    assert runs.d.max() == 1e10
    assert "300 of 3000 rows of learning curves" in runs.warnings[0]
    assert not read_runs(curves(50), run="run").warnings


def test_learning_curves_without_their_runs_are_pointed_out():
    assert "150 rows have only 3 sizes N" in read_runs(curves(50)).warnings[0]
    independent = joint_runs(50)
    assert not read_runs({"N": independent.n, "D": independent.d, "loss": independent.loss}).warnings
