"""Protects the threads: as many as cores are free to us, shared by processes, and never more than the user allowed."""

import os

import pytest
import torch

from tony.model.machine import prepare_threads


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "processes", "threads"),
    [
        (None, 1, 8),
        (None, 2, 4),
        (None, 9, 1),
        ("1", 1, 1),
        ("3", 2, 3),
        ("6", 2, 4),
        ("2,1", 1, 2),
        ("", 2, 4),
        ("0", 1, 1),
    ],
)
def test_threads(eight_cores, monkeypatch, asked, processes, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    prepare_threads(processes)
    assert torch.get_num_threads() == threads
