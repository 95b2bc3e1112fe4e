r"""Finds personal and secret data in a text by its shape, in linear time.

A detector also knows the traces without which the bytes of an event cannot hold what it finds, so that most
events need not be taken apart. A trace may be there in vain, but is never missing; characters written as
``\u00XX`` leave none, and are the caller's business.
"""

from __future__ import annotations

import functools
import re
import socket
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

DetectorName = Literal["email", "card", "iban", "jwt", "aws-key", "ip"]
Span = tuple[int, int]

SHORTEST: Final = len("::1")
"""Characters of the shortest text in which a detector finds something."""
SHORTEST_NUMBER: Final = 13
"""Digits of the shortest whole number in which one does."""


@dataclass(frozen=True, slots=True)
class Detector:
    """What one detector looks for."""

    find: Callable[[str], Iterator[Span]]
    """Gives where in a text it is: start and end, in order, apart from each other."""
    traces: tuple[bytes, ...]
    """RE2 patterns of which one is in the bytes of every event that has something to find."""


@functools.cache
def _re2(pattern: str) -> Any:
    import re2

    return re2.compile(pattern)


def _matching(pattern: str, *needles: str) -> Callable[[str], Iterator[Span]]:
    """Find matches of an RE2 pattern, which holds one of the needles. RE2 takes linear time, re may not."""

    def find(text: str) -> Iterator[Span]:
        if any(needle in text for needle in needles):
            plain = text.encode() if text.isascii() else text  # bytes go through RE2 three times as fast
            yield from (match.span() for match in _re2(pattern).finditer(plain))

    return find


def _grouped(
    group: str,
    begins: Callable[[str], bool],
    lengths: range,
    digits: Callable[[str], str],
    holds: Callable[[str], bool],
) -> Callable[[str], Iterator[Span]]:
    """Find numbers that are written in one or in groups, which a space or a hyphen separates.

    They begin and end with a group, beside which there is no letter or digit; of several, the longest counts.
    `holds` checks the digits of all groups together.
    """
    runs = re.compile(f"{group}(?:[ -]{group})*").finditer
    groups_of = re.compile("[A-Z0-9]+").finditer

    def find(text: str) -> Iterator[Span]:
        for run in runs(text):
            if run.end() - run.start() < lengths.start:
                continue
            groups = [(each[0], digits(each[0]), each.span()) for each in groups_of(text, *run.span())]
            del groups[: _is_ascii_alnum(text[run.start() - 1 : run.start()])]
            del groups[len(groups) - _is_ascii_alnum(text[run.end() : run.end() + 1]) :]
            number = 0
            while number < len(groups):
                last = longest(groups, number) if begins(groups[number][0]) else -1
                if last >= 0:
                    yield groups[number][2][0], groups[last][2][1]
                number = max(number, last) + 1

    def longest(groups: list[tuple[str, str, Span]], first: int) -> int:
        """Give the number of the group with which what begins at the first one ends; -1 for none."""
        length, whole, found = 0, "", -1
        for number in range(first, len(groups)):
            text, coded, _ = groups[number]
            length, whole = length + len(text), whole + coded
            if length >= lengths.stop:
                break
            if length in lengths and holds(whole):
                found = number
        return found

    return find


def _is_ascii_alnum(character: str) -> bool:
    return character.isascii() and character.isalnum()


_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")


def _passes_luhn(number: str) -> bool:
    """Check the last digit (ISO/IEC 7812-1, annex B)."""
    digits = number.encode()
    total = sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED))
    return (total - len(digits) * ord("0")) % 10 == 0


_begins_iban = re.compile(r"[A-Z]{2}[0-9]{2}").match
_IN_DIGITS: Final = {ord(letter): str(int(letter, 36)) for letter in string.ascii_uppercase}


def _iban_digits(group: str) -> str:
    return group.translate(_IN_DIGITS)


def _passes_mod_97(digits: str) -> bool:
    """Check the two digits behind the country, whose letters are four digits here (ISO 13616-1)."""
    return int(digits[6:] + digits[:6]) % 97 == 1


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
_aws_key_ids = re.compile("(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])").finditer
_aws_secrets = re.compile("(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])").finditer


