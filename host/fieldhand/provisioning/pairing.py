"""Pairing codes: nine characters on a node's label, for a person to type.

Eight characters of Crockford's base 32 (no I, L, O, U) and his check character, modulo 37
(https://www.crockford.com/base32.html): "K7Q-F2M-9XT". A wrong character and two neighbours swapped
are noticed. Codes whose check character is none of the 32 are not made, which leaves 39.8 bits:
enough for a code that works once and may be tried a few times a minute, which is for whoever takes
it to see to; not enough for a password.
"""

from __future__ import annotations

import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DATA = 8
_GROUP = 3
_CHECK = 37
_READ_AS = str.maketrans("OIL", "011")


def make() -> str:
    """A new code, in groups."""
    while True:
        number = secrets.randbits(5 * _DATA)
        if number % _CHECK < len(ALPHABET):
            return grouped(_text(number) + ALPHABET[number % _CHECK])


def normal(typed: str) -> str | None:
    """The code that `typed` means, in groups, or None where a character must be wrong.

    Case, blanks and dashes do not matter; O, I and L are read as 0, 1 and 1.
    """
    text = typed.upper().translate(_READ_AS)
    text = "".join(letter for letter in text if letter not in "- ")
    if len(text) != _DATA + 1 or any(letter not in ALPHABET for letter in text):
        return None
    number = 0
    for letter in text[:_DATA]:
        number = number * len(ALPHABET) + ALPHABET.index(letter)
    return grouped(text) if number % _CHECK == ALPHABET.index(text[-1]) else None


def grouped(text: str) -> str:
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def _text(number: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(_DATA)))
