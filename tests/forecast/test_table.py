"""Protects people from their own tables: bad rows are named, units that are mixed are refused, nothing is guessed."""

import numpy as np
import pandas as pd
import pytest

from tony.errors import TonyError
from tony.forecast import read_runs
from tony.forecast.table import PF_DAY

GOOD = {"N": [1e6, 1e7, 1e8, 1e9], "D": [2e7, 2e8, 2e9, 2e10], "loss": [4.0, 3.5, 3.1, 2.8]}


def table(**changes):
    return {**{k: list(v) for k, v in GOOD.items()}, **changes}


def test_compute_follows_from_size_and_data():
    runs = read_runs(GOOD)
    np.testing.assert_allclose(runs.c, 6 * np.array(GOOD["N"]) * np.array(GOOD["D"]))
    from_c = read_runs({"N": GOOD["N"], "C": runs.c.tolist(), "loss": GOOD["loss"]})
    np.testing.assert_allclose(from_c.d, GOOD["D"])


def test_csv_frame_and_mapping_are_read_alike(tmp_path):
    path = tmp_path / "runs.csv"
    pd.DataFrame(GOOD).rename(columns={"N": "params", "loss": "val"}).to_csv(path, index=False)
    from_csv = read_runs(path, n="params", loss="val")
    for other in (read_runs(pd.DataFrame(GOOD)), read_runs(GOOD)):
        np.testing.assert_allclose(from_csv.loss, other.loss)
        np.testing.assert_allclose(from_csv.n, other.n)
    assert list(from_csv.lines) == [2, 3, 4, 5]  # as an editor counts them


def test_suffixes_units_and_conditions(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss,set\n1M,20M,4,a\n10M,0.2B,3.5,a\n100M,2B,3.1,a\n1B,20B,2.8,a\n1B,20B,9,b\n")
    runs = read_runs(path, where={"set": ["a"]})
    np.testing.assert_allclose(runs.n, GOOD["N"])
    scaled = read_runs(table(N=[1, 10, 100, 1000]), n_unit="M")
    np.testing.assert_allclose(scaled.n, GOOD["N"])
    pf = read_runs({"C": [1e-3, 1e-2, 1e-1, 1], "loss": GOOD["loss"]}, c_unit="pf-day")
    assert pf.c[-1] == PF_DAY


def test_three_points_are_refused():
    with pytest.raises(TonyError, match=r"3 rows .*at least 4"):
        read_runs({name: values[:3] for name, values in GOOD.items()})


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_losses_that_are_not_positive_are_refused_by_row(value):
    with pytest.raises(TonyError, match="row 2: loss is not positive"):
        read_runs(table(loss=[4.0, 3.5, value, 2.8]))


def test_rows_without_a_number_are_left_out_by_name():
    longer = {name: [*values, values[-1] * (0.9 if name == "loss" else 2)] for name, values in GOOD.items()}
    longer["loss"][1] = float("nan")
    runs = read_runs(longer)
    assert len(runs) == 4
    assert "row 1 left out" in runs.warnings[0]


def test_duplicates_are_counted_once_by_name():
    twice = {name: [*values, values[1]] for name, values in GOOD.items()}
    runs = read_runs(twice)
    assert len(runs) == 4
    assert "duplicate rows counted once: 4 as 1" in runs.warnings[0]


def test_repeats_with_another_loss_are_no_duplicates():
    again = {name: [*values, values[1]] for name, values in GOOD.items()}
    again["loss"][-1] = 3.51
    assert len(read_runs(again)) == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"N": [1e6, 10.0, 1e8, 1e9]}, "row 1: N"),
        ({"N": ["1M", "10M", "100", "1B"]}, "row 2: N has no suffix"),
        ({"C": [1.2e14, 1.2e16, 1.2e18 / PF_DAY, 1.2e20]}, "row 2: C"),
        ({"C": [1.2e14, 1.2e16, 1.2e17, 1.2e20]}, r"row 2: C / \(6 N D\)"),
    ],
)
def test_mixed_units_are_refused_by_row(changes, named):
    with pytest.raises(TonyError, match=f"{named}.*mixed units"):
        read_runs(table(**changes))


def test_compute_in_other_units_throughout_is_pointed_out():
    c = 6 * np.array(GOOD["N"]) * np.array(GOOD["D"])
    assert "--c-unit pf-day" in read_runs(table(C=(c / PF_DAY).tolist())).warnings[0]
    assert "C is 2e+03 times" in read_runs(table(C=(2000 * c).tolist())).warnings[0]


def test_perplexities_are_pointed_out():
    assert "perplexities" in read_runs(table(loss=[54.6, 33.1, 22.2, 16.4])).warnings[0]


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        ("missing.csv", {}, "no such file"),
        (GOOD, {"n": "size"}, "no column 'size'. It has: N, D, loss"),
        (GOOD, {"where": {"N": ["7"]}}, "no row to fit where N=7"),
        (GOOD, {"n_unit": "furlong"}, "furlong"),
        ({"loss": [1, 2, 3, 4]}, {}, "none of N, D and C"),
        (table(N=["a", "b", "c", "d"]), {}, "rows 0, 1, 2, 3: N is no number"),
        (7, {}, "a CSV file, a data frame or a mapping"),
    ],
)
def test_what_cannot_be_read_is_refused(source, settings, message):
    with pytest.raises(TonyError, match=message.replace("(", r"\(")):
        read_runs(source, **settings)


def test_an_empty_csv_is_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("N,D,loss\n")
    with pytest.raises(TonyError, match="holds no row"):
        read_runs(tmp_path / "empty.csv")
