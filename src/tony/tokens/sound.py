"""Sound as one id per 20 ms: a causal FSQ autoencoder of 16 kHz speech with a magnitude-and-phase iSTFT head.

    samples -> log-mel of windows that end inside the frame -> causal blocks -> FSQ -> id
    id -> causal blocks -> magnitude and phase of a few overlapping windows -> inverse STFT -> samples

Delay. Frame t is samples [320 t, 320 (t + 1)). Id t depends on samples before 320 (t + 1) only: the encoder looks
ahead 0 ms. The windows that id t writes start one frame back, at 320 (t - 1), so the samples of frame t are final once
id t + 1 is known: the decoder looks ahead 20 ms, one frame, and that is the whole `look_ahead_ms`. From a sound to its
copy passes `latency_ms` = 20 (the frame itself) + 20.

Shape letters: B batch, N samples, T frames (50 a second), K analysis windows a frame, M synthesis windows a frame,
F frequencies of a synthesis window, D width, C = len(levels).
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tony.errors import TonyError
from tony.media import Audio, Part, to_rate
from tony.tokens.codec import config_hash, load_network, neighbours, network_fingerprint, save_network
from tony.tokens.fsq import FSQ

RATE = 16_000  # Hz
HOP = 320  # samples a frame: 20 ms
KERNEL = 7  # frames that one block sees: its own and six before


@dataclass(frozen=True, kw_only=True)
class SoundConfig:
    """The shape of a sound codec; two codecs of one config and other weights still write different ids."""

    levels: tuple[int, ...] = (2,) * 12  # the more dimensions for the same codes, the faster it learns
    width: int = 256
    encoder_blocks: int = 4
    decoder_blocks: int = 5
    expansion: int = 2
    mels: int = 64
    analysis_window: int = 512  # samples; the last window of a frame ends where the frame ends
    analysis_windows: int = 2  # K
    pitch_window: int = 1024  # samples; ends where the frame ends; long, as one voice period is up to 16 ms
    pitch_bins: int = 64  # of its lowest frequencies, 15.6 Hz apart: up to 1 kHz
    synthesis_window: int = 480  # samples
    synthesis_windows: int = 2  # M

    def __post_init__(self) -> None:
        for name in ("analysis_windows", "synthesis_windows"):
            if HOP % getattr(self, name):
                raise TonyError(f"SoundConfig.{name} is {getattr(self, name)}: give a divisor of {HOP}")
        if self.synthesis_window % (HOP // self.synthesis_windows):
            raise TonyError(
                f"SoundConfig.synthesis_window is {self.synthesis_window}: give a multiple of "
                f"{HOP // self.synthesis_windows}, the distance between two windows"
            )

    @classmethod
    def small(cls) -> SoundConfig:
        """About 1,000 codes, for a small world of words such as the digits."""
        return cls(levels=(8, 5, 5, 5))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that differ between any two configs."""
        return config_hash(self)


class Block(nn.Module):
    """A causal residual block: depthwise convolution over time, layer norm, two linear layers, a small gain."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, KERNEL, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.gain = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output (B, T, D), and the last six frames of its input (B, 6, D) for the next call."""
        seen = torch.cat([past.to(x.dtype), x], dim=1)
        y = self._over_time(seen)
        y = self.down(F.silu(self.up(self.norm(y))))
        return x + self.gain * y, seen[:, -(KERNEL - 1) :]

    def _over_time(self, seen: Tensor) -> Tensor:
        """The depthwise convolution (B, T, D) of (B, T + 6, D)."""
        if self.training:
            return self.conv(seen.transpose(1, 2)).transpose(1, 2)
        # float64 convolutions take milliseconds a call on a CPU, whatever the length; these seven products do not.
        length = seen.shape[1] - KERNEL + 1
        taps = self.conv.weight[:, 0].T  # (KERNEL, D)
        y = self.conv.bias + seen[:, :length] * taps[0]
        for i in range(1, KERNEL):
            y = torch.addcmul(y, seen[:, i : i + length], taps[i])
        return y


