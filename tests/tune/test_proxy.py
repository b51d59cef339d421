"""Protects the way from a target's recipe to its proxy and back."""

import copy

import pytest
import torch

from tony.errors import TonyError
from tony.model import Transformer, TransformerConfig
from tony.runs import load_recipe
from tony.train.optimizer import build_optimizer, plan_for
from tony.tune.proxy import at_size, parametrized, proxy_width, widths_between, with_values

VOCABULARY = 50


def target(**model):
    shape = {"width": 64, "depth": 4, "head_dim": 16, "hidden": 128, "context": 32, **model}
    return load_recipe({"name": "goal", "model": shape, "train": {"tokens": 1e6}})


def built(recipe):
    """The model and its optimiser as training makes them."""
    model = Transformer(TransformerConfig.from_recipe(recipe.model, VOCABULARY))
    model.reset(torch.Generator().manual_seed(0))
    plan = plan_for(recipe.model, recipe.mup, VOCABULARY)
    plan.init_(model)
    return model, build_optimizer(model, recipe.train, plan)


def rates(model, optimizer):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def test_a_proxy_is_the_target_but_for_size_and_tokens():
    goal = target()
    proxy = at_size(goal, 16, 2, 1.25e5)
    assert (proxy.model.width, proxy.model.depth, proxy.model.hidden, proxy.train.tokens) == (
        16,
        2,
        32,
        1.25e5,
    )
    back = at_size(proxy, 64, 4, 1e6)
    assert back == goal
    with pytest.raises(TonyError, match="head_dim"):
        at_size(goal, 24, 2, 1e5)


def test_default_widths():
    assert proxy_width(target(width=256)) == 64
    assert proxy_width(target(width=16)) == 16
    assert proxy_width(target(width=64, kv_heads=2)) == 32  # kv heads stay whole
    assert widths_between(target(width=64), 16) == [16, 32, 64]
    assert widths_between(target(width=96), 16) == [16, 32, 64, 96]


def test_standard_is_mup_at_its_own_size_bit_for_bit():
    goal = target()
    own, muP = built(parametrized(goal, "standard", 16, 2)), built(parametrized(goal, "muP", 64, 4))
    plain = Transformer(TransformerConfig.from_recipe(goal.model, VOCABULARY))
    plain.reset(torch.Generator().manual_seed(0))
    for a, b, c in zip(own[0].parameters(), muP[0].parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)
    assert set(rates(*own).values()) == {goal.train.lr}


def test_scales_are_multipliers_in_the_forward_pass():
    """Logits are those of a network that multiplies embeddings, attention logits and logits itself."""
    goal = parametrized(target(), "muP", 16, None)
    plain, _ = built(goal)
    scales = {"embedding_scale": 3.0, "attention_scale": 0.5, "output_scale": 2.0}
    scaled, optimizer = built(with_values(goal, scales))
    for model in (plain, scaled):  # the readout starts at zero: give both one that says something
        with torch.no_grad():
            model.readout.weight.normal_(generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        scaled.readout.weight *= 2.0
    other = copy.deepcopy(plain)
    other.embedding.register_forward_hook(lambda _m, _a, out: 3.0 * out)
    other.readout.register_forward_hook(lambda _m, _a, out: 2.0 * out)
    for block in other.blocks:
        block.attention.q_norm.register_forward_hook(lambda _m, _a, out: 0.5 * out)
    ids = torch.arange(20)[None]
    torch.testing.assert_close(scaled(ids), other(ids), rtol=1e-4, atol=1e-5)
    base = rates(*built(goal))
    for name, rate in rates(scaled, optimizer).items():
        factor = {"embedding.weight": 3.0, "readout.weight": 2.0}.get(name, 0.5 if "q_norm" in name else 1.0)
        assert rate == pytest.approx(factor * base[name]), name


def test_an_initial_scale_touches_the_blocks_matrices_and_no_learning_rate():
    goal = parametrized(target(), "muP", 16, None)
    (plain, before), (scaled, after) = built(goal), built(with_values(goal, {"init_scale": 2.0}))
    for (name, a), b in zip(plain.named_parameters(), scaled.parameters(), strict=True):
        is_matrix = name.startswith("blocks.") and a.dim() == 2
        torch.testing.assert_close(b, a * (2.0 if is_matrix else 1.0))
    assert rates(plain, before) == rates(scaled, after)


def test_values_are_put_where_the_recipe_holds_them():
    found = with_values(parametrized(target(), "muP", 16, 2), {"lr": 0.01, "decay": 0.2, "output_scale": 2.0})
    assert (found.train.lr, found.train.decay, found.mup.output_scale, found.mup.base_width) == (
        0.01,
        0.2,
        2.0,
        16,
    )
    assert load_recipe_text(found) == found
    with pytest.raises(TonyError, match="momentum"):
        with_values(target(), {"momentum": 0.9})
    with pytest.raises(TonyError, match=r"\[mup\]"):
        with_values(target(), {"output_scale": 2.0})


def load_recipe_text(recipe):
    import tomllib

    return load_recipe(tomllib.loads(recipe.to_toml()))


def test_an_attention_scale_without_qk_norm_is_an_error():
    goal = with_values(parametrized(target(qk_norm=False), "muP", 16, None), {"attention_scale": 2.0})
    with pytest.raises(TonyError, match="qk_norm"):
        plan_for(goal.model, goal.mup, VOCABULARY)
