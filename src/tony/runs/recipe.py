"""One complete description of a run, read from TOML, validated, and saved beside every result."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from tony.errors import TonyError
from tony.runs.data_recipes import DATA, AnyData, DigitsData
from tony.runs.section import Factor, Positive, Section, Share


class ImageCodecRecipe(Section):
    """How pictures become ids: grey levels, a colour palette, or FSQ patches (side 64 and up)."""

    kind: Literal["grey", "palette", "patches"] = "grey"
    side: Positive = 8
    levels: int = Field(17, ge=2, le=256, description="grey levels, or palette colours")
    placed: bool = Field(
        False, description="grey, palette: an id says which pixel it is of, too (side x side x levels ids)"
    )
    steps: Positive = Field(600, description="training steps of the patch codec")


class SoundCodecRecipe(Section):
    """The FSQ sound codec: 16 kHz, 50 ids a second."""

    levels: tuple[Positive, ...] = (8, 5, 5, 5)
    width: Positive = 256
    steps: Positive = 600


class VocabularyRecipe(Section):
    text: int = Field(384, ge=256, description="size of the byte-level BPE, bytes included")
    whitespace_runs: int = Field(
        0,
        ge=0,
        le=256,
        description="a token of its own for every run of 2 to so many spaces, on top of `text`",
    )
    image: ImageCodecRecipe | None = ImageCodecRecipe()
    sound: SoundCodecRecipe | None = SoundCodecRecipe()
    video_seconds: float = Field(25.6, gt=0, description="longest clip that time marks reach")

    @field_validator("image", "sound", mode="before")
    @classmethod
    def _false_is_none(cls, value: Any) -> Any:
        """TOML has no null: `sound = false` says that there is no sound."""
        return None if value is False else value


class ModelRecipe(Section):
    """The shape of the transformer."""

    width: Positive = 192
    depth: Positive = 6
    head_dim: Positive = 64
    kv_heads: Positive | None = Field(None, description="None = as many as there are query heads")
    hidden: Positive | None = Field(
        None, description="width of the gated MLP; None = 8/3 width, rounded up to 64"
    )
    qk_norm: bool = True
    tied: bool = False
    context: Positive = 640
    rope_base: float = Field(10_000.0, gt=0)
    window: Positive | None = Field(None, description="how far back a banded layer sees, in positions")
    banded: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="the layers that are banded; others are dense"
    )

    @model_validator(mode="after")
    def _whole_heads(self) -> ModelRecipe:
        if self.width % self.head_dim:
            raise ValueError(f"width {self.width} is no multiple of head_dim {self.head_dim}")
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd: rotary positions need pairs")
        if self.kv_heads and (self.width // self.head_dim) % self.kv_heads:
            raise ValueError(
                f"{self.width // self.head_dim} heads cannot share {self.kv_heads} kv_heads evenly"
            )
        if self.banded and (self.window is None or not self.qk_norm):
            raise ValueError("banded layers need a window and qk_norm = true")
        if self.banded and max(self.banded) >= self.depth:
            raise ValueError(
                f"banded names layer {max(self.banded)}, but there are {self.depth} layers from 0"
            )
        return self


class TrainRecipe(Section):
    """The optimisation. Budgets are tokens, never seconds, so a run is the same on every machine."""

    tokens: Annotated[float, Field(gt=0)] = 8e6
    batch_tokens: Positive = 8192
    curriculum: bool = Field(
        False, description="documents come in the order of the source over the whole run, instead of shuffled"
    )
    jitter: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the prompts' picture and sound ids that become a neighbouring code",
    )
    kinship: float = Field(
        0.95,
        ge=0,
        le=1,
        description="share of the initial picture and sound embeddings that follows how their codes lie to each other",
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: for the blocks' matrices; the rest AdamW"
    )
    lr: float = Field(3e-3, gt=0)
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps")
    decay: float = Field(
        0.6, ge=0, le=1, description="share of the steps, at the end, in which lr falls to 0"
    )
    weight_decay: float = Field(0.05, ge=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    clip: float = Field(1.0, gt=0)
    z_loss: float = Field(1e-4, ge=0)
    loss_shares: dict[Literal["text", "image", "audio", "video"], Share] = Field(
        default_factory=dict,
        description="share of the loss by modality; empty = every counted token weighs the same",
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    processes: Positive = Field(1, description="processes that share each batch on a machine without a GPU")
    log_every: Positive = 10
    checkpoint_every: Positive = 200
    evaluate_every: Positive = 200
    device: str = "auto"


class MupRecipe(Section):
    """muP: `train.lr`, `weight_decay` and `clip` are those of this width (and depth), and the model's follow from them."""

    base_width: Positive
    base_depth: Positive | None = Field(None, description="None = hyperparameters are not carried over depth")
    init_scale: Factor = Field(1.0, description="on the initial values of the blocks' matrices")
    embedding_scale: Factor = Field(1.0, description="on the embeddings, as a multiplier in the forward pass")
    attention_scale: Factor = Field(1.0, description="on the attention logits; needs model.qk_norm")
    output_scale: Factor = Field(1.0, description="on the logits")


