"""Sampling and scoring: one engine for evaluation and for serving."""

from tony.engine.engine import Engine, Request
from tony.engine.grammar import Grammar, State
from tony.engine.omni import Chunk, Omni

__all__ = ["Chunk", "Engine", "Grammar", "Omni", "Request", "State"]
