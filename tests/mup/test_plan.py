"""The plan: at the base nothing changes, bit for bit; what it cannot know is an error that names the parameter; it survives
saving, and nothing is ever scaled twice."""

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tony.errors import TonyError
from tony.mup import Depth, Plan, Rule


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 6, generator=generator), torch.randint(0, 5, (16,), generator=generator)


def steps(model, optimizer, clip, count=5):
    inputs, targets = batch()
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        clip(model)
        optimizer.step()
        losses.append(loss.item())
    return losses


def mlp_plan(models, width=64, **options):
    torch.manual_seed(0)
    model = models.MLP(width)
    return Plan(models.meta(models.MLP), models.meta(models.MLP, width=32), model, **options), model


def test_at_the_base_nothing_changes_bit_for_bit(models):
    plan, model = mlp_plan(models, 16)
    torch.manual_seed(0)
    plain = models.MLP(16)
    plan.init_(model)
    groups = plan.groups(model, lr=0.01, weight_decay=0.1, eps=1e-8)
    assert [(g["lr"], g["weight_decay"], g["eps"], g["lr_factor"]) for g in groups] == [
        (0.01, 0.1, 1e-8, 1.0)
    ]
    standard = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.1, eps=1e-8)
    ours = steps(model, torch.optim.AdamW(groups), lambda m: plan.clip_grad_norm_(m, 0.5))
    theirs = steps(plain, standard, lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.5))
    assert ours == theirs
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "muon"])
def test_at_the_base_every_factor_is_one(models, optimizer):
    torch.manual_seed(0)
    model = models.Transformer(16)
    metas = models.meta(models.Transformer), models.meta(models.Transformer, width=32)
    plan = Plan(*metas, model, rules=[Rule("positions", "input")])
    decay = 0.0 if optimizer == "adam" else 0.25
    for group in plan.groups(model, lr=0.5, weight_decay=decay, eps=0.125, optimizer=optimizer):
        assert (group["lr"], group["weight_decay"], group.get("eps", 0.125)) == (0.5, decay, 0.125)
    assert {row.init for row in plan.rows.values()} == {1.0}
    assert {row.clip_weight for row in plan.rows.values()} == {1.0}


def test_narrower_than_the_base_is_planned_too(models):
    """Reverse transfer: a large base's instability on a narrow model."""
    model = models.MLP(8)
    plan = Plan(models.meta(models.MLP, width=64), models.meta(models.MLP, width=128), model)
    rates = {g["lr_factor"] for g in plan.groups(model, lr=1.0)}
    assert rates == {1.0, 8.0}


def test_the_table_shows_each_factor(models):
    plan, _ = mlp_plan(models)
    cells = {line.split()[0]: line.split()[1:] for line in plan.table().splitlines()[1:]}
    assert cells["first.weight"] == ["64x6", "input", "1", "4", "1", "1", "1", "0.25"]
    assert cells["second.weight"] == ["64x64", "hidden", "4", "4", "1", "0.25", "4", "0.25"]
    assert cells["second.bias"] == ["64", "vector", "1", "4", "2", "1", "1", "0.25"]
    assert cells["readout.weight"] == ["5x64", "output", "4", "1", "0.5", "0.25", "4", "1"]
    assert cells["readout.bias"] == ["5", "scalar", "1", "1", "2", "1", "1", "1"]
    sgd = {line.split()[0]: line.split()[6:] for line in plan.table("sgd").splitlines()[1:]}
    assert sgd["first.weight"] == ["4", "0.25", "-"]
    assert sgd["readout.weight"] == ["0.25", "4", "-"]


@pytest.mark.parametrize(
    ("law", "draw"),
    [
        ("fan_in", nn.init.kaiming_normal_),
        ("fan_average", nn.init.xavier_normal_),
        ("constant", lambda w: nn.init.normal_(w, std=0.02)),
    ],
)
def test_initial_spread_is_table_3_whatever_the_module_draws(models, law, draw):
    def make(width):
        model = models.MLP(width)
        for layer in (model.first, model.second, model.third, model.readout):
            draw(layer.weight)
        return model

    torch.manual_seed(0)
    base, model = make(512), make(2048)
    plan = Plan(base, models.meta(models.MLP, width=1024), model, init=law)
    plan.init_(model)
    powers = {"first": 0.0, "second": -0.5, "third": -0.5, "readout": -1.0}
    for name, power in powers.items():
        before, after = (m.get_parameter(f"{name}.weight").detach().std() for m in (base, model))
        assert math.log(after / before, 4) == pytest.approx(power, abs=0.04), name


