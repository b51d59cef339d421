"""Plain values as bytes: the only thing that crosses between candidate and judge.

A value is None, bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict, range, Decimal,
Fraction or one of Python's own iterators over such values (sent as the run of its items). Anything else becomes an
`Opaque`, which equals only itself. One tag byte, then the contents; lengths are four bytes, floats are their eight IEEE
bytes, so that nan, -0.0 and the last digit survive. What is decoded is always of an exact built-in type: a subclass with
its own __eq__ arrives as its base value. Decoding is total: any bytes give a value or a `BadValue`, and nothing is ever
unpickled.
"""

from __future__ import annotations

import itertools
import struct
from decimal import Decimal
from fractions import Fraction
from itertools import islice

MOST_BYTES = 4 << 20
MOST_DEPTH = 64
MOST_INT_BITS = 13_000  # below the 4,300 digits at which Python refuses to print an int
MOST_EXPONENT = 10_000  # int(Decimal("1e999999999")) would keep the judge busy for ever

_VIEWS = ({}.keys(), {}.values(), {}.items())
_ITERATORS = {
    type(x)
    for x in (
        *(
            iter(made)
            for made in ([], (), "", "\xe9", b"", bytearray(), set(), range(0), range(1 << 70), *_VIEWS)
        ),
        *(reversed(made) for made in ([], (), *_VIEWS)),
        *(map(abs, ()), filter(None, ()), zip(), enumerate(()), iter(int, 0), (None for _ in ())),
        *_VIEWS,
    )
} | {kind for kind in vars(itertools).values() if hasattr(kind, "__next__")}


class BadValue(Exception):
    """The bytes, or the value, are not a plain value within the limits."""


