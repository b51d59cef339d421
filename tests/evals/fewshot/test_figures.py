"""Protects: curves over K hold a result's own numbers, in percent but for BLEU, and can be looked at."""

from PIL import Image

from tony.evals.fewshot.figures import Line, lines_of, write_curves

ROWS = [
    {"task": "RW", "shots": 10, "metric": "exact_match", "value": 0.5, "low": 0.4, "high": 0.6},
    {"task": "RW", "shots": 0, "metric": "exact_match", "value": 0.25, "low": 0.125, "high": 0.375},
    {"task": "captions", "shots": 0, "metric": "BLEU", "value": 31.5, "low": 30.0, "high": 33.0},
]


def test_lines_are_the_results_own_numbers():
    assert lines_of({"results": ROWS}) == {
        "exact_match": [Line("RW", ((0, 25.0, 12.5, 37.5), (10, 50.0, 40.0, 60.0)))],
        "BLEU": [Line("captions", ((0, 31.5, 30.0, 33.0),))],
    }


def test_a_picture_has_a_panel_for_each_metric(tmp_path):
    both, one = tmp_path / "both.png", tmp_path / "one.png"
    write_curves(lines_of({"results": ROWS}), both)
    write_curves(lines_of({"results": ROWS[:2]}), one)
    with Image.open(both) as picture, Image.open(one) as narrow:
        assert picture.width > narrow.width
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20, "lines and bands are drawn"
