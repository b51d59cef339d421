"""One of two processes that train the MLP of models.py under FSDP2: python sharded.py RANK PORT, losses as JSON."""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.fsdp import fully_shard


def beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(rank, port):
    torch.set_num_threads(1)
    test = beside("test_machines")
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    mesh = distributed.init_device_mesh("cpu", (2,))
    model, plan = test.start(beside("models").MLP)
    for layer in (model.second, model.third):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    plan.init_(model)
    print(json.dumps(test.train(model, plan, test.optimizer_for(plan, model))))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