class Opaque:
    """Stands for an object that cannot cross: true, printable, equal only to itself."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name} object>"


def encode(value: object, opaque: bool = False) -> bytes:
    """The bytes of `value`.

    Args:
        opaque: send what cannot cross as an `Opaque` (the candidate's side) and not as an error (the judge's).

    Raises:
        BadValue: too deep, too large, or of a type that cannot cross.
    """
    out = bytearray()
    _encode(value, out, 0, opaque)
    _refuse_above(len(out))
    return bytes(out)


def _sized(tag: bytes, content: bytes) -> bytes:
    return tag + struct.pack(">I", len(content)) + content


def _encode(x: object, out: bytearray, depth: int, opaque: bool) -> None:
    if depth > MOST_DEPTH:
        raise BadValue(f"a value nested deeper than {MOST_DEPTH}")
    _refuse_above(len(out))
    kind = type(x)
    if kind in _TAG_OF:  # first, being the commonest; what is derived from these types comes below
        _encode_run(_TAG_OF[kind], x, len(x), out, depth, opaque)
    elif x is None:
        out += b"N"
    elif x is True or x is False:
        out += b"T" if x else b"F"
    elif isinstance(x, int):
        out += _encode_int(int.__index__(x))
    elif isinstance(x, float):
        out += b"f" + struct.pack(">d", x)
    elif isinstance(x, str):
        _refuse_above(str.__len__(x))
        out += _sized(b"s", str.encode(x, "utf-8", "surrogatepass"))
    elif isinstance(x, (bytes, bytearray)):
        kind = bytes if isinstance(x, bytes) else bytearray
        _refuse_above(kind.__len__(x))
        out += _sized(b"b" if kind is bytes else b"y", bytes(memoryview(x)))
    elif isinstance(x, complex):
        out += b"c" + struct.pack(">dd", x.real, x.imag)
    elif isinstance(x, range):
        out += b"r" + b"".join(_encode_int(n) for n in (x.start, x.stop, x.step))
    elif isinstance(x, dict):
        items = list(dict.items(x))
        out += b"d" + struct.pack(">I", len(items))
        for key, value in items:
            _encode(key, out, depth + 1, opaque)
            _encode(value, out, depth + 1, opaque)
    elif isinstance(x, _CONTAINERS):
        kind = next(kind for kind in _CONTAINERS if isinstance(x, kind))
        _encode_run(_TAG_OF[kind], kind.__iter__(x), kind.__len__(x), out, depth, opaque)
    elif type(x) in _ITERATORS:
        items = list(islice(x, MOST_BYTES))
        _encode_run(b"i", iter(items), len(items), out, depth, opaque)
    elif type(x) is Decimal:
        out += _sized(b"D", str(x).encode())
    elif type(x) is Fraction:
        out += b"Q" + _encode_int(x.numerator) + _encode_int(x.denominator)
    elif type(x) is Opaque or opaque:
        name = x.name if type(x) is Opaque else type(x).__name__
        out += _sized(b"o", name[:100].encode("utf-8", "replace"))
    else:
        raise BadValue(f"a {type(x).__name__} cannot cross to the program")


_TAG_OF = {list: b"l", tuple: b"t", set: b"S", frozenset: b"z"}
_CONTAINERS = tuple(_TAG_OF)


def _encode_run(tag: bytes, items, count: int, out: bytearray, depth: int, opaque: bool) -> None:
    out += tag + struct.pack(">I", count)
    for item in items:
        _encode(item, out, depth + 1, opaque)


def _encode_int(n: int) -> bytes:
    if n.bit_length() > MOST_INT_BITS:
        raise BadValue(f"an int of more than {MOST_INT_BITS} bits")
    return _sized(b"n", n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True))


def _refuse_above(length: int) -> None:
    if length > MOST_BYTES:
        raise BadValue(f"a value larger than {MOST_BYTES >> 20} MiB")


def decode(data: bytes) -> object:
    """The value that `encode` made `data` of.

    Raises:
        BadValue: anything else; never another exception, and never more memory than a few times len(data).
    """
    _refuse_above(len(data))
    try:
        value, end = _decode(data, 0, 0)
    except BadValue:
        raise
    except (struct.error, UnicodeError, ArithmeticError, ValueError, TypeError, IndexError) as error:
        raise BadValue(f"malformed bytes ({type(error).__name__})") from None
    if end != len(data):
        raise BadValue("bytes after the value")
    return value


def _decode(data: bytes, at: int, depth: int) -> tuple[object, int]:
    if depth > MOST_DEPTH:
        raise BadValue(f"a value nested deeper than {MOST_DEPTH}")
    tag, at = data[at : at + 1], at + 1
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], at
    if tag == b"f":
        return struct.unpack_from(">d", data, at)[0], at + 8
    if tag == b"c":
        return complex(*struct.unpack_from(">dd", data, at)), at + 16
    if tag == b"r":
        bounds, at = _decode_items(data, at, 3, depth)
        return range(*_ints(bounds)), at
    if tag == b"Q":
        parts, at = _decode_items(data, at, 2, depth)
        return Fraction(*_ints(parts)), at
    (size,) = struct.unpack_from(">I", data, at)
    at += 4
    if tag in _RUNS:
        if size > len(data) - at:  # every item takes a byte or more
            raise BadValue("malformed bytes (count)")
        items, at = _decode_items(data, at, size, depth)
        return _RUNS[tag](items), at
    if tag == b"d":
        if 2 * size > len(data) - at:
            raise BadValue("malformed bytes (count)")
        items, at = _decode_items(data, at, 2 * size, depth)
        return dict(zip(items[::2], items[1::2], strict=True)), at
    content = data[at : at + size]
    if len(content) != size or tag not in _ATOMS:
        raise BadValue("malformed bytes")
    return _ATOMS[tag](content), at + size


def _decode_items(data: bytes, at: int, count: int, depth: int) -> tuple[list, int]:
    items = []
    for _ in range(count):
        item, at = _decode(data, at, depth + 1)
        items.append(item)
    return items, at


def _ints(items: list) -> list[int]:
    if any(type(item) is not int for item in items):
        raise BadValue("malformed bytes (int)")
    return items


def _decode_int(content: bytes) -> int:
    if len(content) > MOST_INT_BITS // 8 + 1:
        raise BadValue(f"an int of more than {MOST_INT_BITS} bits")
    return int.from_bytes(content, "big", signed=True)


def _decode_decimal(content: bytes) -> Decimal:
    if len(content) > MOST_EXPONENT:
        raise BadValue("a Decimal with too many digits")
    value = Decimal(content.decode("ascii"))
    if value.is_finite() and abs(value.adjusted()) > MOST_EXPONENT:
        raise BadValue(f"a Decimal with an exponent above {MOST_EXPONENT}")
    return value


_CONSTANTS = {b"N": None, b"T": True, b"F": False}
_RUNS = {b"l": list, b"t": tuple, b"S": set, b"z": frozenset, b"i": iter}
_ATOMS = {
    b"n": _decode_int,
    b"s": lambda content: content.decode("utf-8", "surrogatepass"),
    b"b": bytes,
    b"y": bytearray,
    b"D": _decode_decimal,
    b"o": lambda content: Opaque(content.decode("utf-8")),
}
