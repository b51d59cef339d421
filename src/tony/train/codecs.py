"""Training of the codecs that have a network: sound (`tokens.sound`) and pictures (`tokens.patches`).

Budgets are steps, never seconds, so that a codec is the same on every machine of one kind. Batch i is a pure function
of (seed, i).

Shape letters: B batch, N samples, W windows, n_fft, F frequencies, T frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tony.errors import TonyError
from tony.media import Audio, Image, to_rate
from tony.tokens.patches import PatchCodec, PatchConfig, PatchNetwork, to_pixels
from tony.tokens.sound import HOP, RATE, SoundCodec, SoundConfig, SoundNetwork, mel_filters

Progress = Callable[[int, int, dict[str, float]], None]  # (step done, of how many, losses by name)


@dataclass(frozen=True, kw_only=True)
class SoundTraining:
    """How a sound codec is trained, apart from the number of steps."""

    batch: int = 8
    workers: int = 2  # threads that each take an equal part of the batch
    crop_seconds: float = 1.0
    learning_rate: float = 3e-3
    warm_up: int = 50
    final_rate: float = 0.05  # of the learning rate, reached at the last step on a cosine
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.995  # decay of the averaged weights that become the codec
    fft_sizes: tuple[int, ...] = (256, 512, 1024)
    mel_weight: float = 1.0
    intelligibility_weight: float = 3.0
    spread_weight: float = 0.01
    gain_db: float = 0.0


class _Magnitude(torch.autograd.Function):
    """The magnitudes (B, W, F) of the windowed spectra of samples (B, N), windows `hop` apart.

    Same as torch.stft with center=False, then abs; written out because the backward pass of `unfold` is six times
    slower on a CPU than the overlap-add that it amounts to.
    """

    @staticmethod
    def forward(ctx, samples: Tensor, window: Tensor, hop: int, n_fft: int) -> Tensor:
        spectrum = torch.fft.rfft(samples.unfold(1, len(window), hop) * window, n=n_fft)
        magnitude = torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-8)
        ctx.save_for_backward(spectrum, magnitude, window)
        ctx.hop, ctx.n_fft, ctx.length = hop, n_fft, samples.shape[1]
        return magnitude

    @staticmethod
    def backward(ctx, gradient: Tensor):
        spectrum, magnitude, window = ctx.saved_tensors
        # The adjoint of rfft: irfft without its 1/n, and half of every frequency that stands for two.
        weight = torch.full_like(magnitude[0, 0], 0.5)
        weight[0] = 1.0
        if ctx.n_fft % 2 == 0:
            weight[-1] = 1.0
        frames = torch.fft.irfft(spectrum * (gradient / magnitude * weight), n=ctx.n_fft, norm="forward")
        frames = frames[..., : len(window)] * window  # (B, W, window)
        pieces = frames.reshape(len(frames), frames.shape[1], -1, ctx.hop)
        overlap = pieces.shape[2]
        out = frames.new_zeros(len(frames), frames.shape[1] + overlap - 1, ctx.hop)
        for i in range(overlap):
            out[:, i : i + frames.shape[1]] += pieces[:, :, i]
        out = out.flatten(1)
        return F.pad(out, (0, ctx.length - out.shape[1])), None, None, None


def magnitudes(samples: Tensor, window: Tensor, hop: int, n_fft: int) -> Tensor:
    """The magnitudes (B, W, n_fft / 2 + 1) of windows `hop` apart (a divisor of the window) of samples (B, N)."""
    return _Magnitude.apply(samples, window, hop, n_fft)


class SoundLoss(nn.Module):
    """How far a copy is from its original, in three terms.

    spectrum: over several window lengths, the mean absolute difference of log magnitudes plus the spectral convergence
    |S - S'| / |S| (Yamamoto et al. 2020, arXiv 1910.11480). mel: the same difference of 80 log-mel bands.
    intelligibility: 1 - ESTOI (Jensen and Taal 2016): it trains towards the measure that benchmarks/codec.py reports, so
    that script reports STOI and a mel distance beside.
    """

    def __init__(self, training: SoundTraining) -> None:
        super().__init__()
        self.training_options = training
        for size in training.fft_sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
        self.register_buffer("mel", mel_filters(80, 1024), persistent=False)
        # ESTOI works at 10 kHz, on windows of 256 samples, 128 apart, in a transform of 512, and 15 third-octave bands
        # from 150 Hz whose edges are its nearest frequencies. The same at 16 kHz, rounded: 410, 205, 820.
        hz = torch.arange(411, dtype=torch.float64) * RATE / 820
        centres = 150 * 2 ** (torch.arange(15, dtype=torch.float64) / 3)
        edges = [(hz - centres[:, None] * 2**side).abs().argmin(1) for side in (-1 / 6, 1 / 6)]
        used = torch.arange(int(edges[0][0]), int(edges[1][-1]))
        bands = (used[:, None] >= edges[0]) & (used[:, None] < edges[1])  # (F, 15)
        window = torch.hann_window(412, periodic=False, dtype=torch.float64)[1:-1]
        angles = 2 * math.pi / 820 * torch.arange(410, dtype=torch.float64)[:, None] * used
        transform = torch.cat([torch.cos(angles), torch.sin(angles)], 1) * window[:, None]
        self.register_buffer("window_estoi", window.float(), persistent=False)
        self.register_buffer("bands", bands.float(), persistent=False)
        self.register_buffer("transform", transform.float(), persistent=False)  # (410, 2 F)

    def forward(self, copy: Tensor, original: Tensor) -> dict[str, Tensor]:
        """The terms by name, scalars, of copies (B, N) against originals (B, N)."""
        options = self.training_options
        spectrum = mel = copy.new_zeros(())
        for size in options.fft_sizes:
            window = getattr(self, f"window_{size}")
            ours = magnitudes(copy, window, size // 4, size)
            with torch.no_grad():
                theirs = magnitudes(original, window, size // 4, size)
            log_ours, log_theirs = torch.log(ours + 1e-3), torch.log(theirs + 1e-3)
            convergence = (ours - theirs).norm() / theirs.norm().clamp(min=1e-3)
            spectrum = spectrum + (log_ours - log_theirs).abs().mean() + convergence
            if size == 1024:
                mel = (torch.log(ours @ self.mel + 1e-3) - torch.log(theirs @ self.mel + 1e-3)).abs().mean()
        terms = {
            "spectrum": spectrum / len(options.fft_sizes),
            "mel": options.mel_weight * mel,
        }
        if options.intelligibility_weight:
            terms["intelligibility"] = options.intelligibility_weight * self.unintelligible(copy, original)
        return terms

    def unintelligible(self, copy: Tensor, original: Tensor) -> Tensor:
        """1 - ESTOI, averaged over every third of its segments of 30 windows; 0 for a perfect copy.

        As in ESTOI, windows in which the original is 40 dB below its loudest window are first cut out of both.
        """
        with torch.no_grad():
            theirs, windows = self._envelopes(original)
            level = 20 * torch.log10((windows * self.window_estoi).norm(dim=2) + 1e-9)
            heard = level > level.amax(1, keepdim=True) - 40
            order = (~heard).to(torch.int8).argsort(dim=1, stable=True)[..., None].expand(-1, -1, 15)
            theirs = theirs.gather(1, order)
        ours = self._envelopes(copy)[0].gather(1, order)
        starts = range(0, ours.shape[1] - 29, 3)
        correlation = (_segments(ours, starts) * _segments(theirs, starts)).sum((2, 3)) / 30  # (B, S)
        ends = torch.tensor([start + 30 for start in starts], device=copy.device)
        counts = (ends <= heard.sum(1, keepdim=True)).to(copy.dtype)
        return 1 - (correlation * counts).sum() / counts.sum().clamp(min=1)

    def _envelopes(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """The third-octave magnitudes (B, W, 15) of windows of 410 samples, 205 apart; and the windows (B, W, 410)."""
        halves = samples[:, : samples.shape[1] // 205 * 205].unflatten(1, (-1, 205))
        windows = torch.cat([halves[:, :-1], halves[:, 1:]], dim=2)
        real, imaginary = (windows @ self.transform).chunk(2, dim=2)
        return torch.sqrt((real.square() + imaginary.square()) @ self.bands + 1e-8), windows


def _segments(envelopes: Tensor, starts: Sequence[int]) -> Tensor:
    """Segments (B, S, 30, 15) of envelopes (B, W, 15), each band standardised over time, then each moment over bands."""
    segments = torch.stack([envelopes[:, start : start + 30] for start in starts], dim=1)
    return _standard(_standard(segments, 2), 3)


def _standard(x: Tensor, dim: int) -> Tensor:
    """x minus its mean, scaled to unit norm, along one dimension."""
    x = x - x.mean(dim, keepdim=True)
    return x * torch.rsqrt(x.square().sum(dim, keepdim=True) + 1e-6)


def train_sound_codec(
    clips: Sequence[Audio],
    config: SoundConfig | None = None,
    steps: int = 1000,
    seed: int = 0,
    *,
    training: SoundTraining | None = None,
    progress: Progress | None = None,
) -> SoundCodec:
    """The sound codec that `steps` batches of random crops of the clips make of `config`.

    The codec holds the running average of the weights. Clips should have speech level (RMS about 0.1, as
    `data.speech.speak` gives). bf16 is used in matrix products where the CPU multiplies it natively.
    """
    config, training = config or SoundConfig(), training or SoundTraining()
    crops = Crops(clips, training)
    torch.manual_seed(seed)
    network = SoundNetwork(config).train()
    with torch.no_grad():
        sample = network.features(crops.batch(seed, 2**31, 64)).flatten(0, 1)
        network.feature_mean.copy_(sample.mean(0))
        network.feature_scale.copy_(sample.std(0) + 0.1)
    measure, bf16 = SoundLoss(training), has_native_bf16()

    def draw(step: int) -> Tensor:
        return crops.batch(seed, step, training.batch)

    def loss(original: Tensor) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            copy, latents = network(original)
        return measure(copy, original) | {"spread": training.spread_weight * spread(latents)}

    _descend(network, draw, loss, steps, training, progress)
    return SoundCodec(network)


def _descend(
    network: nn.Module,
    draw: Callable[[int], Tensor],
    loss: Callable[[Tensor], dict[str, Tensor]],
    steps: int,
    training: SoundTraining | PatchTraining,
    progress: Progress | None,
) -> None:
    """Minimise the sum of the terms of `loss` of the batches `draw(step)` with AdamW, each batch in equal parts.

    Leaves the running average of the weights in place.
    """
    weights = list(network.parameters())
    averaged = [w.detach().clone() for w in weights]
    optimizer = torch.optim.AdamW(
        weights, training.learning_rate, betas=(0.8, 0.95), weight_decay=training.weight_decay, fused=True
    )

    def part_of_step(part: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        terms, share = loss(part), len(part) / training.batch
        gradients = torch.autograd.grad(share * sum(terms.values()), weights)
        return gradients, {name: share * value.detach() for name, value in terms.items()}

    with _threads(training.workers) as pool:
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _rate(step, steps, training)
            parts = list(pool.map(part_of_step, draw(step).chunk(training.workers)))
            for weight, *gradients in zip(weights, *(part[0] for part in parts), strict=True):
                weight.grad = sum(gradients[1:], gradients[0])
            nn.utils.clip_grad_norm_(weights, training.clip)
            optimizer.step()
            decay = min(training.average, (1 + step) / (10 + step))
            torch._foreach_lerp_(averaged, [w.detach() for w in weights], 1 - decay)
            if progress:
                terms = {name: float(sum(part[1][name] for part in parts)) for name in parts[0][1]}
                progress(step + 1, steps, terms)
    with torch.no_grad():
        for weight, mean in zip(weights, averaged, strict=True):
            weight.copy_(mean)


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that share this process's CPU threads equally.

    Two threads that each work through half a batch are done sooner than one whose every small operation is divided.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))  # threads that start now take this number over
    try:
        with ThreadPoolExecutor(workers) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def spread(latents: Tensor) -> Tensor:
    """How far the latents (..., C) are from zero mean, unit variance and no correlation; a scalar.

    FSQ uses its codes evenly when the numbers that it rounds are spread over the range of tanh independently. Nothing
    else in the loss asks for that, and a short training then leaves most codes unused.
    """
    z = latents.flatten(0, -2)
    mean = z.mean(0)
    covariance = (z - mean).T @ (z - mean) / len(z)
    return mean.square().sum() + (covariance - torch.eye(len(mean), dtype=z.dtype)).square().sum()


def _rate(step: int, steps: int, training: SoundTraining | PatchTraining) -> float:
    """The learning rate of one step: a linear warm-up, then half a cosine down to `final_rate`."""
    warm = min(training.warm_up, max(1, steps // 5))
    if step < warm:
        return training.learning_rate * (step + 1) / warm
    along = (step - warm) / max(1, steps - warm)
    low = training.final_rate
    return training.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * along)))


def has_native_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively (AVX-512 BF16 or AMX); elsewhere bf16 is slower than float32."""
    return bool(torch.cpu._is_avx512_bf16_supported())


