"""Documents and their parts; reading and writing files."""

from tony.media.document import ROLES, Audio, Document, Image, Modality, Part, Role, Text, Video

__all__ = ["ROLES", "Audio", "Document", "Image", "Modality", "Part", "Role", "Text", "Video"]
