"""The plan and the three published tables of Tensor Programs V (3, 8 and 9) give the same function after 20 steps, float64.

The tables are written out here as published, as powers of the width ratio, and trained with their multipliers by
torch.func.functional_call; the model's own forward pass is the plan's.
"""

import pytest
import torch
import torch.nn.functional as F

from tony.mup import Depth, Plan, Rule

# Powers of n over base: (multiplier, init std, SGD lr, Adam lr), for input (with biases), output, hidden.
TABLES = {
    "3": {"input": (0, 0, 1, 0), "output": (0, -1, -1, -1), "hidden": (0, -0.5, 0, -1)},
    "8": {"input": (0, 0, 1, 0), "output": (-1, 0, 1, 0), "hidden": (0, -0.5, 0, -1)},
    "9": {"input": (0.5, -0.5, 0, -0.5), "output": (-0.5, -0.5, 0, -0.5), "hidden": (0, -0.5, 0, -1)},
}
RATIO = 3
ROLES = {"first": "input", "second": "hidden", "third": "hidden", "readout": "output"}


def table_role(name):
    """A bias is an input weight with fan_in 1; the readout's is finite on both sides, and nothing is scaled."""
    layer, leaf = name.split(".")
    if leaf == "bias":
        return "scalar" if layer == "readout" else "input"
    return ROLES[layer]


def powers(table, name):
    return TABLES[table].get(table_role(name), (0, 0, 0, 0))


def batch():
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(10, 6, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, 5, (10,), generator=generator)


def unit_draws(model):
    """Values with the standard deviation of the base at every width, the same for every table."""
    generator = torch.Generator().manual_seed(4)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.3
        for name, p in model.named_parameters()
    }


def train_table(table, model, kind, steps=20):
    draws = unit_draws(model)
    parameters = {
        name: (RATIO ** powers(table, name)[1] * draw).requires_grad_() for name, draw in draws.items()
    }
    sgd = kind == "sgd"
    groups = [
        {"params": [p], "lr": (0.1 if sgd else 0.02) * RATIO ** powers(table, name)[2 if sgd else 3]}
        for name, p in parameters.items()
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9) if sgd else torch.optim.Adam(groups, eps=1e-30)
    inputs, targets = batch()

    def forward():
        effective = {name: RATIO ** powers(table, name)[0] * p for name, p in parameters.items()}
        return torch.func.functional_call(model, effective, (inputs,))

    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(forward(), targets).backward()
        optimizer.step()
    return forward().detach()


def train_plan(plan, model, kind, steps=20):
    inputs, targets = batch()
    if kind == "sgd":
        optimizer = torch.optim.SGD(plan.groups(model, lr=0.1, optimizer="sgd"), momentum=0.9)
    else:
        optimizer = torch.optim.Adam(plan.groups(model, lr=0.02, eps=1e-30, optimizer="adam"))
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model(inputs).detach()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("table", TABLES)
def test_the_plan_is_each_published_table(models, table, kind):
    base, wider, model = (
        models.meta(models.MLP),
        models.meta(models.MLP, width=32),
        models.MLP(16 * RATIO).double(),
    )
    # The draws have one standard deviation at every width: the module's "own initialisation" is constant, its biases' too.
    plan = Plan(base, wider, model, init="constant", rules=[Rule("*.bias", init="constant")])
    with torch.no_grad():
        for name, draw in unit_draws(model).items():
            model.get_parameter(name).copy_(draw)
    plan.init_(model)
    expected = train_table(table, model, kind)
    assert (train_plan(plan, model, kind) - expected).abs().max() < 1e-8


def test_roles_are_those_of_the_tables(models):
    model = models.MLP(48)
    plan = Plan(models.meta(models.MLP), models.meta(models.MLP, width=32), model)
    for name, row in plan.rows.items():
        assert {"vector": "input"}.get(row.role, row.role) == table_role(name)