class Crops:
    """Batch i of random crops of clips, a pure function of (seed, i); each clip in proportion to its length.

    A crop lies inside a clip; where the clip is shorter, the crop begins with it and goes on, after a pause, with
    others. So short words are heard from their start, as they will be encoded, and no time is lost on silence.
    """

    def __init__(self, clips: Sequence[Audio], training: SoundTraining) -> None:
        self.length = round(training.crop_seconds * RATE / HOP) * HOP
        self.gain_db = training.gain_db
        sounds = [sound for sound in (to_rate(clip, RATE).samples for clip in clips) if len(sound)]
        if not sounds:
            raise TonyError("there is no sound to train a codec on: give at least one clip that is not empty")
        order = np.random.default_rng(0).permutation(len(sounds))
        pause = np.zeros(RATE // 10, np.float32)
        pieces: list[np.ndarray] = []
        self.starts = []  # (where a clip starts, how many places a crop may begin at)
        at = 0
        for i in order:
            pieces += [sounds[i], pause]
            self.starts.append((at, max(1, len(sounds[i]) + len(pause) - self.length + 1)))
            at += len(sounds[i]) + len(pause)
        self.samples = np.concatenate([*pieces, np.zeros(self.length, np.float32)])
        lengths = np.array([len(sounds[i]) for i in order], float)
        self.shares = np.cumsum(lengths / lengths.sum())

    def batch(self, seed: int, index: int, size: int) -> Tensor:
        """Crops (size, N)."""
        draw = np.random.default_rng([seed, index])
        rows = np.zeros((size, self.length), np.float32)
        for row, clip in enumerate(np.searchsorted(self.shares, draw.random(size))):
            start, room = self.starts[min(clip, len(self.starts) - 1)]
            begin = start + int(draw.integers(room))
            rows[row] = self.samples[begin : begin + self.length]
            if self.gain_db:
                rows[row] *= 10 ** (draw.uniform(-self.gain_db, self.gain_db) / 20)
        return torch.from_numpy(rows)


@dataclass(frozen=True, kw_only=True)
class PatchTraining:
    """How a patch codec is trained, apart from the number of steps."""

    batch: int = 32
    workers: int = 1
    learning_rate: float = 4e-3
    warm_up: int = 50
    final_rate: float = 0.05
    weight_decay: float = 0.01
    clip: float = 1.0
    average: float = 0.99
    gradient_weight: float = 0.5
    spread_weight: float = 0.02


def picture_loss(copy: Tensor, original: Tensor, gradient_weight: float) -> dict[str, Tensor]:
    """Mean absolute error, and the same of horizontal and vertical differences at scales 1, 2 and 4; (B, 3, S, S)."""
    gradient = copy.new_zeros(())
    ours, theirs = copy, original
    for scale in range(3):
        if scale:
            ours, theirs = F.avg_pool2d(ours, 2), F.avg_pool2d(theirs, 2)
        wrong = ours - theirs
        gradient = gradient + wrong.diff(dim=2).abs().mean() + wrong.diff(dim=3).abs().mean()
    return {"colour": (copy - original).abs().mean(), "gradient": gradient_weight * gradient / 3}


def train_patch_codec(
    images: Sequence[Image],
    config: PatchConfig | None = None,
    steps: int = 600,
    seed: int = 0,
    *,
    training: PatchTraining | None = None,
    progress: Progress | None = None,
) -> PatchCodec:
    """The patch codec that `steps` batches of the pictures, half of them mirrored, make of `config`."""
    config, training = config or PatchConfig(), training or PatchTraining()
    if not images:
        raise TonyError("there is no picture to train a codec on: give at least one")
    pixels = (
        to_pixels(images, config.side).mul(127.5).add(127.5).round().to(torch.uint8)
    )  # a quarter of the memory
    torch.manual_seed(seed)
    network = PatchNetwork(config).train()

    def draw(step: int) -> Tensor:
        rng = np.random.default_rng([seed, step])
        original = pixels[rng.integers(len(pixels), size=training.batch)].float() / 127.5 - 1
        mirrored = torch.from_numpy(rng.random(training.batch) < 0.5)
        original[mirrored] = original[mirrored].flip(3)
        return original

    def loss(original: Tensor) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            copy, latents = network(original)
        terms = picture_loss(copy, original, training.gradient_weight)
        return terms | {"spread": training.spread_weight * spread(latents)}

    bf16 = has_native_bf16()
    _descend(network, draw, loss, steps, training, progress)
    return PatchCodec(network)
