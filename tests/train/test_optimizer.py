"""Protects: muP of Tony's own transformer. Off, nothing changes; at the base, nothing changes; wider, sizes stay."""

import tomllib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tony.errors import TonyError
from tony.model import Transformer, TransformerConfig
from tony.mup import Plan, coordinate_check
from tony.runs import load_recipe
from tony.runs.recipe import MupRecipe
from tony.train.optimizer import build_optimizer, model_at_width, plan_for, set_learning_rate

SHAPE = {"width": 64, "depth": 2, "head_dim": 16, "context": 32}


@pytest.fixture(scope="module")
def tiny(beside):
    return beside(Path(__file__).with_name("tiny.py"))


def recipe(**sections):
    return load_recipe({"model": SHAPE, **sections})


def test_a_recipe_without_mup_keeps_its_hash_and_its_text():
    plain = recipe()
    assert plain.mup is None and "[mup]" not in plain.to_toml()
    planned = recipe(mup={"base_width": 32})
    assert planned.hash != plain.hash
    assert load_recipe(tomllib.loads(plain.to_toml())).hash == plain.hash
    assert load_recipe({"model": SHAPE, "mup": {"base_width": 32}}).hash == planned.hash


def test_at_the_base_training_is_the_standard_one_bit_for_bit(tiny, tmp_path, monkeypatch):
    plain = tiny.trainer(tmp_path / "plain")
    standard = tiny.recipe
    monkeypatch.setattr(
        tiny,
        "recipe",
        lambda **train: standard(**train).model_copy(update={"mup": MupRecipe(base_width=32, base_depth=2)}),
    )
    planned = tiny.trainer(tmp_path / "planned")
    assert planned.plan is not None
    for _ in range(4):
        assert plain.update() == planned.update()
    for a, b in zip(plain.model.parameters(), planned.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_wider_and_deeper_than_the_base():
    asked = recipe(mup={"base_width": 16, "base_depth": 1})
    plan = plan_for(asked.model, asked.mup, 50)
    model = Transformer(TransformerConfig.from_recipe(asked.model, 50))
    plan.init_(model)
    optimizer = build_optimizer(model, asked.train, plan)
    set_learning_rate(optimizer, 1.0)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    of = {name: groups[id(p)] for name, p in model.named_parameters()}
    m, depth = 4, 2
    assert of["embedding.weight"]["lr"] == 1.0
    assert of["readout.weight"]["lr"] == 1 / m
    assert of["blocks.1.attention.qkv.weight"]["lr"] == 1 / m
    assert of["blocks.1.attention.out.weight"]["lr"] == 1 / (m * depth)
    assert of["blocks.1.attention.out.weight"]["weight_decay"] == pytest.approx(
        asked.train.weight_decay * m * depth
    )
    assert of["blocks.1.attention.qkv.weight"]["eps"] == pytest.approx(1e-10 / (m * depth))
    for name, group in of.items():
        decays = name.startswith("blocks.") and "norm" not in name
        assert (group["weight_decay"] > 0) == decays, name


@pytest.mark.parametrize(
    ("model", "mup", "message"),
    [
        ({"kv_heads": 2}, {"base_width": 16}, r"model\.kv_heads=2 is no whole number at the base width 16"),
        ({}, {"base_width": 24}, "no multiple of model.head_dim=16"),
        ({"tied": True}, {"base_width": 32}, r"readout\.weight: tied"),
    ],
)
def test_what_cannot_be_planned_is_said(model, mup, message):
    asked = load_recipe({"model": {**SHAPE, **model}, "mup": mup})
    with pytest.raises(TonyError, match=message):
        plan_for(asked.model, asked.mup, 50)


def test_the_transformer_keeps_its_sizes_over_width():
    """And does not under the standard parametrisation."""
    asked = recipe()
    ids = torch.randint(0, 50, (4, 32), generator=torch.Generator().manual_seed(0))

    def make(width):
        return Transformer(TransformerConfig.from_recipe(model_at_width(asked.model, width), 50))

    def loss(model):
        return F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    widths = (32, 64, 128, 256)
    found = coordinate_check(make, loss, widths, plan=Plan, lr=1e-2)
    assert found.passed, str(found)
    assert any("attention logits" in line.layer for line in found.lines)
    standard = coordinate_check(make, loss, widths, plan=None, lr=1e-2)
    assert "grows" in {line.verdict for line in standard.failures}


def test_muon_moves_the_matrices_of_the_blocks_and_adamw_the_rest():
    """A first step, against the two formulas: an orthogonal one of AdamW's usual size, and the sign of the gradient."""
    asked = recipe(train={"optimizer": "muon", "lr": 0.01, "weight_decay": 0.0})
    torch.manual_seed(0)
    model = Transformer(TransformerConfig.from_recipe(asked.model, 50))
    torch.nn.init.normal_(model.readout.weight, std=0.02)  # zero, it would let no gradient reach the blocks
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, asked.train)
    ids = torch.randint(0, 50, (4, 33))
    F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        change = (parameter.detach() - before[name]) / 0.01
        if name.startswith("blocks.") and parameter.dim() == 2:
            singular = torch.linalg.svdvals(change) / (0.2 * max(parameter.shape) ** 0.5)
            assert 0.5 < singular.quantile(0.5) < 1.3 and singular.max() < 1.4, name
        else:
            moved = parameter.grad.abs() > 1e-6
            assert torch.allclose(change[moved], -parameter.grad[moved].sign(), atol=1e-2), name
    assert set(optimizer.state) == set(model.parameters())
