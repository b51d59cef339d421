"""Protects: FSQ is the published formula, its indices are a bijection, and its gradient passes straight through."""

import math

import pytest
import torch
from vector_quantize_pytorch import FSQ as PeerFSQ

from tony.errors import TonyError
from tony.tokens.fsq import FSQ

LEVELS = [(8, 8, 8, 8), (8, 5, 5, 5), (16, 16, 16), (7, 5, 5, 5, 5), (3,), (4, 3)]
BINARY = (2,) * 12


@pytest.mark.parametrize("levels", LEVELS)
def test_equals_the_peer_package(levels):
    z = torch.randn(64, 10, len(levels), generator=torch.Generator().manual_seed(1)) * 2
    codes, indices = PeerFSQ(list(levels))(z)
    ours = FSQ(levels)
    torch.testing.assert_close(ours(z), codes)
    assert torch.equal(ours.to_indices(ours(z)), indices.long())


def test_two_levels_equal_the_symmetric_form_of_the_peer_package():
    z = torch.randn(64, 10, 12, generator=torch.Generator().manual_seed(1)) * 2
    codes, indices = PeerFSQ(list(BINARY), preserve_symmetry=True)(z)
    ours = FSQ(BINARY)
    torch.testing.assert_close(ours(z), codes)
    assert torch.equal(ours.to_indices(ours(z)), indices.long()) and ours.size == 4096


@pytest.mark.parametrize("levels", [*LEVELS, BINARY, (2, 5, 8)])
def test_every_index_comes_back(levels):
    fsq = FSQ(levels)
    every = torch.arange(fsq.size)
    codes = fsq.to_codes(every)
    assert fsq.size == math.prod(levels)
    assert torch.equal(fsq.to_indices(codes), every)
    assert len(codes.unique(dim=0)) == fsq.size and codes.abs().max() <= 1
    # Every code is reached from the unbounded side, and rounding it again changes nothing. The outermost level of a
    # dimension lies where tanh is nearly flat, so the inverse is taken half a step inwards.
    half = torch.tensor([n // 2 if n > 2 else 0.5 for n in levels])
    inner = codes * half - 0.3 * torch.sign(codes)
    scale = (torch.tensor(levels) - 1) * 1.001 / 2
    offset = torch.tensor([0.5 if n % 2 == 0 and n > 2 else 0.0 for n in levels])
    z = torch.atanh((inner + offset) / scale) - torch.atanh(offset / scale)
    assert torch.equal(fsq.to_indices(fsq(z)), every)


def test_gradient_is_that_of_the_bound():
    fsq = FSQ((8, 5, 5, 5))
    z = torch.randn(32, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    through, direct = z.clone().requires_grad_(), z.clone().requires_grad_()
    fsq(through).sum().backward()
    (fsq.bound(direct) / torch.tensor([4, 2, 2, 2])).sum().backward()
    torch.testing.assert_close(through.grad, direct.grad)
    assert (through.grad > 0).all()


def test_extreme_input_stays_in_range():
    fsq = FSQ((8, 5, 5, 5))
    for value in (-1e30, -20.0, 0.0, 20.0, 1e30):
        index = fsq.to_indices(fsq(torch.full((1, 4), value)))
        assert 0 <= int(index) < fsq.size
    assert torch.equal(fsq(torch.zeros(1, 4)), torch.zeros(1, 4))


@pytest.mark.parametrize("levels", [(), (1, 8), (8.0, 8), (2**20, 2**20)])
def test_bad_levels_are_refused(levels):
    with pytest.raises(TonyError, match="levels"):
        FSQ(levels)
