"""Protects: a checkpoint brings back weights and optimiser to the last bit, and a bad one or a full disk loses nothing."""

import errno
import os

import pytest
import torch

from tony.errors import TonyError
from tony.train import checkpoint
from tony.train.checkpoint import load_checkpoint, save_checkpoint, saved_steps


def pair(seed=0, width=8):
    """A model and an optimiser that has made two steps."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(5, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    x = torch.arange(15.0).reshape(3, 5).cos()
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_round_trip_goes_on_to_the_last_bit(tmp_path):
    model, optimizer = pair(0)
    extra = {"seconds": 1.5, "losses": [[0.1 + 0.2, 1e-17]]}
    save_checkpoint(tmp_path, 7, model, optimizer, extra)
    again, optimizer_again = pair(1)
    assert load_checkpoint(tmp_path, 7, again, optimizer_again) == extra
    for _ in range(3):
        for a, b in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.equal(a, b)
        step(model, optimizer)
        step(again, optimizer_again)


def test_an_optimiser_that_has_not_stepped_is_filled(tmp_path):
    model, optimizer = pair(0)
    save_checkpoint(tmp_path, 2, model, optimizer, {})
    fresh = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer_fresh = torch.optim.AdamW(fresh.parameters(), lr=0.1, fused=True)
    load_checkpoint(tmp_path, 2, fresh, optimizer_fresh)
    step(model, optimizer)
    step(fresh, optimizer_fresh)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True))


def test_the_last_two_are_kept(tmp_path):
    model, optimizer = pair()
    (tmp_path / ".step-00000001.safetensors.abcd").write_bytes(b"half a checkpoint")
    for number in (1, 2, 10, 3_000_000):
        save_checkpoint(tmp_path, number, model, optimizer, {})
    assert saved_steps(tmp_path) == [10, 3_000_000]
    assert len(list(tmp_path.iterdir())) == 2, "what a kill left behind is cleared away"


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "header", "no metadata"])
def test_a_damaged_checkpoint_names_the_file(tmp_path, damage):
    model, optimizer = pair()
    path = save_checkpoint(tmp_path, 3, model, optimizer, {})
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[:-100])
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(os.urandom(500))
        case "header":
            path.write_bytes(content[:8] + b"!" + content[9:])
        case "no metadata":
            checkpoint.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(TonyError, match="damaged checkpoint") as error:
        load_checkpoint(tmp_path, 3, model, optimizer)
    assert str(path) in str(error.value) and "Remove" in str(error.value) and "\n" not in str(error.value)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    save_checkpoint(tmp_path, 3, *pair(), {})
    with pytest.raises(TonyError, match=r"0\.weight of shape"):
        load_checkpoint(tmp_path, 3, *pair(width=9))


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    model, optimizer = pair()
    old = save_checkpoint(tmp_path, 5, model, optimizer, {}).read_bytes()
    real = checkpoint.save_file

    def full(tensors, path, metadata):
        real(tensors, path, metadata=metadata)
        with open(path, "r+b") as file:
            file.truncate(100)
        raise checkpoint.SafetensorError(
            f"Error while serializing: I/O error: {os.strerror(errno.ENOSPC)} (os error 28)"
        )

    monkeypatch.setattr(checkpoint, "save_file", full)
    for number in (5, 6):
        with pytest.raises(TonyError, match="No space left") as error:
            save_checkpoint(tmp_path, number, model, optimizer, {})
        assert "\n" not in str(error.value)
    assert saved_steps(tmp_path) == [5] and len(list(tmp_path.iterdir())) == 1
    assert (tmp_path / "step-00000005.safetensors").read_bytes() == old


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and file size limits")
def test_a_real_write_error_keeps_the_old_checkpoint(tmp_path):
    """The kernel itself refuses to write beyond 300 bytes (RLIMIT_FSIZE in a child process)."""
    import resource
    import signal

    model, optimizer = pair()
    old = save_checkpoint(tmp_path, 5, model, optimizer, {}).read_bytes()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
            save_checkpoint(tmp_path, 5, model, optimizer, {})
        except TonyError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "step-00000005.safetensors").read_bytes() == old and len(list(tmp_path.iterdir())) == 1
