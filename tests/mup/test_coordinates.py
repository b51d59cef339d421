"""The coordinate check passes what is right and fails each rule that is broken on purpose, one at a time."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tony.mup.plan
from tony.errors import TonyError
from tony.mup import Plan, Rule, coordinate_check
from tony.mup.factors import factors
from tony.mup.slopes import fit_slope
from tony.mup.watch import watch

WIDTHS = (32, 64, 128, 256)
WIDER = (*WIDTHS, 512)
RULES = [Rule("positions", "input")]


@pytest.fixture(autouse=True)
def one_thread():
    """These matrices are small: threads that wait for each other would cost more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mlp_loss(model):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 6, generator=generator), torch.randint(0, 5, (64,), generator=generator)
    return F.cross_entropy(model(x), y)


def transformer_loss(model):
    ids = torch.randint(0, 32, (8, 16), generator=torch.Generator().manual_seed(0))
    return F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def planned(init=None):
    """Makes plans whose initial factors `init` (row -> factor) may break."""

    def make(base, wider, target):
        rules = RULES if hasattr(target, "positions") else []
        plan = Plan(base, wider, target, rules=rules)
        if init:
            plan.rows = {name: dataclasses.replace(row, init=init(row)) for name, row in plan.rows.items()}
        return plan

    return make


def transformer(models, **shape):
    def make(width):
        options = {"head_dim": 16, "vocabulary": 32, "context": 16, "depth": 1, **shape}
        if options.get("heads"):
            options["head_dim"] = width // options["heads"]
        return models.Transformer(width, **options)

    return make


def check(make, loss, plan, widths=WIDTHS, **options):
    return coordinate_check(make, loss, widths, plan=plan, **options)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_planned_mlp_passes(models, optimizer):
    lr = 0.3 if optimizer == "sgd" else 1e-2
    found = coordinate_check(models.MLP, mlp_loss, optimizer=optimizer, lr=lr)
    assert found.passed, str(found)
    assert found.exit_status == 0


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ({"depth": 2}, {"widths": WIDER}),
        ({}, {"lr": 3e-2}),
        ({}, {"eps": 1e-3}),
        ({"heads": 2, "scale": 1.0}, {}),
    ],
    ids=["growing heads", "large lr", "visible epsilon", "growing head_dim, logits / head_dim"],
)
def test_a_planned_transformer_passes(models, shape, options):
    began = time.process_time()
    found = check(transformer(models, **shape), transformer_loss, planned(), **options)
    assert found.passed, str(found)
    assert time.process_time() - began < 60


def hidden_lr(row, optimizer, adjust):
    right = factors(row, optimizer, adjust)
    return dataclasses.replace(right, lr=1.0) if row.role == "hidden" else right


def readout_lr(row, optimizer, adjust):
    right = factors(row, optimizer, adjust)
    return dataclasses.replace(right, lr=1.0) if row.role == "output" else right


def epsilon(row, optimizer, adjust):
    return dataclasses.replace(factors(row, optimizer, adjust), eps=1.0)


def standard_init(role):
    """Undo what the plan adds to torch's own fan_in^-1/2."""
    return lambda row: row.init * row.reads**0.5 if row.role == role else row.init


def failing(found):
    return {(line.layer.rpartition(".")[2], line.verdict) for line in found.failures}


def test_standard_parametrisation_fails(models):
    found = check(transformer(models), transformer_loss, None)
    assert not found.passed and found.exit_status == 1
    assert ("readout", "grows") in failing(found)
    assert not check(models.MLP, mlp_loss, None, optimizer="sgd", lr=0.3).passed


@pytest.mark.parametrize("fault", [hidden_lr, readout_lr, epsilon], ids=lambda fault: fault.__name__)
def test_a_wrong_factor_fails(models, monkeypatch, fault):
    monkeypatch.setattr(tony.mup.plan, "factors", fault)
    # Epsilon shows only where it is as large as the gradients are: at the default 1e-8 it would be no fault at all.
    eps = 1e-3 if fault is epsilon else 1e-8
    found = check(transformer(models), transformer_loss, planned(), eps=eps)
    assert not found.passed
    expected = {
        "hidden_lr": ("down", "grows"),
        "readout_lr": ("readout", "grows"),
        "epsilon": ("k", "shrinks"),
    }
    assert expected[fault.__name__] in failing(found)


def test_a_wrong_readout_init_fails(models):
    found = check(transformer(models), transformer_loss, planned(standard_init("output")))
    assert ("readout", "grows") in failing(found)


def test_a_wrong_hidden_init_fails(models):
    """As when a module draws its weights with a standard deviation of its own and nobody says so."""
    found = check(transformer(models), transformer_loss, planned(standard_init("hidden")))
    at_start = {line.layer for line in found.failures if line.what == "activation" and line.step == 0}
    assert "blocks.0.down" in at_start


def test_the_attention_scale_with_growing_head_dim_fails(models):
    """logits / sqrt(head_dim), no QK-norm: their change grows as the square root of head_dim."""
    found = check(transformer(models, heads=2, scale=0.5), transformer_loss, planned())
    line = found.failures[0]
    assert (line.layer, line.verdict) == ("blocks.0.attention attention logits", "grows")
    assert 0.3 < line.slope.value < 0.6