def _is_aws_secret(run: str) -> bool:
    """Tell a secret key from 40 hexadecimal digits, such as SHA-1 in lower or upper case."""
    return all(re.search(kind, run) for kind in ("[a-z]", "[A-Z]", "[0-9]"))


def _aws_keys(text: str) -> Iterator[Span]:
    ids = [match.span() for match in _aws_key_ids(text)]
    secrets = [match.span() for match in _aws_secrets(text) if _is_aws_secret(match[0])]
    end = 0
    for span in sorted(ids + secrets, key=lambda span: (span[0], -span[1])):
        if span[0] >= end:  # a secret may hold what looks like an id
            yield span
            end = span[1]


_ip_runs = re.compile("(?<![0-9A-Fa-f:.])[0-9A-Fa-f]*+[:.][0-9A-Fa-f:.]*+").finditer
_dotted_numbers = re.compile(r"[0-9]+(?:\.[0-9]+)+").finditer
_LONGEST_IP: Final = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")


def _ips(text: str) -> Iterator[Span]:
    for run in _ip_runs(text):
        if run.end() - run.start() < SHORTEST:
            continue
        start, end = _without_punctuation(text, *run.span())
        beside = text[start - 1 : start] + text[end : end + 1]
        if _is_ipv6(text[start:end]) and not any(map(_is_ascii_alnum, beside)):
            yield start, end
        else:
            for match in _dotted_numbers(text, start, end):
                if _is_ipv4(match[0]):
                    yield match.span()


def _without_punctuation(text: str, start: int, end: int) -> Span:
    """Leave out the full stops and the single colons around an address."""
    while start < end and (text[start] == "." or text[start] == ":" != text[start + 1 : start + 2]):
        start += 1
    while start < end and (text[end - 1] == "." or text[end - 1] == ":" != text[end - 2 : end - 1]):
        end -= 1
    return start, end


def _is_ipv6(text: str) -> bool:
    if text.count(":") < 2 or not SHORTEST <= len(text) <= _LONGEST_IP:  # noqa: PLR2004 - as RFC 4291 writes them
        return False
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True


def _is_ipv4(text: str) -> bool:
    parts = text.split(".", 4)
    return len(parts) == 4 and all(len(part) <= 3 and int(part) <= 255 for part in parts)  # noqa: PLR2004 - RFC 791


_BEFORE: Final = rb"(?:[^0-9A-Za-z]|\\[bfnrt]|\\u[0-9A-Fa-f]{4})"
"""What stands in JSON before a text that stands alone: a character that is no letter or digit, or an escape."""
_AFTER: Final = rb"[^0-9A-Za-z]"

DETECTORS: Final[dict[DetectorName, Detector]] = {
    "email": Detector(
        _matching(r"[\pL\pN\pM._%+'-]+(?:@|%40)(?:[\pL\pN\pM_-]+\.)+[\pL\pN\pM-]{2,}", "@", "%40"),
        traces=(b"@", b"%40"),
    ),
    "card": Detector(
        # of the issuers, 2 to 6 are payment cards; a time in milliseconds begins with 1
        _grouped("[0-9]{3,}", lambda group: group[0] in "23456", range(13, 20), str, _passes_luhn),
        traces=(_BEFORE + rb"[2-6][0-9]{2}(?:[ -]?[0-9]){10,16}" + _AFTER,),
    ),
    "iban": Detector(
        _grouped(
            "[A-Z0-9]+",
            lambda group: _begins_iban(group) is not None,
            range(15, 35),
            _iban_digits,
            _passes_mod_97,
        ),
        traces=(_BEFORE + rb"[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}" + _AFTER,),
    ),
    "jwt": Detector(
        _matching(r"eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){2,4}", "eyJ"),
        traces=(b"eyJ",),
    ),
    "aws-key": Detector(
        _aws_keys,
        # a slash may be written as \/
        traces=(rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|(?:\\?[A-Za-z0-9/+]){40}",),
    ),
    "ip": Detector(
        _ips,
        traces=(rb"[0-9](?:\.[0-9]{1,3}){3}|::|(?:[0-9A-Fa-f]{1,4}:){6}",),
    ),
}