def test_a_second_init_is_refused_also_after_loading(models, tmp_path):
    plan, model = mlp_plan(models)
    plan.init_(model)
    with pytest.raises(TonyError, match="twice"):
        plan.init_(model)
    with pytest.raises(TonyError, match="twice"):
        plan.init_(torch.compile(model))
    plan.init_(models.MLP(64))  # another model, another seed
    plan.save(tmp_path / "plan.json")
    with pytest.raises(TonyError, match="twice"):
        Plan.load(tmp_path / "plan.json").init_(model)


def test_a_bias_of_the_models_own_is_not_scaled_by_mistake(models):
    plan, model = mlp_plan(models)
    nn.init.constant_(model.second.bias, 2.0)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(TonyError, match=r"second\.bias.*Rule\('second\.bias', init='constant'\)"):
        plan.init_(model)
    assert all(map(torch.equal, before, model.parameters())), "half of it was scaled"
    plan, _ = mlp_plan(models, rules=[Rule("second.bias", init="constant")])
    plan.init_(model)
    assert (model.second.bias == 2.0).all()


def test_meta_models_are_not_initialised(models):
    metas = [models.meta(models.MLP, width=w) for w in (16, 32, 64)]
    with pytest.raises(TonyError, match=r"first\.weight: on the meta device"):
        Plan(*metas).init_(metas[2])


def test_save_and_load_keep_every_row(models, tmp_path):
    plan, model = mlp_plan(
        models, depth=Depth(ratio=2, writes="third", blocks="second"), multipliers={"readout": 0.3}
    )
    plan.save(tmp_path / "plan.json")
    again = Plan.load(tmp_path / "plan.json")
    assert again.rows == plan.rows
    assert again.table() == plan.table()
    again.init_(model)


def test_init_scales_change_initial_values_alone(models):
    plain, model = mlp_plan(models)
    scaled, other = mlp_plan(models, init_scales={"second": 0.5})
    plain.init_(model)
    scaled.init_(other)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(b, a * (0.5 if name.startswith("second") else 1.0))
    for name, row in scaled.rows.items():
        assert (row.multiplier, row.reads) == (plain.rows[name].multiplier, plain.rows[name].reads)


@pytest.mark.parametrize("kind", ["multipliers", "init_scales"])
def test_factors_are_positive_and_name_something(models, kind):
    with pytest.raises(TonyError, match=rf"{kind}\['second'\] is -1"):
        mlp_plan(models, **{kind: {"second": -1.0}})
    with pytest.raises(TonyError, match="names no parameter"):
        mlp_plan(models, **{kind: {"secnod": 2.0}})


@pytest.mark.parametrize(
    "text", ["{}", "[]", "nonsense", '{"format": 9, "parameters": []}', '{"format": 1, "parameters": [{}]}']
)
def test_what_is_no_plan_is_not_loaded(text, tmp_path):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(TonyError, match="plan"):
        Plan.load(tmp_path / "plan.json")


def test_settings_by_name_pattern(models):
    plan, model = mlp_plan(models)
    groups = plan.groups(model, lr={"first": 0.5, "*": 0.1}, weight_decay={"*.bias": 0.0, "*": 0.2})
    settings = {id(p): g for g in groups for p in g["params"]}
    of = {name: settings[id(p)] for name, p in model.named_parameters()}
    assert of["first.weight"]["lr"] == 0.5
    assert of["second.weight"]["lr"] == pytest.approx(0.025)
    assert of["second.weight"]["weight_decay"] == pytest.approx(0.8)
    assert of["second.bias"]["weight_decay"] == 0.0
    with pytest.raises(TonyError, match=r"second\.weight: no pattern of lr"):
        plan.groups(model, lr={"first": 0.5})


def test_frozen_parameters_are_left_out(models):
    plan, model = mlp_plan(models)
    model.first.requires_grad_(False)
    grouped = {id(p) for g in plan.groups(model, lr=1.0) for p in g["params"]}
    assert grouped == {id(p) for p in model.parameters() if p.requires_grad}


