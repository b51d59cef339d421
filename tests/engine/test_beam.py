"""Protects: beam search finds what that of `transformers` finds, and exhaustive search at full width."""

import itertools

import pytest
import torch

from tony.engine.batcher import Batcher
from tony.engine.beam import beam_search
from tony.engine.exchange.huggingface import to_huggingface
from tony.errors import TonyError

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize(
    ("width", "penalty", "most"), [(4, 0.6, 12), (2, 1.0, 20), (1, 0.0, 8), (4, 2.0, 12)]
)
def test_hypotheses_are_those_of_transformers(random_model, width, penalty, most):
    model = random_model(60, qk_norm=False)
    config, tensors = to_huggingface(model)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
    theirs.load_state_dict(tensors, strict=True)
    batcher = Batcher(model, rows=4)
    for seed in range(6):
        prompt = torch.randint(3, 60, (1, 7), generator=torch.Generator().manual_seed(seed))
        settings = transformers.GenerationConfig(
            max_new_tokens=most, num_beams=width, length_penalty=penalty, early_stopping=False, do_sample=False,
            num_return_sequences=width, eos_token_id=list(range(3, 8)), pad_token_id=0, output_scores=True,
            return_dict_in_generate=True,
        )  # fmt: skip
        out = theirs.generate(prompt, generation_config=settings)
        found = beam_search(batcher, prompt[0].tolist(), most, width, penalty, frozenset(range(3, 8)))
        rows = out.sequences[:, 7:].tolist()
        expected = [list(itertools.takewhile(lambda i: i not in range(3, 8), row)) for row in rows]
        assert [list(h.ids) for h in found] == expected
        if width > 1:
            assert [h.score for h in found] == pytest.approx(out.sequences_scores.tolist(), abs=1e-4)


def test_full_width_is_exhaustive_search(random_model):
    model = random_model(6)
    best = beam_search(Batcher(model, rows=36), [1, 2, 3], 3, 36, 0.0)[0]
    sums = {}
    for ids in itertools.product(range(6), repeat=3):
        logits = model(torch.tensor([[1, 2, 3, *ids]]))[0, 2:5].log_softmax(-1)
        sums[ids] = float(sum(logits[i, index] for i, index in enumerate(ids)))
    assert best.ids == max(sums, key=sums.get)
    assert best.score == pytest.approx(max(sums.values()), abs=1e-4)
    assert sum(best.logprobs) == pytest.approx(best.score, abs=1e-6)


def test_more_beams_than_rows_are_refused(random_model):
    with pytest.raises(TonyError, match="beam width 5"):
        beam_search(Batcher(random_model(20), rows=4), [1], 3, 5)
