"""How fast does a step of Tony's training run beside Hugging Face's LlamaForCausalLM of the same shape?

    python benchmarks/train_speed.py [--recipe FILE] [--rounds N] [--steps N]

Both sides train a network of one shape (width, layers, heads, head_dim, hidden, vocabulary, untied; no QK-norm, which
Llama does not have) with AdamW, in one process of as many threads as there are cores, on the same packed windows: documents as long as the digit world's, best-fit into windows of the
recipe's context. Ours is `Trainer.update`, everything included: the batch put together, document-wise attention, loss
of the counted ids with z-loss, clipping, AdamW, sums for the metrics. The peer is a plain loop: the windows ready as
tensors, `labels=ids`, bf16 autocast where the machine has it, clipping, fused AdamW, and the faster of its two attention
implementations ("sdpa", "eager"), found by a trial in the same run. Tokens are positions of the windows on both sides.

What differs in the work: the peer computes a loss for every position and attends across documents; we compute what our
training needs. The ratio that counts is that of the recipe as it is (`train.compile` included, where there is a C++
compiler). Shown beside it: ours with and without torch.compile, ours with every window as one document whose every id
is counted (the peer's work exactly, without torch.compile), and with --compiled-peer the peer under torch.compile.

Blocks of steps alternate; the figure is the median of the ratios of neighbouring blocks. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import numpy as np
import torch

from tony.data.batches import Batch
from tony.data.shards import Shard
from tony.model.machine import autocast, has_compiler
from tony.runs import Run, load_recipe
from tony.tokens.pixels import PixelCodec
from tony.tokens.sound import SoundCodec, SoundConfig, SoundNetwork
from tony.tokens.text import TextCodec
from tony.tokens.vocabulary import Tokens, Vocabulary
from tony.train.loop import Trainer
from tony.train.progress import Silent

ASKED_RATIO = 1.3
DOCUMENTS = 6000
# Ids of a part as the digit world has them, marks included: a word, an 8x8 picture, half a second of sound, a clip.
WORD, PICTURE, CLIP = 3, 66, 262
SOUND = (22, 45)
INPUTS = {"text": 0.30, "image": 0.33, "audio": 0.33, "video": 0.04}
OUTPUTS = {"text": 0.45, "image": 0.30, "audio": 0.25}


def vocabulary_of(recipe) -> Vocabulary:
    """A vocabulary of the recipe's sizes; its codecs are untrained, as only the sizes matter to the network."""
    text = TextCodec.train(["zero one two three four five six seven eight nine"] * 50, recipe.vocabulary.text)
    shape = recipe.vocabulary.image
    image = PixelCodec.grey(shape.side, shape.levels, shape.placed)
    levels = tuple(recipe.vocabulary.sound.levels)
    sound = SoundCodec(SoundNetwork(SoundConfig(levels=levels, width=32, encoder_blocks=1, decoder_blocks=1)))
    return Vocabulary(text, image, sound, recipe.vocabulary.video_seconds)


def documents(vocabulary: Vocabulary, count: int, seed: int = 0) -> list[Tokens]:
    """Random ids in documents of the digit world's form and lengths: a prompt, then a reply that is counted."""
    rng = np.random.default_rng(seed)

    def part(modality: str) -> np.ndarray:
        length = {"text": WORD, "image": PICTURE, "video": CLIP, "audio": int(rng.integers(*SOUND))}[modality]
        ids = vocabulary.ranges["image" if modality == "video" else modality]
        body = rng.integers(ids.start, ids.end, length - 2)
        return np.concatenate([[vocabulary.begin(modality)], body, [vocabulary.end(modality)]])

    out = []
    for _ in range(count):
        asked, wanted = (
            str(rng.choice(list(shares), p=list(shares.values()))) for shares in (INPUTS, OUTPUTS)
        )
        prompt, reply = part(asked), part(wanted)
        control = vocabulary.control
        ids = [[control("start"), control("user")], prompt, [control("assistant")], reply, [control("stop")]]
        counted = np.zeros(sum(map(len, ids)), bool)
        counted[4 + len(prompt) : -1] = True
        out.append(Tokens(np.concatenate(ids), counted))
    return out


def ours(folder: Path, recipe, vocabulary: Vocabulary) -> Trainer:
    """A Trainer on a shard of such documents."""
    run = Run.create(recipe, folder)
    shards = []
    for seed, (split, count) in enumerate({"train": DOCUMENTS, "heldout": 50}.items()):
        if not (run.data / split / "index.json").is_file():
            Shard.write(run.data / split, documents(vocabulary, count, seed), vocabulary)
        shards.append(Shard(run.data / split, vocabulary.hash))
    return Trainer(run, vocabulary, *shards, Silent())


def whole_windows(trainer: Trainer) -> None:
    """Make the trainer do the peer's work: every window one document, every id counted."""
    real = trainer.batches.assemble

    def assemble(windows: list[int]) -> Batch:
        batch = real(windows)
        rows, context = batch.ids.shape
        places = torch.arange(rows * context).view(rows, context)[:, :-1].reshape(-1)
        targets = batch.ids[:, 1:].reshape(-1)
        return replace(batch, lengths=[[context]] * rows, places=places, targets=targets)

    trainer.batches.assemble = assemble
    trainer.kinds = trainer.kinds.clamp_min(0)  # control tokens have no modality; the metrics need one


