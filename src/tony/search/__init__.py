"""Cross-modal search: find files by a word, a picture or a sound."""

from tony.search.align import align
from tony.search.search import Found, Hit, search

__all__ = ["Found", "Hit", "align", "search"]
