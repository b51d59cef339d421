"""Each layer of torch gets its role and growth; what cannot be told is an error that names the parameter and the remedy."""

import pytest
import torch
from torch import nn

from tony.errors import TonyError
from tony.mup import Depth, Plan, Rule
from tony.mup.roles import assign_roles


def rows_of(make, base=16, wider=32, target=64, **options):
    with torch.device("meta"):
        plan = Plan(make(base), make(wider), make(target), **options)
    return plan.rows


def short(row):
    return row.role, row.reads, row.writes, round(row.init, 6)


LAYERS = {
    "embedding": (lambda n: nn.Embedding(9, n), {"weight": ("input", 1, 4, 1)}),
    "linear": (lambda n: nn.Linear(n, 2 * n), {"weight": ("hidden", 4, 4, 1), "bias": ("vector", 1, 4, 2)}),
    "readout": (lambda n: nn.Linear(n, 9), {"weight": ("output", 4, 1, 0.5), "bias": ("scalar", 1, 1, 2)}),
    "first": (lambda n: nn.Linear(9, n), {"weight": ("input", 1, 4, 1), "bias": ("vector", 1, 4, 1)}),
    "other growth": (lambda n: nn.Linear(n, n // 16), {"weight": ("hidden", 4, 4, 1)}),
    "conv1d": (lambda n: nn.Conv1d(n, n, 3), {"weight": ("hidden", 4, 4, 1), "bias": ("vector", 1, 4, 2)}),
    "conv2d, fixed groups": (lambda n: nn.Conv2d(n, n, 3, groups=4), {"weight": ("hidden", 4, 4, 1)}),
    "conv2d, growing groups": (lambda n: nn.Conv2d(n, n, 3, groups=n // 4), {"weight": ("input", 1, 4, 1)}),
    "depthwise": (lambda n: nn.Conv2d(n, n, 3, groups=n), {"weight": ("input", 1, 4, 1)}),
    "first conv": (lambda n: nn.Conv2d(3, n, 3), {"weight": ("input", 1, 4, 1), "bias": ("vector", 1, 4, 1)}),
    "last conv": (lambda n: nn.Conv2d(n, 3, 1), {"weight": ("output", 4, 1, 0.5)}),
    # torch draws a transposed convolution by its dimension 1: what it writes.
    "transposed": (lambda n: nn.ConvTranspose2d(n, n, 2), {"weight": ("hidden", 4, 4, 1), "bias": ("vector", 1, 4, 2)}),
    "first transposed": (lambda n: nn.ConvTranspose2d(3, n, 2), {"weight": ("input", 1, 4, 2)}),
    "last transposed": (lambda n: nn.ConvTranspose2d(n, 3, 2), {"weight": ("output", 4, 1, 0.25)}),
    "transposed, growing groups": (
        lambda n: nn.ConvTranspose2d(n, n, 2, groups=n // 4), {"weight": ("input", 1, 4, 1)},
    ),
    "layer norm": (nn.LayerNorm, {"weight": ("vector", 1, 4, 1), "bias": ("vector", 1, 4, 1)}),
    "norm over two dimensions": (lambda n: nn.LayerNorm((5, n)), {"weight": ("vector", 1, 4, 1)}),
    "rms norm": (nn.RMSNorm, {"weight": ("vector", 1, 4, 1)}),
    "batch norm": (nn.BatchNorm2d, {"weight": ("vector", 1, 4, 1)}),
    "group norm": (lambda n: nn.GroupNorm(4, n), {"weight": ("vector", 1, 4, 1)}),
    "attention": (
        lambda n: nn.MultiheadAttention(n, n // 8),
        {"in_proj_weight": ("hidden", 4, 4, 1), "in_proj_bias": ("vector", 1, 4, 1), "out_proj.weight": ("hidden", 4, 4, 1)},
    ),
    "cross attention": (
        lambda n: nn.MultiheadAttention(n, n // 8, kdim=7, vdim=7),
        # Xavier: (7 + n)^-1/2, from 16 to 64
        {"k_proj_weight": ("input", 1, 4, round(((7 + 64) / (7 + 16)) ** 0.5, 6)), "q_proj_weight": ("hidden", 4, 4, 1)},
    ),
    "lstm": (
        lambda n: nn.LSTM(9, n),
        {"weight_ih_l0": ("input", 1, 4, 2), "weight_hh_l0": ("hidden", 4, 4, 1), "bias_hh_l0": ("vector", 1, 4, 2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_torch(name):
    make, expected = LAYERS[name]
    rows = rows_of(make)
    for leaf, what in expected.items():
        assert short(rows[leaf]) == what, leaf


class Bare(nn.Module):
    """Parameters that belong to no layer."""

    def __init__(self, n, draw=lambda *shape: torch.randn(*shape)):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n))
        self.token = nn.Parameter(draw(1, 1, n))
        self.temperature = nn.Parameter(torch.ones(()))
        self.codes = nn.Parameter(draw(7, 3))


def test_bare_parameters_with_one_entry_a_feature_are_vectors():
    rows = rows_of(Bare)
    roles = {name: row.role for name, row in rows.items()}
    assert roles == {"gain": "vector", "token": "vector", "temperature": "scalar", "codes": "scalar"}


class Experts(nn.Module):
    def __init__(self, n, experts=3):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(experts, n, 4 * n))
        self.router = nn.Linear(n, experts)


def test_a_bare_matrix_needs_a_rule():
    with pytest.raises(TonyError, match=r"weight: a parameter of Experts .* Rule\('weight'"):
        rows_of(Experts)
    with pytest.raises(TonyError, match="needs one growing dimension that is summed over"):
        rows_of(Experts, rules=[Rule("weight", "hidden", init="constant")])
    with pytest.raises(TonyError, match=r"initialisation is not known.*init='fan_in'"):
        rows_of(Experts, rules=[Rule("weight", "hidden", fan_in=1)])
    rows = rows_of(Experts, rules=[Rule("weight", "hidden", fan_in=1, init="constant")])
    assert short(rows["weight"]) == ("hidden", 4, 4, 0.5)
    assert short(rows_of(Experts, rules=[Rule("weight", fan_in=-2, init="fan_in")])["weight"])[0] == "hidden"


def test_three_growing_dimensions_are_refused():
    with pytest.raises(TonyError, match=r"weight: dimensions 0, 1, 2 all grow.*fixed"):
        rows_of(lambda n: Experts(n, experts=n // 8), rules=[Rule("weight", "hidden", fan_in=1)])


class Tied(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.embedding = nn.Embedding(9, n)
        self.readout = nn.Linear(n, 9, bias=False)
        self.readout.weight = self.embedding.weight


def test_tied_weights_are_untied_or_said():
    with pytest.raises(
        TonyError,
        match=r"readout\.weight: tied to embedding\.weight.*Rule\('embedding\.weight', role='input'\)",
    ):
        rows_of(Tied)
    rows = rows_of(Tied, rules=[Rule("embedding.weight", "input")])
    assert {name: short(row) for name, row in rows.items()} == {"embedding.weight": ("input", 1, 4, 1)}


class Fused(nn.Module):
    """Queries, keys and values in one matrix: the shapes do not tell that the key/value heads stay."""

    def __init__(self, n, kv_heads=None):
        super().__init__()
        self.heads = n // 8
        self.kv_heads = kv_heads or self.heads
        self.qkv = nn.Linear(n, (self.heads + 2 * self.kv_heads) * 8)
        self.out = nn.Linear(n, n)


def test_fixed_key_value_heads_are_refused(models):
    with pytest.raises(TonyError, match=r"qkv\.weight: 1 key/value heads stay while the query heads grow"):
        rows_of(lambda n: Fused(n, 1))
    assert rows_of(Fused)["qkv.weight"].role == "hidden"
    separate = {"rules": [Rule("positions", "input")]}
    with pytest.raises(TonyError, match=r"blocks\.0\.attention\.k\.weight: 1 key/value heads stay"):
        rows_of(lambda n: models.Transformer(n, kv_heads=1), **separate)
    # A model that does not say its numbers of heads is caught by its shapes.
    anonymous = lambda n: nn.Sequential(nn.Linear(n, n), nn.Linear(n, 8), nn.Linear(n, n))  # noqa: E731
    with pytest.raises(
        TonyError, match=r"1\.weight: reads what grows, writes what stays 8, and hidden layers follow"
    ):
        rows_of(anonymous)
    assert rows_of(anonymous, rules=[Rule("1", "output")])["1.weight"].role == "output"


def test_grouped_queries_that_grow_together_are_planned(models):
    rows = rows_of(lambda n: models.Transformer(n, kv_heads=n // 8), rules=[Rule("positions", "input")])
    assert short(rows["blocks.0.attention.k.weight"]) == ("hidden", 4, 4, 1)


def test_growing_heads_of_torchs_attention_are_refused():
    with pytest.raises(TonyError, match=r"in_proj_weight: head_dim grows.*num_heads"):
        rows_of(lambda n: nn.MultiheadAttention(n, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: nn.Linear(3, 3), "base and wider have the same shapes"),
        (lambda n: nn.Embedding(n, n), "dimension 0 grows"),
        (
            lambda n: nn.Sequential(*[nn.Linear(n, n)] * 2) if n == 64 else nn.Linear(n, n),
            "not in both base and target",
        ),
        (lambda n: nn.Embedding(n if n == 64 else 9, n), "9 in base and wider but 64 in target"),
        (lambda n: nn.Conv2d(3, 4, n), "dimension 2 grows"),
        (lambda n: nn.LazyLinear(n), "a lazy parameter"),
    ],
)
def test_models_that_differ_in_more_than_width(make, message):
    with pytest.raises(TonyError, match=message):
        rows_of(make)


def test_base_equal_to_wider_is_the_error_not_base_equal_to_target():
    with pytest.raises(TonyError, match="nothing says which dimensions grow"):
        rows_of(lambda n: nn.Linear(n, n), base=16, wider=16)
    assert short(rows_of(lambda n: nn.Linear(n, n), target=16)["weight"]) == ("hidden", 1, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": [Rule("nothing.*", "input")]}, "rules: 'nothing"),
        ({"multipliers": {"nothing": 2.0}}, "multipliers: 'nothing"),
        ({"multipliers": {"weight": 0.0}}, "more than 0"),
        ({"depth": Depth(ratio=2, writes="out", blocks="*")}, "depth: 'out'"),
        ({"init": "orthogonal"}, "no init law 'orthogonal'"),
    ],
)
def test_what_a_person_says_must_hold(options, message):
    with pytest.raises(TonyError, match=message):
        rows_of(lambda n: nn.Linear(n, n), **options)


def test_rules_are_checked_when_made():
    with pytest.raises(TonyError, match="no role 'readout'"):
        Rule("x", "readout")
    with pytest.raises(TonyError, match="no init law"):
        Rule("x", init="he")
    with pytest.raises(TonyError, match="ratio 0"):
        Depth(ratio=0, writes="a", blocks="b")


def test_roles_come_one_for_each_parameter(models):
    metas = [models.meta(models.ConvNet, width=w) for w in (8, 16, 32)]
    rows = list(assign_roles(*metas, rules=(), init="fan_in"))
    assert [row.name for row in rows] == [name for name, _ in metas[2].named_parameters()]


def test_fixed_key_value_heads_are_refused_wherever_they_stand():
    def make(width):
        layers = {"q": nn.Linear(width, width), "o": nn.Linear(width, width)}
        return nn.ModuleDict({**layers, "k": nn.Linear(width, 8), "v": nn.Linear(width, 8)})

    with pytest.raises(TonyError, match=r"k\.weight: reads what grows, writes what stays 8"):
        rows_of(make)
    lone = rows_of(lambda n: nn.ModuleDict({"body": nn.Linear(n, n), "value": nn.Linear(n, 1)}))
    assert lone["value.weight"].role == "output", "the value head of a policy is a readout"


@pytest.mark.parametrize("role", ["input", "output", "vector"])
def test_a_hidden_matrix_is_not_said_to_be_anything_else(role):
    with pytest.raises(TonyError, match=f"weight: dimensions 0 and 1 both grow, .* hidden and not {role}"):
        rows_of(lambda n: nn.Linear(n, n), rules=Rule("weight", role))


def test_projected_lstms_are_drawn_by_their_hidden_size():
    """torch draws every parameter U(-1, 1) * hidden_size^-1/2, the projection's output size notwithstanding."""
    rows = rows_of(lambda n: nn.LSTM(4, n, proj_size=8), base=16, wider=32, target=256)
    plain = rows_of(lambda n: nn.LSTM(4, n), base=16, wider=32, target=256)
    assert rows["weight_ih_l0"].init == plain["weight_ih_l0"].init == pytest.approx(4)
    assert rows["weight_hh_l0"].init == pytest.approx(4), "reads a fixed size, as the input"
    assert rows["weight_hr_l0"].role == "output"
    assert rows["weight_hr_l0"].init / 4 == pytest.approx(1 / 16), "1/16 of the base's in all"