def test_stock_muon_and_schedulers_take_the_groups(models):
    plan, model = mlp_plan(models)
    muon = torch.optim.Muon(plan.groups(model, lr=0.02, optimizer="muon"), ns_steps=2)
    rest = torch.optim.AdamW(plan.groups(model, lr=0.01, where=lambda row: not row.for_muon))
    scheduler = torch.optim.lr_scheduler.LambdaLR(rest, lambda step: 0.5**step)
    losses = []
    inputs, targets = batch()
    for _ in range(10):
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        for optimizer in (muon, rest):
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    scheduler.step()
    assert losses[-1] < losses[0]
    assert [g["lr"] for g in rest.param_groups] == [0.005 * g["lr_factor"] for g in rest.param_groups]
    assert (
        sum(len(o.param_groups[i]["params"]) for o in (muon, rest) for i in range(len(o.param_groups))) == 8
    )
    with pytest.raises(TonyError, match=r"first\.weight.*Muon is for hidden matrices"):
        plan.groups(model, lr=1.0, optimizer="muon", where=lambda row: True)


def test_the_clipped_norm_does_not_grow_with_width(models):
    """Table 3's readout gradient grows as sqrt(width), which table 8's does not."""
    plain, ours = [], []
    for width in (16, 128, 1024):
        plan, model = mlp_plan(models, width)
        plan.init_(model)
        inputs, targets = batch()
        F.cross_entropy(model(inputs), targets).backward()
        plain.append(float(nn.utils.get_total_norm([p.grad for p in model.parameters()])))
        ours.append(float(plan.clip_grad_norm_(model, math.inf)))
    assert plain[2] > 3 * plain[0]
    assert ours[2] < 1.2 * ours[0]


def test_clipping_scales_every_gradient_by_the_same_factor(models):
    plan, model = mlp_plan(models)
    inputs, targets = batch()
    (100 * F.cross_entropy(model(inputs), targets)).backward()
    before = [p.grad.clone() for p in model.parameters()]
    weights = [row.clip_weight for row in plan.rows.values()]
    expected = sum((w * g).square().sum() for w, g in zip(weights, before, strict=True)).sqrt()
    norm = plan.clip_grad_norm_(model, 0.5)
    assert norm == pytest.approx(float(expected), rel=1e-5)
    for g, p in zip(before, model.parameters(), strict=True):
        assert torch.allclose(p.grad, g * 0.5 / norm, rtol=1e-4)
    assert plan.clip_grad_norm_(model, 0.5) == pytest.approx(0.5, rel=1e-4)


def test_adam_with_l2_is_refused(models):
    plan, model = mlp_plan(models)
    with pytest.raises(TonyError, match="Use AdamW"):
        plan.groups(model, lr=1.0, weight_decay=0.1, optimizer="adam")
    with pytest.raises(TonyError, match="no factors for optimizer 'lion'"):
        plan.groups(model, lr=1.0, optimizer="lion")


def test_a_model_of_another_plan_is_refused(models):
    plan, _ = mlp_plan(models)
    with pytest.raises(TonyError, match=r"first\.weight: \(32, 6\), planned as \(64, 6\)"):
        plan.groups(models.MLP(32), lr=1.0)
    with pytest.raises(TonyError, match="not in the plan"):
        plan.groups(nn.Linear(3, 3), lr=1.0)
    with pytest.raises(TonyError, match=r"first\.weight: in the plan but not in the model"):
        plan.groups(nn.Sequential(), lr=1.0)


def test_plans_go_to_other_processes_by_pickle(models):
    plan = Plan(models.MLP(16), models.MLP(32), model := models.MLP(64))
    plan.init_(model)
    for other in (pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan)):
        assert other.rows == plan.rows
        with pytest.raises(TonyError, match="init_ was called before"):
            other.init_(model)
    with pytest.raises(TonyError, match="init_ was called before"):
        plan.init_(nn.DataParallel(model))


def test_a_compiled_target_is_planned_as_the_module_inside(models):
    target = models.MLP(64)
    plain = Plan(models.MLP(16), models.MLP(32), target)
    assert Plan(models.MLP(16), models.MLP(32), torch.compile(target, backend="eager")).rows == plain.rows


def test_a_saved_role_that_does_not_exist_is_named(models):
    state = Plan(models.MLP(16), models.MLP(32), models.MLP(64)).to_dict()
    state["parameters"][0]["role"] = "hiddn"
    with pytest.raises(TonyError, match=r"first\.weight has role 'hiddn'"):
        Plan.from_dict(state)
