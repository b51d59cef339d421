"""What the tests share: tiny codecs, vocabularies, models and worlds; nothing is trained for long."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("tony", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("tony")

TEXTS = [
    "zero one two three four five six seven eight nine",
    "z\u00e9ro un deux trois quatre cinq",
    "three + five",
]


def pytest_configure():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    torch.set_num_threads(max(1, min(2, cores // workers)))


@pytest.fixture(scope="session")
def repository():
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def beside():
    """Load a helper module by path: with importlib mode there is no package to import it from."""

    def load(path):
        name = f"beside_{Path(path).stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return sys.modules[name]

    return load


@pytest.fixture(scope="session")
def text_codec():
    from tony.tokens.text import TextCodec

    return TextCodec.train(TEXTS * 4, 300)


@pytest.fixture(scope="session")
def sound_codec():
    """An untrained codec: its ids mean noise, but it codes, decodes and streams as a trained one."""
    from tony.tokens.sound import SoundCodec, SoundConfig, SoundNetwork

    torch.manual_seed(0)
    return SoundCodec(
        SoundNetwork(SoundConfig(levels=(4, 4, 4), width=32, encoder_blocks=1, decoder_blocks=1))
    )


@pytest.fixture(scope="session")
def vocabulary(text_codec, sound_codec):
    """All four modalities; pictures of 4 x 4 in 5 greys."""
    from tony.tokens.pixels import PixelCodec
    from tony.tokens.vocabulary import Vocabulary

    return Vocabulary(text_codec, PixelCodec.grey(4, 5), sound_codec, video_seconds=4.0)


@pytest.fixture(scope="session")
def placed_vocabulary(text_codec, sound_codec):
    """As `vocabulary`, but an id of a picture says which pixel it is of."""
    from tony.tokens.pixels import PixelCodec
    from tony.tokens.vocabulary import Vocabulary

    return Vocabulary(text_codec, PixelCodec.grey(4, 5, placed=True), sound_codec, video_seconds=4.0)


@pytest.fixture(scope="session")
def silent_vocabulary(text_codec):
    """Text and 8 x 8 pictures of 17 greys, and no sound."""
    from tony.tokens.pixels import PixelCodec
    from tony.tokens.vocabulary import Vocabulary

    return Vocabulary(text_codec, PixelCodec.grey(8, 17))


@pytest.fixture(scope="session")
def world():
    """A small digit world: two languages, three voices each."""
    from tony.data.digits import DigitWorld
    from tony.runs.data_recipes import DigitsData

    return DigitWorld(DigitsData(examples=400, voices=3, languages=("en", "fr")))


@pytest.fixture(scope="session")
def random_model():
    """(vocabulary size, **shape) -> an untrained model whose predictions are far from uniform."""
    from tony.model import Transformer, TransformerConfig

    def make(vocabulary, seed=0, **shape):
        shape = {
            "width": 48, "depth": 2, "heads": 4, "kv_heads": 4, "head_dim": 12, "hidden": 64, "context": 256, **shape
        }  # fmt: skip
        model = Transformer(TransformerConfig(vocabulary=vocabulary, **shape))
        generator = torch.Generator().manual_seed(seed)
        model.reset(generator)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
                elif name == "readout.weight" or (shape.get("tied") and name == "embedding.weight"):
                    parameter.normal_(0, 1.5 * shape["width"] ** -0.5, generator=generator)
        return model.eval().requires_grad_(False)

    return make
