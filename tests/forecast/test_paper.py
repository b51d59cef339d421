"""Protects the paper's constants: they give the figures that the paper prints elsewhere (its table 3, and GPT-3's law)."""

import pytest

from tony.forecast.derived import per_image, to_pf_days
from tony.forecast.paper import PAPER, of_modality, paper_domain
from tony.forecast.table import PF_DAY
from tony.runs import load_recipe


def test_language_at_one_pf_day():
    assert PAPER["language"].compute.at(PF_DAY) == pytest.approx(
        2.57, abs=5e-3
    )  # Brown et al. 2020: 2.57 C^-0.048


@pytest.mark.parametrize(
    ("name", "irreducible", "one_nat"),
    [
        ("image 8x8", 602, 1.9e4),  # printed 1.9e3, which no row explains
        ("image 16x16", 2026, 1.7e10),
        ("image 32x32", 6806, 2.7e26),
        ("image VQ 16x16", 1047, 4.7e15),
        ("image VQ 32x32", 3246, 3.1e19),
    ],
)
def test_pictures_are_as_table_3_prints_them(name, irreducible, one_nat):
    row = PAPER[name]
    nats, compute = per_image(row.tokens, row.compute.irreducible, row.compute.scale, row.compute.alpha)
    assert nats == pytest.approx(irreducible, rel=4e-3)
    assert to_pf_days(compute) == pytest.approx(one_nat, rel=0.03)


@pytest.mark.parametrize(("name", "nats"), [("image 8x8", 3.8), ("image 16x16", 27.8), ("image 32x32", 356)])
def test_what_a_billion_parameters_leave(name, nats):
    row = PAPER[name]
    assert row.tokens * (row.size.at(1e9) - row.size.irreducible) == pytest.approx(nats, rel=0.01)


def test_sizes_are_of_compute_in_flop():
    """Section 5: N_opt ~ 2.8e8 C^0.74 of 16x16 pictures, C in PF-days."""
    assert PAPER["image 16x16"].optimum.at(PF_DAY) == pytest.approx(2.8e8, rel=0.2)


@pytest.mark.parametrize(
    ("data", "image", "name"),
    [
        ({"kind": "pictures"}, {"kind": "grey", "side": 8}, "image 8x8"),
        ({"kind": "pictures"}, {"kind": "palette", "side": 16}, "image 16x16"),
        ({"kind": "pictures"}, {"kind": "grey", "side": 12}, None),
        ({"kind": "pictures"}, {"kind": "patches", "side": 64}, None),
        ({"kind": "pictures"}, {"kind": "patches", "side": 128}, "image VQ 16x16"),
        ({"kind": "code"}, False, "language"),
        ({"kind": "dictionary"}, False, "language"),
        ({"kind": "mathematics"}, False, "mathematics"),
        ({"kind": "pairs", "direction": "image->text"}, {"kind": "grey", "side": 8}, "image->text, image"),
        ({"kind": "clips"}, {"kind": "grey", "side": 8}, "video"),
        ({"kind": "digits"}, {"kind": "grey", "side": 8}, None),
    ],
)
def test_a_domain_stands_beside_its_row(data, image, name):
    recipe = load_recipe({"name": "x", "data": data, "vocabulary": {"image": image}})
    assert paper_domain(recipe) == name
    assert name is None or name in PAPER


def test_pairs_have_a_row_a_modality():
    assert of_modality("text->image, image", "text") == "text->image, text"
    assert of_modality("image 8x8", "text") is None and of_modality(None, "text") is None