def completep_groups(model, m, depth, lr, decay, eps):
    """Table 1 of CompleteP (alpha = 1), as published for AdamW with a residual multiplier 1/L, in this model's names."""
    groups = []
    for name, p in model.named_parameters():
        in_block = name.startswith("blocks.")
        matrix = in_block and p.dim() == 2
        readout = name == "readout.weight"  # published in the form of table 8; here in that of table 3
        narrow = m if matrix or readout else 1
        fine = 1 if name.startswith("readout.") else m * (depth if in_block else 1)
        groups.append({"params": [p], "lr": lr / narrow, "weight_decay": decay * narrow, "eps": eps / fine})
    return groups


@pytest.mark.parametrize("writes_init", ["constant", "inverse_sqrt"])
def test_absorbed_depth_is_completep(models, writes_init):
    """AdamW with decay and a visible epsilon: the absorbed 1/L and the explicit one give the same function."""
    depth, m, settings = 4, 2, {"lr": 0.02, "weight_decay": 0.1, "eps": 1e-4}
    shape = {"width": 16 * m, "depth": depth}
    torch.manual_seed(0)
    explicit = models.Transformer(**shape, branch=1 / depth).double()
    absorbed = models.Transformer(**shape).double()
    absorbed.load_state_dict(explicit.state_dict())
    writes = ("blocks.*.attention.out", "blocks.*.down")
    if writes_init == "inverse_sqrt":
        with torch.no_grad():
            for block in absorbed.blocks:
                for p in (*block.attention.out.parameters(), *block.down.parameters()):
                    p.div_(depth**0.5)
    metas = [models.meta(models.Transformer, width=w, depth=depth) for w in (16, 32)]
    rules = [Rule(models.POSITIONS, "input")]
    flat = Plan(*metas, explicit, rules=rules)
    plan = Plan(
        *metas,
        absorbed,
        rules=rules,
        depth=Depth(ratio=depth, writes=writes, blocks="blocks.*", init=writes_init),
    )
    flat.init_(explicit)
    plan.init_(absorbed)
    optimizers = [
        torch.optim.AdamW(
            completep_groups(explicit, m, depth, settings["lr"], settings["weight_decay"], settings["eps"])
        ),
        torch.optim.AdamW(plan.groups(absorbed, **settings)),
    ]
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, 11, (3, 7), generator=generator)
    at_start = explicit(ids).detach()
    for _ in range(20):
        for model, optimizer in zip((explicit, absorbed), optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
            optimizer.step()
    assert (explicit(ids) - at_start).abs().max() > 0.1
    assert (explicit(ids) - absorbed(ids)).abs().max() < 1e-8


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_multipliers_are_absorbed(models, kind):
    """Logits times 3 in the forward pass, or in the plan: the same function."""
    alpha = 3.0
    torch.manual_seed(0)
    absorbed, explicit = models.MLP(32).double(), models.MLP(32).double()
    explicit.load_state_dict(absorbed.state_dict())
    metas = models.meta(models.MLP), models.meta(models.MLP, width=32)
    plans = Plan(*metas, absorbed, multipliers={"readout": alpha}), Plan(*metas, explicit)
    inputs, targets = batch()
    ends = []
    for model, plan, scale in zip((absorbed, explicit), plans, (1.0, alpha), strict=True):
        plan.init_(model)
        if kind == "sgd":
            optimizer = torch.optim.SGD(
                plan.groups(model, lr=0.02, weight_decay=0.1, optimizer="sgd"), momentum=0.9
            )
        else:
            optimizer = torch.optim.AdamW(plan.groups(model, lr=0.02, weight_decay=0.1, eps=1e-3))
        for _ in range(20):
            optimizer.zero_grad()
            F.cross_entropy(scale * model(inputs), targets).backward()
            optimizer.step()
        ends.append(scale * model(inputs).detach())
    assert (ends[0] - ends[1]).abs().max() < 1e-8
