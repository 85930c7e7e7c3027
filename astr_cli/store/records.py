"""Records of a journal segment: one pair each, found whole or not at all.

    magic (4) | length of the pair (u32) | length of the arrays (u64) | CRC32 (u32) of all else | pair | arrays

The magic says whether the last array is `reference` or `sigma`.
Little endian. The pair is JSON: both image stamps (name, width, height, mtime_ns, file_size, content; the
last one is younger than astr 0.1). The arrays are those of
`PairMatches.columns`, raw, one after another; their length gives the number of rows.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from astr_cli.files import open_own, parse_json
from astr_cli.store.run_info import ImageStamp
from astr_cli.store.types import ARRAYS, SIGMA, ArraySpec, PairMatches

MAGIC = b"aPR1"
MAGIC_SIGMA = b"aPR2"
_LENGTHS = struct.Struct("<4sIQ")
_CRC = struct.Struct("<I")
HEADER = _LENGTHS.size + _CRC.size
LONGEST_PAIR = 1 << 20  # two paths: far less; a longer one is a damaged header
_SPECS: dict[bytes, tuple[ArraySpec, ...]] = {MAGIC: ARRAYS, MAGIC_SIGMA: (*ARRAYS, SIGMA)}


class Found(NamedTuple):
    """A whole record: whose matches it holds, and where in its segment it lies."""

    stamp0: ImageStamp
    stamp1: ImageStamp
    offset: int
    length: int


class Scan(NamedTuple):
    """The content of a segment."""

    records: list[Found]
    end: int  # where the last whole record ends; what follows is torn
    damaged: int  # records in between whose CRC is wrong


def encode(stamp0: ImageStamp, stamp1: ImageStamp, matches: PairMatches) -> bytes:
    """The bytes of one record."""
    pair = json.dumps([stamp0, stamp1], ensure_ascii=False, separators=(",", ":")).encode()
    columns = matches.columns()
    arrays = b"".join(np.ascontiguousarray(array, dtype=spec.dtype).tobytes() for spec, array in columns.items())
    lengths = _LENGTHS.pack(MAGIC_SIGMA if SIGMA in columns else MAGIC, len(pair), len(arrays))
    crc = zlib.crc32(arrays, zlib.crc32(pair, zlib.crc32(lengths)))
    return b"".join((lengths, _CRC.pack(crc), pair, arrays))


def decode(record: bytes) -> tuple[ImageStamp, ImageStamp, PairMatches] | None:
    """The content of one record; None when it is not whole."""
    parsed = _check(record)
    if parsed is None:
        return None
    pair, start = parsed
    specs = _SPECS[record[: len(MAGIC)]]
    rows = (len(record) - start) // _row_bytes(specs)
    arrays = []
    for spec in specs:
        count = rows * max(1, spec.columns)
        values = np.frombuffer(record, spec.dtype, count, start).reshape(spec.shape(rows))
        arrays.append(values.astype(np.dtype(spec.dtype).newbyteorder("=")))  # a copy: writable, native
        start += values.nbytes
    return *pair, PairMatches(*arrays)


def scan(path: Path) -> Scan:
    """Find the whole records of a segment. Raises OSError.

    A record with a wrong CRC is passed over when another one, or the end of the file, follows exactly behind it: then
    its lengths are right and only it is lost. Otherwise nothing behind it can be found again.
    """
    records: list[Found] = []
    damaged = pending = end = 0
    known: dict[ImageStamp, ImageStamp] = {}  # a stamp is in memory once, not once per pair
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for offset, record in _walk(file, size):
            parsed = _check(record)
            if parsed is None:
                pending += 1
                continue
            damaged, pending = damaged + pending, 0
            end = offset + len(record)
            stamp0, stamp1 = (known.setdefault(stamp, stamp) for stamp in parsed[0])
            records.append(Found(stamp0, stamp1, offset, len(record)))
    return Scan(records, end, damaged)


def _walk(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of everything that has the lengths of a record, whatever its CRC."""
    offset = 0
    while offset + HEADER <= size:
        file.seek(offset)
        magic, pair_length, arrays_length = _LENGTHS.unpack(file.read(_LENGTHS.size))
        length = HEADER + pair_length + arrays_length
        if magic not in _SPECS or pair_length > LONGEST_PAIR or offset + length > size:
            return
        file.seek(offset)
        yield offset, file.read(length)
        offset += length


def _check(record: bytes) -> tuple[tuple[ImageStamp, ImageStamp], int] | None:
    """The stamps of a record and where its arrays begin; None when lengths, CRC or stamps are wrong."""
    if len(record) < HEADER:
        return None
    magic, pair_length, arrays_length = _LENGTHS.unpack_from(record)
    if magic not in _SPECS or len(record) != HEADER + pair_length + arrays_length:
        return None
    if arrays_length % _row_bytes(_SPECS[magic]):
        return None
    view = memoryview(record)
    if zlib.crc32(view[HEADER:], zlib.crc32(view[: _LENGTHS.size])) != _CRC.unpack_from(record, _LENGTHS.size)[0]:
        return None
    try:
        stamp0, stamp1 = map(ImageStamp.of, parse_json(record[HEADER : HEADER + pair_length]))
    except (TypeError, ValueError):
        return None
    return (stamp0, stamp1), HEADER + pair_length


def _row_bytes(specs: tuple[ArraySpec, ...]) -> int:
    return sum(np.dtype(spec.dtype).itemsize * max(1, spec.columns) for spec in specs)