class Sampling(Section):
    """How ids are drawn: softmax(logits / temperature), cut to the top_k ids and to the top_p mass."""

    temperature: float = Field(1.0, ge=0, description="0 = the most likely id")
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0 = no cut")


class SamplingRecipe(Section):
    text: Sampling = Sampling(temperature=0.0)
    image: Sampling = Sampling(temperature=0.6)
    audio: Sampling = Sampling(temperature=0.3)
    max_text: Positive = Field(64, description="most ids of a text part")
    max_seconds: float = Field(4.0, gt=0, description="most seconds of a sound part")


class Recipe(Section):
    name: str = Field("digits", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    start: str | None = Field(
        None, description="a finished run or an imported model to begin from: its weights, shape and text ids"
    )
    data: AnyData = DigitsData()
    vocabulary: VocabularyRecipe = VocabularyRecipe()
    model: ModelRecipe = ModelRecipe()
    train: TrainRecipe = TrainRecipe()
    mup: MupRecipe | None = Field(None, description="None = the standard parametrisation")
    sampling: SamplingRecipe = SamplingRecipe()

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change when any value of the recipe does.

        A section that is absent counts as nothing, so that recipes from before there was such a section keep theirs.
        """
        sections = {key: value for key, value in self.model_dump(mode="json").items() if value is not None}
        canonical = json.dumps(sections, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def to_toml(self) -> str:
        """The whole recipe, defaults written out, as TOML that reads back equal."""
        tree = self.model_dump(mode="json")
        for name in ("image", "sound"):
            if tree["vocabulary"][name] is None:
                tree["vocabulary"][name] = False
        return "\n".join(_toml_lines(tree, ())) + "\n"


def _toml_lines(table: dict[str, Any], path: tuple[str, ...]) -> Iterable[str]:
    values = {k: v for k, v in table.items() if v is not None and not isinstance(v, dict)}
    for key, value in values.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield ""
            yield f"[{'.'.join((*path, _key(key)))}]"
            yield from _toml_lines(value, (*path, _key(key)))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    """TOML's strings, numbers, booleans and arrays are JSON's, but for surrogate pairs and a bare U+007F."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _explain(error: ValidationError, source: str) -> TonyError:
    first = error.errors()[0]
    tags = tuple(DATA)
    key = ".".join(str(part) for part in first["loc"] if part not in tags)
    if first["type"] == "extra_forbidden":
        section: Any = Recipe.model_fields
        return TonyError(
            f"{source}: unknown key {key!r}. Known here: {', '.join(_known(first['loc'], section))}"
        )
    received = first.get("input")
    shown = f" (received {received!r})" if not isinstance(received, (dict, BaseModel)) else ""
    return TonyError(f"{source}: {key or 'recipe'}: {first['msg']}{shown}. Correct that value")


def _known(location: tuple[int | str, ...], fields: Any) -> list[str]:
    """The keys that the section around `location` has."""
    for part in location[:-1]:
        if part in DATA:
            fields = DATA[str(part)].model_fields
            continue
        if part == "data" or part not in fields:
            continue
        annotation = fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if section is None:
            return ["any name with a number"]
        fields = section.model_fields
    return sorted(fields)


def _override(tree: dict[str, Any], assignment: str) -> None:
    key, separator, raw = assignment.partition("=")
    if not separator or not key.strip():
        raise TonyError(f"{assignment!r} is no key=value: write for example model.width=256")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        value = raw  # a bare word is a string
    *sections, last = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise TonyError(f"{assignment!r}: {section} is a value, not a section")
    tree[last] = value


def load_recipe(source: str | Path | dict[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """The validated recipe in TOML file `source` (or a dict), with `key=value` overrides applied.

    Raises:
        TonyError: the file cannot be read, is no TOML, or holds an unknown or wrong value; the key is named.
    """
    if isinstance(source, dict):
        tree, label = json.loads(json.dumps(source)), "recipe"
    else:
        path, label = Path(source), str(source)
        try:
            tree = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TonyError(
                f"{path}: no such recipe. Give a .toml file, such as recipes/digits.toml"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise TonyError(
                f"{path}: cannot be read as a recipe ({error}). Give a UTF-8 .toml file"
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise TonyError(f"{path}: not valid TOML: {error}") from None
    for assignment in overrides:
        _override(tree, assignment)
    if isinstance(tree.setdefault("data", {}), dict):
        tree["data"].setdefault("kind", "digits")
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, label) from None