class Peer:
    """LlamaForCausalLM of the shape of `trainer.model`, trained by a plain loop on the same windows."""

    def __init__(self, trainer: Trainer, attention: str) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        c, recipe = trainer.model.config, trainer.recipe
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=c.vocabulary, hidden_size=c.width, intermediate_size=c.hidden, num_hidden_layers=c.depth,
            num_attention_heads=c.heads, num_key_value_heads=c.kv_heads, head_dim=c.head_dim,
            max_position_embeddings=c.context, rms_norm_eps=c.norm_eps, tie_word_embeddings=c.tied,
            attn_implementation=attention, use_cache=False,
        )  # fmt: skip
        self.model = LlamaForCausalLM(config).to(trainer.device).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.lr, betas=(recipe.beta1, recipe.beta2),
            weight_decay=recipe.weight_decay, fused=True,
        )  # fmt: skip
        self.trainer, self.step = trainer, 0
        self.windows = [trainer.batches[i].ids.to(trainer.device) for i in range(8)]

    def update(self) -> None:
        ids = self.windows[self.step % len(self.windows)]
        with autocast(self.trainer.device, self.trainer.precision):
            loss = self.model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.trainer.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1


def seconds(update: Callable[[], object], steps: int, device: torch.device) -> float:
    """Seconds of one step, the mean of `steps`."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    began = time.perf_counter()
    for _ in range(steps):
        update()
    synchronise()
    return (time.perf_counter() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default=str(Path(__file__).parents[1] / "recipes" / "digits.toml"))
    parser.add_argument("--rounds", type=int, default=6, help="blocks of each side")
    parser.add_argument("--steps", type=int, default=4, help="steps of a block")
    parser.add_argument(
        "--compiled-peer", action="store_true", help="time the peer under torch.compile as well"
    )
    arguments = parser.parse_args()
    asks_to_compile = load_recipe(arguments.recipe).train.compile
    overrides = [
        "model.qk_norm=false",
        "train.compile=false",
        "train.optimizer=adamw",
        "train.curriculum=false",
    ]
    recipe = load_recipe(arguments.recipe, [*overrides, "train.tokens=1e9"])
    vocabulary = vocabulary_of(recipe)
    with tempfile.TemporaryDirectory() as folder:
        trainer = ours(Path(folder), recipe, vocabulary)
        sides: dict[str, Callable[[], object]] = {"tony": trainer.update}
        if trainer.device.type == "cuda" or has_compiler():
            compiled = ours(Path(folder), recipe, vocabulary)
            compiled.model.compile_blocks()
            sides["tony compiled"] = compiled.update
        same_work = ours(Path(folder), recipe, vocabulary)
        whole_windows(same_work)
        sides["tony, the peer's work"] = same_work.update
        peers = {name: Peer(trainer, name) for name in ("sdpa", "eager")}
        trials = {}
        for name, peer in peers.items():
            peer.update()
            trials[name] = seconds(peer.update, 3, trainer.device)
        best = min(trials, key=trials.__getitem__)
        sides["transformers"] = peers[best].update
        if arguments.compiled_peer and "tony compiled" in sides:
            peer = Peer(trainer, best)
            peer.model = torch.compile(peer.model)
            sides["transformers compiled"] = peer.update
        as_recipe = "tony compiled" if asks_to_compile and "tony compiled" in sides else "tony"
        report(trainer, sides, as_recipe, best, trials, arguments)


def report(
    trainer: Trainer, sides: dict, as_recipe: str, best: str, trials: dict[str, float], arguments
) -> None:
    """Time the sides block by block, and print what came out."""
    tokens = trainer.batches.tokens_per_batch
    lengths = trainer.batches.shard.lengths
    print(
        f"{trainer.model.num_parameters:,} parameters, {tokens} positions a step in windows of {trainer.batches.context}"
    )
    print(f"documents of {lengths.mean():.0f} ids (5% {np.quantile(lengths, 0.05):.0f}, 95% {np.quantile(lengths, 0.95):.0f}),"
          f" {trainer.batches.packing.lost:.2%} of the positions lost to packing")  # fmt: skip
    print(f"{trainer.precision}, {torch.get_num_threads()} threads; the peer's attention: " + ", ".join(
        f"{name} {tokens / t:,.0f} tokens/s" for name, t in trials.items()))  # fmt: skip
    for update in sides.values():
        seconds(update, 2, trainer.device)  # warm-up; the compiler works here
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(arguments.rounds):
        order = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in order:
            times[name].append(seconds(sides[name], arguments.steps, trainer.device))
    speeds = {name: tokens / statistics.median(t) for name, t in times.items()}
    ratios = {
        name: statistics.median(peer / mine for peer, mine in zip(times["transformers"], t, strict=True))
        for name, t in times.items()
    }
    for name, speed in speeds.items():
        print(f"{name:<24} {speed:>10,.0f} tokens/s   {ratios[name]:.2f} x transformers ({best})")
    figures = {
        "benchmark": "train_speed",
        "device": str(trainer.device),
        "precision": str(trainer.precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "tokens_per_step": tokens,
        "context": trainer.batches.context,
        "lost_to_packing": round(trainer.batches.packing.lost, 4),
        "peer_attention": best,
        "tokens_per_second": {name: round(speed, 1) for name, speed in speeds.items()},
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "as_the_recipe": as_recipe,
        "ratio": round(ratios[as_recipe], 3),
        "asked": ASKED_RATIO,
        "ok": ratios[as_recipe] >= ASKED_RATIO,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
