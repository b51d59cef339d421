"""Number words as people write them, in the languages of the digit world."""

from __future__ import annotations

WORDS: dict[str, tuple[str, ...]] = {
    "en": tuple(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen".split()
    ),
    "fr": tuple(
        "z\u00e9ro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize "
        "dix-sept dix-huit".split()
    ),
    "de": tuple(
        "null eins zwei drei vier f\u00fcnf sechs sieben acht neun zehn elf zw\u00f6lf dreizehn vierzehn "
        "f\u00fcnfzehn sechzehn siebzehn achtzehn".split()
    ),
    "es": tuple(
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince "
        "diecis\u00e9is diecisiete dieciocho".split()
    ),
}
PLUS = {"en": "plus", "fr": "plus", "de": "plus", "es": "m\u00e1s"}
