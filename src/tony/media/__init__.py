"""Documents and their parts; reading and writing files."""

from tony.media.clips import to_fps
from tony.media.document import ROLES, Audio, Document, Image, Modality, Part, Role, Text, Video
from tony.media.documents import read_jsonl, write_jsonl
from tony.media.files import decode, encode, read, write
from tony.media.limits import Limits
from tony.media.pictures import to_size
from tony.media.rates import Resampler, to_rate

__all__ = [
    "ROLES",
    "Audio",
    "Document",
    "Image",
    "Limits",
    "Modality",
    "Part",
    "Resampler",
    "Role",
    "Text",
    "Video",
    "decode",
    "encode",
    "read",
    "read_jsonl",
    "to_fps",
    "to_rate",
    "to_size",
    "write",
    "write_jsonl",
]
