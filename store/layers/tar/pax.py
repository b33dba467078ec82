"""Extended headers of tars (POSIX.1-2001, pax interchange format).

Values are bytes: those of extended attributes are binary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

NANOSECONDS: Final = 10**9

_DIGITS: Final = re.compile(rb"[0-9]{1,20}")
_TIME: Final = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?")
_LONGEST_LENGTH: Final = 8  # digits of a record's length; no header is that long

Records = list[tuple[str, bytes]]


def parse_records(data: bytes) -> Records:
    """The records of an extended header, in order; a keyword may come more than once.

    Raises:
        ValueError: they are malformed.
    """
    records: Records = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + _LONGEST_LENGTH)
        if space < 0:
            raise ValueError("an extended header record without a length")
        end = position + number(data[position:space])
        if not space + 1 < end <= len(data) or data[end - 1] != 0x0A:
            raise ValueError("an extended header record of the wrong length")
        keyword, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not keyword or not equals or b"\0" in keyword:
            raise ValueError("an extended header record without a keyword")
        records.append((keyword.decode("utf-8", "surrogateescape"), value))
        position = end
    return records


def format_records(records: Mapping[str, bytes]) -> bytes:
    """An extended header, sorted by keyword."""
    return b"".join(
        _record(keyword.encode("utf-8", "surrogateescape"), records[keyword])
        for keyword in sorted(records)
    )


def _record(keyword: bytes, value: bytes) -> bytes:
    rest = len(keyword) + len(value) + 3  # space, equals sign, newline
    length = rest + len(str(rest))
    if len(str(length)) > len(str(rest)):  # the length counts its own digits
        length += 1
    return b"%d %b=%b\n" % (length, keyword, value)


def number(value: bytes) -> int:
    """A number that cannot be negative.

    Raises:
        ValueError: it is none, or has more digits than 64 bits need.
    """
    if _DIGITS.fullmatch(value) is None:
        raise ValueError(f"not a number: {value[:32]!r}")
    return int(value)


def parse_time(value: bytes) -> int:
    """Nanoseconds since the epoch; digits beyond these are cut.

    Raises:
        ValueError: it is no decimal number.
    """
    found = _TIME.fullmatch(value)
    if found is None:
        raise ValueError(f"not a time: {value[:32]!r}")
    sign, seconds, fraction = found.groups()
    nanoseconds = int(seconds) * NANOSECONDS + int((fraction or b"")[:9].ljust(9, b"0"))
    return -nanoseconds if sign else nanoseconds


def format_time(nanoseconds: int) -> bytes:
    """Seconds since the epoch, with as many digits as it takes."""
    sign = b"-" if nanoseconds < 0 else b""
    seconds, fraction = divmod(abs(nanoseconds), NANOSECONDS)
    return (b"%b%d.%09d" % (sign, seconds, fraction)).rstrip(b"0").rstrip(b".")
