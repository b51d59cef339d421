"""The transformer, its packed-document attention, and its KV cache."""

from tony.model.cache import Cache
from tony.model.segments import Segments
from tony.model.transformer import Transformer, TransformerConfig

__all__ = ["Cache", "Segments", "Transformer", "TransformerConfig"]
