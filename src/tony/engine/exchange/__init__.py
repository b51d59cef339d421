"""Exchange with what others use: Hugging Face folders and GGUF files, both ways."""

from tony.engine.exchange.folder import LanguageModel, load_language_model
from tony.engine.exchange.huggingface import from_huggingface, to_huggingface

__all__ = ["LanguageModel", "from_huggingface", "load_language_model", "to_huggingface"]
