"""Protects what crosses between program and judge: plain values come back the same, and any bytes are a value or BadValue."""

import itertools
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.sandbox.compare import outputs_match
from tony.sandbox.values import MOST_DEPTH, BadValue, Opaque, decode, encode

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.booleans())
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.sets(KEYS),
)


def same(a, b):
    return type(a) is type(b) and repr(a) == repr(b)


@given(VALUES)
def test_values_come_back_the_same(value):
    back = decode(encode(value))
    assert same(back, value) or back == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data):
    with suppress(BadValue):
        decode(data)


@given(VALUES, st.data())
def test_changed_bytes_are_a_value_or_refused(value, data):
    coded = bytearray(encode(value))
    at = data.draw(st.integers(0, len(coded) - 1))
    coded[at] = data.draw(st.integers(0, 255))
    with suppress(BadValue):
        decode(bytes(coded))


@pytest.mark.parametrize(
    "value",
    [-0.0, 0.1, float("nan"), float("-inf"), Decimal("1.10"), Fraction(3, 7), range(3, 9, 2), frozenset({1})],
)
def test_exact_values(value):
    assert same(decode(encode(value)), value)


def test_subclasses_arrive_as_what_they_are_made_of():
    class Liar(str):
        def __eq__(self, other):
            return True

        __hash__ = str.__hash__

    back = decode(encode(Liar("x")))
    assert type(back) is str and back != "y"


def test_what_cannot_cross_is_refused_or_opaque():
    with pytest.raises(BadValue):
        encode(object())
    back = decode(encode(object(), opaque=True))
    assert type(back) is Opaque and back != object()


TABLE = {1: "a", 2: "b"}
VIEWS = (TABLE, TABLE.keys(), TABLE.values(), TABLE.items())


@pytest.mark.parametrize(
    "make",
    [
        *(lambda made=made: iter(made) for made in ("ab", "\xe9", b"a", bytearray(b"a"), range(2), range(1 << 70, 3 + (1 << 70)), *VIEWS)),
        *(lambda made=made: reversed(made) for made in ([1, 2], (1, 2), "ab", "\xe9", b"a", bytearray(b"a"), range(3), range(1 << 70, 3 + (1 << 70)), *VIEWS)),
        lambda: iter([1, 2, 0].pop, 1),
        lambda: itertools.chain([1], (2,)),
        lambda: itertools.permutations("abc"),
        lambda: itertools.accumulate([1, 2]),
        lambda: itertools.islice([1, 2], 1),
        lambda: itertools.tee([1, 2])[0],
    ],
)  # fmt: skip
def test_iterators_cross_as_their_items(make):
    assert list(decode(encode(make()))) == list(make())


def test_depth_and_size_are_limited():
    deep = []
    for _ in range(MOST_DEPTH + 1):
        deep = [deep]
    for value in (deep, 1 << 14_000, "a" * (5 << 20), ["a" * (3 << 20)] * 2):
        with pytest.raises(BadValue):
            encode(value)


@pytest.mark.parametrize(
    ("got", "expected", "right"),
    [("3\n", "3", True), ("3.0", "3", True), ("3.00001", "3", False), ("0.33333333", "0.33333334", True),
     ("a  b", "a b", True), ("b\na", "a\nb", False), ("", "0", False), ("nan", "nan", True), ("1e999999999", "5", False)],
)  # fmt: skip
def test_outputs(got, expected, right):
    assert outputs_match(got, expected) is right