class FusedAttention(nn.Module):
    """The same fault inside torch's fused kernel, which keeps its logits to itself."""

    def __init__(self, width):
        super().__init__()
        self.read = nn.Embedding(32, width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.readout = nn.Linear(width, 32)

    def forward(self, ids):
        q, k, v = self.qkv(self.read(ids)).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.readout(mixed.transpose(1, 2).flatten(-2))


def test_logits_inside_the_fused_kernel_are_watched():
    found = check(FusedAttention, transformer_loss, planned(), lr=3e-2)
    assert ("model attention logits", "grows") in failing(found) or ("attention logits", "grows") in failing(
        found
    )


def test_a_model_that_does_not_move_does_not_pass(models):
    found = check(models.MLP, mlp_loss, planned(), lr=0.0)
    assert not found.passed
    assert "nothing changed" in str(found)


def test_the_slope_is_that_of_infinite_width():
    """size^2 = n^(2 slope) (1 + a/n) with 3% scatter: 200 intervals cover the slope at their rate (95%, 3 standard errors)."""
    generator = np.random.default_rng(0)
    widths = np.repeat(WIDTHS, 4).astype(float)
    for slope in (0.0, 0.5):
        covered = 0
        for _ in range(200):
            size = widths**slope * np.sqrt(1 + 40 / widths) * np.exp(generator.normal(0, 0.03, widths.shape))
            fit = fit_slope(widths, size)
            covered += fit.low <= slope <= fit.high
        assert covered >= 180
    plain = np.polyfit(np.log(widths), np.log(np.sqrt(1 + 40 / widths)), 1)[0]
    assert plain < -0.1, "a straight line would have called it a slope"


def test_the_result_can_be_printed_saved_and_drawn(models, tmp_path):
    found = coordinate_check(models.MLP, mlp_loss, (16, 32, 64), plan=None, steps=2, seeds=2)
    assert "FAIL" in str(found)
    assert "readout" in found.table()
    assert json.loads(json.dumps(found.to_dict()))["passed"] is False
    found.plot(tmp_path / "check.png")
    assert (tmp_path / "check.png").stat().st_size > 10_000


def test_the_model_is_left_without_hooks(models):
    kept = []

    def make(width):
        kept.append(models.MLP(width))
        return kept[-1]

    coordinate_check(make, mlp_loss, (16, 32, 64), steps=1, seeds=2)
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for model in kept for module in model.modules()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (16, 32)}, "three or more"),
        ({"widths": (64, 32, 16)}, "growing"),
        ({"seeds": 1}, "two seeds"),
        ({"optimizer": "muon"}, "adamw"),
    ],
)
def test_a_check_that_can_say_nothing_is_refused(models, options, message):
    with pytest.raises(TonyError, match=message):
        coordinate_check(models.MLP, mlp_loss, **{"widths": (16, 32, 64), **options})


class TorchsAttention(nn.Module):
    """Two heads of torch's own attention, whose head_dim grows and is divided by its square root: wrong under muP."""

    def __init__(self, width, need_weights=False):
        super().__init__()
        self.need_weights = need_weights
        self.read = nn.Embedding(32, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.readout = nn.Linear(width, 32)

    def forward(self, ids):
        x = self.read(ids)
        hidden = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        return self.readout(self.attention(x, x, x, attn_mask=hidden, need_weights=self.need_weights)[0])


@pytest.mark.parametrize("need_weights", [False, True])
def test_the_logits_inside_of_torchs_own_attention_are_watched(need_weights):
    weights = [Rule("attention.in_proj_weight", "hidden"), Rule("attention.out_proj.weight", "hidden")]
    biases = [Rule("attention.in_proj_bias", "vector"), Rule("attention.out_proj.bias", "vector")]
    found = coordinate_check(
        lambda width: TorchsAttention(width, need_weights), transformer_loss, (16, 32, 64, 128, 256),
        plan=lambda *models: Plan(*models, rules=weights + biases), lr=3e-2, seeds=3,
    )  # fmt: skip
    assert any(line.layer == "attention attention logits" for line in found.lines)
    assert not found.passed


def test_attention_called_by_keyword_is_watched():
    q, k, v = torch.randn(3, 2, 4, 5, 8).unbind()

    class Named(nn.Module):
        def forward(self, x):
            mixed = F.scaled_dot_product_attention(query=q, key=k, value=v, scale=0.5)
            return torch.softmax(input=mixed, dim=-1) + torch.special.softmax(x, dim=-1)

    with watch(Named()) as watcher:
        Named()(x := torch.randn(2, 4, 5, 8))
    fused, named, special = watcher.seen.values()
    torch.testing.assert_close(fused, 0.5 * q @ k.transpose(-1, -2))
    torch.testing.assert_close(named, F.scaled_dot_product_attention(q, k, v, scale=0.5))
    torch.testing.assert_close(special, x)


def test_outputs_in_a_dict_or_changed_in_place_are_kept_as_they_were():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 4)

        def forward(self, x):
            return {"count": 1, "states": self.inner(x).relu_()}

    model, x = Model(), torch.randn(5, 3)
    with torch.no_grad(), watch(model) as watcher:
        model(x)
        before = model.inner.weight @ x.T + model.inner.bias[:, None]
    torch.testing.assert_close(watcher.seen["inner"], before.T)
    torch.testing.assert_close(watcher.seen["model"], before.T.relu())
