"""Size of the images that an AVIF file holds, as their AV1 data says: decoders make room for that, whatever stands in
the boxes around it."""

import io
import struct
from collections.abc import Iterator
from itertools import islice
from typing import IO

from mspn.structures.boxes import Size

_MAX_EXTENTS = 2**10
"""Pieces of data that are looked at; a damaged file may declare millions."""
_MAX_UNITS = 2**6
"""Of each of them."""
_SEQUENCE_HEADER = 1
_MAX_SEQUENCE_HEADER_BYTES = 512


def largest_coded_size(file: IO[bytes], boxes: bytes) -> Size:
    """The size of the largest image among the items of an AVIF file; 0x0 where there is none.

    Args:
        file: open for reading.
        boxes: the start of the file, in which the boxes stand that describe it.

    Raises:
        struct.error: if these are damaged.
    """
    sizes = [
        _sequence_size(unit)
        for start, length in islice(_extents(boxes), _MAX_EXTENTS)
        for unit in _sequence_headers(file, start, length)
    ]
    return max(sizes, key=lambda size: size.height * size.width, default=Size(0, 0))


def _extents(boxes: bytes) -> Iterator[tuple[int, int]]:
    """Start and length of the data of each item, from the box `iloc`; a length of 0 is all that is left."""
    position = boxes.find(b"iloc") + 4
    if position < 4:
        return
    version, _flags, sizes, more_sizes = struct.unpack_from(">B3sBB", boxes, position)
    in_items = boxes.find(b"idat") + 4
    reader = _Bytes(boxes, position + 6)
    for _ in range(reader.number(4 if version == 2 else 2)):
        reader.number(4 if version == 2 else 2)
        is_inside = bool(version and reader.number(2) & 0xF)  # within the box `idat`, not the file
        reader.number(2)
        base = reader.number(more_sizes >> 4) + (in_items if is_inside else 0)
        for _extent in range(reader.number(2)):
            reader.number(more_sizes & 0xF if version else 0)
            offset, length = reader.number(sizes >> 4), reader.number(sizes & 0xF)
            yield base + offset, length


class _Bytes:
    """Numbers of any length, one after the other."""

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._position = position

    def number(self, num_bytes: int) -> int:
        self._position += num_bytes
        if self._position > len(self._content):
            raise struct.error("too short")
        return int.from_bytes(self._content[self._position - num_bytes : self._position], "big")


def _sequence_headers(file: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    """Those units of AV1 data that say how large its images are."""
    end_of_file = file.seek(0, io.SEEK_END)
    position, end = start, min(start + length, end_of_file) if length else end_of_file
    for _ in range(_MAX_UNITS):
        if position >= end:
            return
        file.seek(position)
        head = file.read(16)
        if len(head) < 2 or head[0] & 0x80:  # not AV1: EXIF, or a grid of other items
            return
        num_before = 2 if head[0] & 0x04 else 1
        size, num_digits = _leb128(head[num_before:]) if head[0] & 0x02 else (end - position - num_before, 0)
        body = position + num_before + num_digits
        if head[0] >> 3 & 0xF == _SEQUENCE_HEADER:
            file.seek(body)
            yield file.read(min(size, _MAX_SEQUENCE_HEADER_BYTES))
        position = body + size


def _leb128(content: bytes) -> tuple[int, int]:
    """A number in groups of seven bits, the least first, and how many groups it has."""
    value = 0
    for index, byte in enumerate(content[:8]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, index + 1
    return value, 8


class _Bits:
    def __init__(self, content: bytes) -> None:
        self._bits = int.from_bytes(content, "big")
        self._num_left = 8 * len(content)

    def read(self, count: int) -> int:
        self._num_left -= count
        if self._num_left < 0:
            raise struct.error("too short")
        return self._bits >> self._num_left & ((1 << count) - 1)


def _sequence_size(unit: bytes) -> Size:
    """Largest size of a frame, from a sequence header (AV1 specification, section 5.5.1)."""
    bits = _Bits(unit)
    bits.read(4)
    if bits.read(1):  # a header for a still image
        bits.read(5)
    else:
        _skip_timing_and_operating_points(bits)
    num_width_bits, num_height_bits = bits.read(4) + 1, bits.read(4) + 1
    width, height = bits.read(num_width_bits) + 1, bits.read(num_height_bits) + 1
    return Size(height, width)


def _skip_timing_and_operating_points(bits: _Bits) -> None:
    num_delay_bits = 0
    if bits.read(1):
        bits.read(64)
        if bits.read(1):
            num_zeros = 0
            while not bits.read(1):
                num_zeros += 1
            bits.read(num_zeros)
        if bits.read(1):
            num_delay_bits = bits.read(5) + 1
            bits.read(42)
    has_display_delays = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if num_delay_bits and bits.read(1):
            bits.read(2 * num_delay_bits + 1)
        if has_display_delays and bits.read(1):
            bits.read(4)
