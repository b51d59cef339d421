"""`[data]` of a recipe: one section for every kind of source, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tony.runs.section import Positive, Section, Share


class DigitsData(Section):
    """The digit world: handwritten digits and spoken number words (see data/digits.py)."""

    kind: Literal["digits"] = "digits"
    examples: Positive = 60_000
    voices: Positive = Field(24, description="training voices per language")
    sum_takes: Positive = Field(
        60, description="training voices that speak each English sum; a tenth of them in the other languages"
    )
    lessons: float = Field(
        0.0, ge=0, lt=1, description="share of the examples, the first ones, that only name single parts"
    )
    languages: tuple[Literal["en", "fr", "de", "es"], ...] = Field(("en", "fr", "de", "es"), min_length=1)
    mixture: dict[str, Share] = Field(
        default_factory=dict, description="examples by kind; empty = the default mixture"
    )


class FolderData(Section):
    """A person's own files: files of one stem are one example; *.jsonl holds explicit Documents."""

    kind: Literal["folder"] = "folder"
    path: str = ""
    held_out: float = Field(0.05, gt=0, lt=0.5, description="share of the examples that is never trained on")
    orders: Positive = Field(2, description="how many orders of its parts each example is shown in")
    variants: Positive = Field(
        1,
        description="in training, forms of each picture and sound that its orders show by turns; 1 = as it is",
    )
    max_seconds: float = Field(
        8.0, gt=0, description="longer sounds and clips are cut to their first seconds"
    )
    frames: Positive = Field(8, description="at most this many frames are taken from a clip")
    frames_per_second: float = Field(2.0, gt=0)


class PicturesData(Section):
    """Fashion-MNIST in crops and flips, for the likelihood of pictures (see data/pictures.py)."""

    kind: Literal["pictures"] = "pictures"
    path: str = Field("", description="where the package is unpacked; empty = fetched with apt-get")
    copies: Positive = Field(8, description="crops of each training picture")
    crop: int = Field(4, ge=0, lt=14, description="at most so many of 28 pixels are cropped away")


class CodeData(Section):
    """The standard library of the Python that runs, as text, and installed packages (see data/code.py)."""

    kind: Literal["code"] = "code"
    packages: bool = Field(
        False, description="the installed packages as well, those with permissive licences"
    )
    clean: bool = Field(False, description="leave out generated files, near copies and HumanEval")
    most_characters: int = Field(
        0, ge=0, description="take so much of it, files chosen by their hash; 0 = all of it"
    )
    held_out: float = Field(0.05, gt=0, lt=0.5, description="share of the files that is never trained on")


AnyData = Annotated[DigitsData | FolderData | PicturesData | CodeData, Field(discriminator="kind")]
DATA = {"digits": DigitsData, "folder": FolderData, "pictures": PicturesData, "code": CodeData}
