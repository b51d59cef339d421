"""Protects: a recipe reads back as it was written, and a mistake in one is a line that names the key."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.errors import TonyError
from tony.runs import Recipe, load_recipe


def write(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def one_line(error, *words):
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, f"{word!r} is not in: {text}"


def test_every_recipe_of_the_project_loads_and_comes_back(repository, tmp_path):
    paths = sorted((repository / "recipes").glob("*.toml"))
    assert paths
    for path in paths:
        recipe = load_recipe(path)
        again = load_recipe(write(tmp_path, recipe.to_toml()))
        assert again == recipe and again.hash == recipe.hash


@given(
    path=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    seed=st.integers(0, 2**31),
    lr=st.floats(1e-12, 1e6),
    tokens=st.floats(1, 1e30),
    without=st.sets(st.sampled_from(["image", "sound"])),
    mixture=st.dictionaries(st.sampled_from(["text->text", "spoken sum", "a.b", 'q"']), st.floats(0, 1)),
    shares=st.dictionaries(st.sampled_from(["text", "image", "audio", "video"]), st.floats(0, 1)),
)
def test_any_recipe_comes_back_from_its_toml(path, seed, lr, tokens, without, mixture, shares):
    recipe = load_recipe(
        {
            "seed": seed,
            "data": {"kind": "folder", "path": path},
            "vocabulary": dict.fromkeys(without, False),
            "train": {"lr": lr, "tokens": tokens, "loss_shares": shares},
        }
    )
    assert all(getattr(recipe.vocabulary, name) is None for name in without)
    mixed = load_recipe({"data": {"mixture": mixture}})
    assert Recipe.model_validate(tomllib.loads(mixed.to_toml())) == mixed
    again = Recipe.model_validate(tomllib.loads(recipe.to_toml()))
    assert again == recipe and again.hash == recipe.hash


def test_the_hash_changes_with_any_value():
    overrides = [
        "seed=1",
        "model.width=256",
        "train.lr=0.1",
        "sampling.text.temperature=0.5",
        "vocabulary.sound=false",
    ]
    hashes = {load_recipe({}, [o]).hash for o in overrides}
    assert len(hashes | {load_recipe({}).hash}) == len(overrides) + 1


def test_overrides_reach_any_value():
    recipe = load_recipe(
        {"train": {"lr": 1.0}},
        [
            "train.tokens=5e6",
            "name=mine",
            "data.languages=['en','fr']",
            "vocabulary.image.kind=palette",
            "train.compile=true",
        ],
    )
    assert (recipe.train.tokens, recipe.train.lr, recipe.name) == (5e6, 1.0, "mine")
    assert recipe.data.languages == ("en", "fr")
    assert recipe.vocabulary.image.kind == "palette" and recipe.vocabulary.image.side == 8
    assert recipe.train.compile is True
    assert load_recipe({}, ["data.kind=folder", "data.path=/my files/a"]).data.path == "/my files/a"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.lrr=1", ["train.lrr", "lr"]),
        ("modle.width=1", ["modle", "model"]),
        ("data.voicess=3", ["data.voicess", "voices"]),
        ("vocabulary.image.sides=3", ["vocabulary.image.sides", "side"]),
        ("train.lr=fast", ["train.lr", "fast"]),
        ("train.lr=-1", ["train.lr", "-1"]),
        ("train.tokens=inf", ["train.tokens"]),
        ("train.tokens=nan", ["train.tokens"]),
        ("model.width=100", ["model", "100", "head_dim"]),
        ("model.banded=[0]", ["model", "window"]),
        ("model.kv_heads=2", ["3 heads", "2 kv_heads"]),
        ("train.precision=float8", ["train.precision", "float8"]),
        ("sampling.text.top_p=0", ["sampling.text.top_p"]),
        ("data.kind=tape", ["data", "tape"]),
        ("data=5", ["data"]),
        ("train=5", ["train"]),
        ("data.languages=[]", ["data.languages"]),
        ("data.languages=['it']", ["data.languages", "it"]),
        ("train.loss_shares={txt=1}", ["train.loss_shares", "txt"]),
        ("seed=-1", ["seed"]),
        ("name=../up", ["name", "../up"]),
        ("width", ["'width'", "key=value"]),
        ("=3", ["key=value"]),
        ("seed.x=3", ["seed"]),
        ("name.x=3", ["name"]),
    ],
)
def test_a_wrong_override_names_the_key(override, words):
    with pytest.raises(TonyError) as error:
        load_recipe({"name": "digits", "seed": 0}, [override])
    one_line(error, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nlrr = 1", ["recipe.toml", "train.lrr"]),
        ("[train\n", ["recipe.toml", "TOML"]),
        ("data = 5", ["recipe.toml", "data"]),
        ("[train]\nlr = '1e'", ["recipe.toml", "train.lr"]),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, words):
    with pytest.raises(TonyError) as error:
        load_recipe(write(tmp_path, text))
    one_line(error, *words)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(TonyError, match="no such recipe"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(TonyError, match="cannot be read"):
        load_recipe(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(TonyError, match="cannot be read"):
        load_recipe(tmp_path / "latin.toml")


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_recipe({}).seed = 3