class SoundNetwork(nn.Module):
    """The encoder, the quantiser and the decoder, as one differentiable module."""

    def __init__(self, config: SoundConfig) -> None:
        super().__init__()
        self.config = config
        self.fsq = FSQ(config.levels)
        width, features = config.width, config.mels * config.analysis_windows + config.pitch_bins
        self.frequencies = config.synthesis_window // 2 + 1
        outputs = config.synthesis_windows * self.frequencies
        self.read_in = nn.Linear(features, width)
        self.encoder = nn.ModuleList(Block(width, config.expansion) for _ in range(config.encoder_blocks))
        self.encoder_norm = nn.LayerNorm(width)
        self.to_code = nn.Linear(width, len(config.levels))
        self.from_code = nn.Linear(len(config.levels), width)
        self.decoder = nn.ModuleList(Block(width, config.expansion) for _ in range(config.decoder_blocks))
        self.decoder_norm = nn.LayerNorm(width)
        self.to_spectrum = nn.Linear(width, 2 * outputs)
        with torch.no_grad():
            # Windows begin as pulses in their middle. At phase 0 the pulse would be at the edges, where a window is zero.
            phases = self.to_spectrum.bias.view(config.synthesis_windows, 2, self.frequencies)[:, 1]
            phases += math.pi * (torch.arange(self.frequencies) % 2)
        # Training sets these two from its data; they make the encoder's input zero-mean and of unit variance.
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_scale", torch.ones(features))
        self.register_buffer("_mel", mel_filters(config.mels, config.analysis_window), persistent=False)
        self.register_buffer("_analysis", torch.hann_window(config.analysis_window), persistent=False)
        self.register_buffer("_pitch", torch.hann_window(config.pitch_window), persistent=False)
        self.register_buffer("_synthesis", torch.hann_window(config.synthesis_window), persistent=False)

    def features(self, samples: Tensor) -> Tensor:
        """What the encoder sees (B, T, K * mels + pitch bins) of samples (B, T * 320), nothing later than the frame.

        Log-mel bands of short windows, and the lowest log-power bins of a long one, which tell pitches apart.
        """
        config = self.config
        mels = torch.log(
            self._power(samples, self._analysis, HOP // config.analysis_windows) @ self._mel + 1e-5
        )
        mels = mels.reshape(len(samples), -1, config.analysis_windows * config.mels)
        if not config.pitch_bins:
            return mels
        low = self._power(samples, self._pitch, HOP)[..., 1 : 1 + config.pitch_bins]
        return torch.cat([mels, torch.log(low + 1e-4)], dim=2)

    def _power(self, samples: Tensor, window: Tensor, hop: int) -> Tensor:
        """Power spectra (B, N / hop, F) of windows that end at hop, 2 hop, ... N."""
        windows = F.pad(samples, (len(window) - hop, 0)).unfold(1, len(window), hop)
        return torch.fft.rfft(windows * window).abs().square()

    def latents(self, features: Tensor) -> Tensor:
        """The unbounded vectors (B, T, C) that the quantiser rounds."""
        x = self.read_in((features - self.feature_mean) / self.feature_scale)
        for block in self.encoder:
            x, _ = block(x, x.new_zeros(len(x), KERNEL - 1, x.shape[2]))
        return self.to_code(self.encoder_norm(x))

    def start(self, batch: int) -> list[Tensor]:
        """What the decoder remembers before the first frame: per block (B, 6, D) of zeros."""
        return [self.feature_mean.new_zeros(batch, KERNEL - 1, self.config.width) for _ in self.decoder]

    def windows(self, codes: Tensor, past: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The synthesis windows (B, T * M, window), in samples, of codes (B, T, C), and the new memory."""
        x, remembered = self.from_code(codes), []
        for block, before in zip(self.decoder, past, strict=True):
            x, kept = block(x, before)
            remembered.append(kept)
        spectrum = self.to_spectrum(self.decoder_norm(x)).to(codes.dtype)
        spectrum = spectrum.reshape(len(x), -1, 2, self.frequencies)  # (B, T * M, 2, F)
        magnitude, phase = torch.exp(spectrum[:, :, 0].clamp(max=6.0)), spectrum[:, :, 1]
        waves = torch.fft.irfft(torch.polar(magnitude, phase), n=self.config.synthesis_window)
        return waves * self._synthesis, remembered

    def overlap_add(self, windows: Tensor) -> Tensor:
        """The sum (B, ...) of windows (B, T * M, window) that start 320 / M samples apart."""
        step = HOP // self.config.synthesis_windows
        pieces = windows.reshape(len(windows), windows.shape[1], -1, step)  # (B, T * M, window / step, step)
        overlap = pieces.shape[2]
        total = sum(F.pad(pieces[:, :, i], (0, 0, i, overlap - 1 - i)) for i in range(overlap))
        return total.flatten(1)

    def synthesize(self, codes: Tensor) -> Tensor:
        """The samples (B, T * 320) of codes (B, T, C). After the last frame comes one of zeros, to close it."""
        closed = F.pad(codes, (0, 0, 0, 1))
        windows, _ = self.windows(closed, self.start(len(codes)))
        return self.overlap_add(windows)[:, HOP : HOP * (1 + codes.shape[1])]

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """The copy (B, N) of samples (B, N), N a multiple of 320, and the vectors (B, T, C) that were rounded for it."""
        with torch.autocast("cpu", enabled=False):
            features = self.features(samples)
        latents = self.latents(features).to(samples.dtype)
        return self.synthesize(self.fsq(latents)), latents


def mel_filters(bands: int, window: int) -> Tensor:
    """Triangular filters (window / 2 + 1, bands), evenly spaced in mel from 50 to 7,800 Hz, each of sum one.

    mel = 2595 log10(1 + Hz / 700) (O'Shaughnessy). A band narrower than a bin still takes its nearest bins.
    """
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (50, 7800))
    edges = 700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1)
    hz = np.arange(window // 2 + 1) * RATE / window
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bin_width = RATE / window
    rise = (hz[:, None] - np.minimum(left, centre - bin_width)) / np.maximum(centre - left, bin_width)
    fall = (np.maximum(right, centre + bin_width) - hz[:, None]) / np.maximum(right - centre, bin_width)
    filters = np.clip(np.minimum(rise, fall), 0, None)
    return torch.from_numpy((filters / filters.sum(0)).astype(np.float32))


class SoundCodec:
    """Sound to ids and back: 16 kHz, 50 ids a second, `size` different ids.

    Arithmetic is float64 at run time, so that the ids do not depend on the number of threads or on what else is in the
    batch, and streamed samples equal offline ones to 1e-9.
    """

    modality = "audio"
    rate = RATE
    frames_per_second = RATE // HOP
    look_ahead_ms = 20  # beyond the frame: encoder 0, decoder one frame
    latency_ms = 40  # the frame, and the look-ahead

    def __init__(self, network: SoundNetwork) -> None:
        self.config = network.config
        # Through float32, as saved: a codec just trained and the same one loaded are one and the same.
        self.network = network.float().double().eval().requires_grad_(False)
        self.size = network.fsq.size

    @cached_property
    def _single(self) -> SoundNetwork:
        return copy.deepcopy(self.network).float()

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ where the config or any weight differs."""
        return network_fingerprint(self.network)

    def encode(self, part: Part) -> np.ndarray:
        """The ids, int64 (n,), one per 20 ms begun; other rates are converted to 16 kHz first."""
        return self.encode_many([part])[0]

    def coordinates(self) -> np.ndarray:
        """A point (size, D) for every id, as `Codec` says."""
        return self.network.fsq.coordinates()

    def neighbours(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each id (n,) one of a sound that differs a little."""
        return neighbours(ids, self.config.levels, rng)

    def encode_many(
        self, parts: list[Part], batch_seconds: float = 60.0, exact: bool = True
    ) -> list[np.ndarray]:
        """The ids of each part, as `encode` gives them one by one; sorted into batches of like lengths for speed.

        Unless `exact`, in float32, which halves the time: a latent on the border of two codes may then fall to the other.
        """
        network = self.network if exact else self._single
        clips = [_samples(part) for part in parts]
        order = sorted(range(len(clips)), key=lambda i: len(clips[i]))
        ids: list[np.ndarray] = [np.zeros(0, np.int64)] * len(clips)
        while order:
            longest = -(-len(clips[order[-1]]) // HOP)
            if longest == 0:
                break
            count = max(1, int(batch_seconds * self.frames_per_second / longest))
            batch, order = order[-count:], order[:-count]
            samples = np.zeros((len(batch), longest * HOP), np.float64 if exact else np.float32)
            for row, i in enumerate(batch):
                samples[row, : len(clips[i])] = clips[i]
            with torch.inference_mode():
                latents = network.latents(network.features(torch.from_numpy(samples)))
                indices = network.fsq.to_indices(network.fsq(latents)).numpy()
            for row, i in enumerate(batch):
                ids[i] = indices[row, : -(-len(clips[i]) // HOP)].copy()
        return ids

    def decode(self, ids: np.ndarray) -> Audio:
        """The sound of n ids: 320 n samples at 16 kHz, within [-1, 1]."""
        return self.decode_many([ids])[0]

    def decode_many(self, many: Sequence[np.ndarray], together: int = 64) -> list[Audio]:
        """The sound of each array of ids, as `decode` gives them one by one; in batches of like lengths for speed."""
        codes = [self._codes(ids) for ids in many]
        order = sorted(range(len(codes)), key=lambda i: len(codes[i]))
        sounds: list[Audio | None] = [None] * len(codes)
        for first in range(0, len(order), together):
            batch = order[first : first + together]
            # Zeros close a sound, so what pads a shorter one is what follows it anyway.
            padded = pad_sequence([codes[i] for i in batch], batch_first=True)
            with torch.inference_mode():
                samples = self.network.synthesize(padded).clamp(-1, 1).float().numpy()
            for row, i in enumerate(batch):
                sounds[i] = Audio(samples[row, : HOP * len(codes[i])].copy(), RATE)
        return sounds

    def stream(self) -> SoundStream:
        """A decoder that takes ids as they come and gives final samples one frame behind."""
        return SoundStream(self)

    def _codes(self, ids: np.ndarray) -> Tensor:
        """The rounded vectors (T, C) of the ids, checked."""
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
            raise TonyError(
                f"sound ids are {ids.dtype} of shape {ids.shape}: give whole numbers of shape (n,)"
            )
        if ids.size and (ids.min() < 0 or ids.max() >= self.size):
            raise TonyError(
                f"sound id {ids.min() if ids.min() < 0 else ids.max()} is outside [0, {self.size})"
            )
        return self.network.fsq.to_codes(torch.from_numpy(ids.astype(np.int64)), torch.float64)

    def save(self, folder: str | os.PathLike) -> Path:
        """The folder, now holding codec.json and weights.safetensors; an older codec there is replaced."""
        return save_network(self.network, "sound", folder)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Self:
        """The codec saved there. Raises TonyError where there is none, or one that does not fit its description."""
        return cls(load_network("sound", SoundConfig, SoundNetwork, folder))


class SoundStream:
    """Decoding as ids come. `step` gives the samples that are final; `flush` the rest, after which it starts anew."""

    def __init__(self, codec: SoundCodec) -> None:
        self._codec = codec
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next id is the first."""
        network = self._codec.network
        self._past = network.start(1)
        step = HOP // network.config.synthesis_windows
        self._tail = torch.zeros(network.config.synthesis_window - step, dtype=torch.float64)
        self._started = False

    def clone(self) -> SoundStream:
        """A second stream that goes on from the same point."""
        other = SoundStream(self._codec)
        other._past, other._tail, other._started = list(self._past), self._tail.clone(), self._started
        return other

    def step(self, ids: np.ndarray) -> np.ndarray:
        """The samples, float32 (320 m,), that became final: those of the frames before the last id."""
        codes = self._codec._codes(ids)
        return self._push(codes) if len(codes) else np.zeros(0, np.float32)

    def flush(self) -> np.ndarray:
        """The last frame, float32 (320,), or nothing where no id came; the stream is then reset."""
        if not self._started:
            return np.zeros(0, np.float32)
        last = self._push(torch.zeros(1, len(self._codec.config.levels), dtype=torch.float64))
        self.reset()
        return last

    def _push(self, codes: Tensor) -> np.ndarray:
        network = self._codec.network
        with torch.inference_mode():
            windows, self._past = network.windows(codes[None], self._past)
            total = network.overlap_add(windows)[0]
            total[: len(self._tail)] += self._tail
            done = HOP * len(codes)
            samples, self._tail = total[:done], total[done:].clone()
        first, self._started = (
            (0 if self._started else HOP),
            True,
        )  # the frame before the first is not part of it
        return samples[first:].clamp(-1, 1).float().numpy()


def _samples(part: Part) -> np.ndarray:
    if not isinstance(part, Audio):
        raise TonyError(f"the sound codec takes Audio, not {type(part).__name__}")
    return to_rate(part, RATE).samples
