"""The ResNet of benchmarks/mutransfer.py: small, without normalisation, trained by SGD with momentum on real pictures."""

from __future__ import annotations

import gzip
import math
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.errors import TonyError
from tony.mup import Plan
from tony.tune.trial import LAST, POINTS, Outcome

BATCH = {"fashion": 16, "digits": 64}
MOMENTUM = 0.9
FASHION = Path("/usr/share/datasets/fashion-mnist")
FASHION_VARIABLE = "TONY_FASHION_MNIST"


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2016), without normalisation."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1)
        self.second = nn.Conv2d(out, out, 3, 1, 1)
        self.shortcut = nn.Conv2d(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """Pictures (n, 1, side, side) -> logits (n, 10); stages of width, 2 width and 4 width channels.

    Batch normalisation makes the weights before it free of scale, so that the loss hardly depends on the learning rate: a
    factor of 2 around the best is worth 1%, a seed as much. Without it a factor of 2 is worth 10%, and a drift can be seen.
    The initialisation keeps the size of activations instead: He's, branches halved, readout from zero.
    """

    def __init__(self, width: int, stem_stride: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stem_stride, 1)
        self.blocks = nn.Sequential(
            Block(width, width, stem_stride), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)
        )
        self.classes = nn.Linear(4 * width, 10)
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2 or name.startswith("classes"):
                nn.init.zeros_(parameter)
            else:
                scale = {"second": 0.5, "shortcut": 0.7}.get(name.split(".")[-2], 1.0)
                nn.init.normal_(parameter, std=scale * (2 / parameter[0].numel()) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classes(self.blocks(F.relu(self.stem(x))).mean((2, 3)))


def train_resnet(spec: Any) -> dict[str, Any]:
    """A run of `spec` (task "digits" or "fashion"): warm-up over 20% of the steps, then a constant learning rate.

    Small batches: their noise, not the edge beyond which training diverges, is what bounds the best learning rate from above.
    Of the few digits a small batch would leave a noisy loss. A loss that rises for a while is no divergence.
    """
    pictures, labels = load_pictures(spec.task)
    stride = 2 if pictures.shape[-1] > 16 else 1
    torch.manual_seed(spec.seed)
    model = ResNet(spec.width, stride)
    if spec.how == "muP":
        with torch.device("meta"):
            base, wider = ResNet(spec.base_width, stride), ResNet(2 * spec.base_width, stride)
        plan = Plan(base, wider, model)
        plan.init_(model)
        groups = plan.groups(model, lr=2.0**spec.log2_lr, optimizer="sgd")
    else:
        groups = [{"params": list(model.parameters())}]
    optimizer = torch.optim.SGD(groups, lr=2.0**spec.log2_lr, momentum=MOMENTUM)
    warmup = max(1, round(0.2 * spec.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / warmup, 1.0))
    batches = torch.Generator().manual_seed(spec.seed)
    losses: list[float] = []
    block = max(1, spec.steps // POINTS)
    path: list[tuple[int, float]] = []
    began = time.perf_counter()
    lost = False
    while len(losses) < spec.steps and not lost:
        chosen = torch.randint(len(labels), (BATCH[spec.task],), generator=batches)
        loss = F.cross_entropy(model(pictures[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if len(losses) % block == 0:
            path.append((len(losses), float(np.mean(losses[-block:]))))
            lost = not math.isfinite(path[-1][1])
    last = losses[-max(1, spec.steps // LAST) :]
    return Outcome(
        loss=math.inf if lost else float(np.mean(last)),
        by_modality={},
        losses=[(step, value) for step, value in path if math.isfinite(value)],
        parameters=sum(p.numel() for p in model.parameters()),
        tokens=spec.steps * BATCH[spec.task],
        seconds=time.perf_counter() - began,
    ).to_dict()


@lru_cache(maxsize=2)
def load_pictures(name: str) -> tuple[Tensor, Tensor]:
    """Pictures float32 (n, 1, side, side) with mean 0 and deviation 1, and labels int64 (n,).

    Raises:
        TonyError: Fashion-MNIST is not there.
    """
    if name == "digits":
        from sklearn.datasets import load_digits

        raw, labels = load_digits(return_X_y=True)
        pictures = raw.reshape(-1, 8, 8)
    else:
        folder = Path(os.environ.get(FASHION_VARIABLE, FASHION))
        files = [folder / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
        if not all(file.is_file() for file in files):
            raise TonyError(
                f"{folder}: no Fashion-MNIST here. Get Debian's: apt-get download dataset-fashion-mnist && "
                "dpkg-deb -x dataset-fashion-mnist_*.deb fashion, then --fashion fashion/usr/share/datasets/fashion-mnist"
            )
        raw, labels = (np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8) for file in files)
        pictures, labels = raw[16:].reshape(-1, 28, 28), labels[8:]
    x = torch.tensor(np.asarray(pictures), dtype=torch.float32)[:, None]
    return (x - x.mean()) / x.std(), torch.tensor(np.asarray(labels), dtype=torch.int64)
