"""A GGUF file's metadata and tensor table, read with every number checked before it is used.

The format (v2 and v3): magic, version, number of tensors and of metadata entries; the entries
(key, type, value); the table (name, dimensions with the fastest first, type, offset into the data
section); padding to the alignment; the data. Bytes may come from anywhere, so whatever they are,
the answer is a GGUF file or a CheckpointError that names the file and the culprit.
"""

import mmap
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tramontane.checkpoint.blocks import BLOCKS
from tramontane.checkpoint.tensors import TensorAt, num_bytes_of
from tramontane.errors import CheckpointError

MAGIC = b"GGUF"
# Limits far above any published file. They bound time, as the file's size bounds memory.
MAX_TENSORS = 1 << 18
MAX_ENTRIES = 1 << 16
MAX_ARRAY_ITEMS = 1 << 23
MAX_NAME_BYTES = 1 << 10
MAX_DEPTH = 4
MAX_ALIGNMENT = 1 << 20
MAX_PARTS = 4096

# Metadata types, by number.
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
STRING, ARRAY = 8, 9

# Tensor types, by number; those that llama.cpp has since dropped are unnamed.
TYPE_NAMES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
}

PART_NAME = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """What a GGUF file, or a split one, says of itself; tensors by the names it gives them."""

    files: tuple[Path, ...]
    version: int
    metadata: Mapping[str, object]
    tensors: Mapping[str, TensorAt]


def read_gguf(path: Path) -> GGUFFile:
    """Returns the file's metadata and table; any part of a split file stands for the whole.

    Raises CheckpointError for anything that isn't a whole GGUF file of supported types.
    """
    files = parts_of(path)
    read = [read_one(file) for file in files]
    metadata = read[0].metadata
    tensors: dict[str, TensorAt] = {}
    for number, part in enumerate(read):
        if len(files) > 1 and part.metadata.get("split.no") != number:
            raise CheckpointError(
                f"{files[number]}: its split.no is {part.metadata.get('split.no')!r}, "
                f"its name says part {number + 1} of {len(files)}; were parts renamed?"
            )
        if doubled := sorted(part.tensors.keys() & tensors.keys()):
            raise CheckpointError(f"{files[number]}: tensor {doubled[0]} is in another part too")
        tensors |= part.tensors
    wanted = metadata.get("split.tensors.count", len(tensors)) if len(files) > 1 else len(tensors)
    if wanted != len(tensors):
        raise CheckpointError(
            f"{files[0]}: the parts hold {len(tensors)} tensors, split.tensors.count is {wanted!r}"
        )
    return GGUFFile(files, read[0].version, metadata, tensors)


def parts_of(path: Path) -> tuple[Path, ...]:
    """Returns all files of a split GGUF in order, or just the one; names the first that lacks."""
    match = PART_NAME.match(path.name)
    if not match:
        return (path,)
    count = int(match["count"])
    if not 1 <= count <= MAX_PARTS or not 1 <= int(match["number"]) <= count:
        raise CheckpointError(f"{path}: {match['number']} of {match['count']} is no part number")
    files = tuple(
        path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf")
        for number in range(1, count + 1)
    )
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{file}: this part of the split model is missing; pull it again")
    return files


def read_one(path: Path) -> GGUFFile:
    """Returns one file's own metadata and table."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size < 24:  # also because an empty file cannot be mapped
                raise CheckpointError(f"{path}: {size} bytes are too few for a GGUF file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_in_file:
                return Reader(path, bytes_in_file).read()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


class StringArray(Sequence[str]):
    """An array of strings, found at once and decoded when first looked at.

    A vocabulary has 50,000 strings and more; most openings of a model never ask for them.
    """

    def __init__(self, path: Path, key: str, packed: bytes, count: int):
        self.path, self.key, self.packed, self.count = path, key, packed, count
        self.strings: list[str] | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index):
        return self.decoded()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.decoded())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.decoded() == list(other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"<{self.count} strings of {self.key}>"

    def decoded(self) -> list[str]:
        if self.strings is None:
            strings, at, length_at = [], 0, struct.Struct("<Q").unpack_from
            for i in range(self.count):
                end = at + 8 + length_at(self.packed, at)[0]
                try:
                    strings.append(self.packed[at + 8 : end].decode())
                except UnicodeDecodeError:
                    raise CheckpointError(
                        f"{self.path}: string {i} of {self.key} is no UTF-8"
                    ) from None
                at = end
            self.strings = strings
        return self.strings


class Reader:
    """Walks one mapped file from its first byte to the end of its table."""

    def __init__(self, path: Path, data: mmap.mmap):
        self.path, self.data, self.size, self.at = path, data, len(data), 0
        self.items_left = MAX_ARRAY_ITEMS

    def read(self) -> GGUFFile:
        magic = self.take(4, "the magic")
        if magic != MAGIC:
            raise self.fault(f"starts with {magic!r}, a GGUF file starts with {MAGIC!r}")
        version = self.number("<I", "the version")
        if version not in (2, 3):
            if version in (0x02000000, 0x03000000):
                raise self.fault("is a big-endian GGUF file; pull the little-endian one")
            raise self.fault(f"is GGUF version {version}; versions 2 and 3 are supported")
        num_tensors = self.count("tensors", MAX_TENSORS, smallest_bytes=24)
        num_entries = self.count("metadata entries", MAX_ENTRIES, smallest_bytes=13)
        metadata: dict[str, object] = {}
        for i in range(num_entries):
            key = self.string(f"the key of metadata entry {i}", MAX_NAME_BYTES)
            if key in metadata:
                raise self.fault(f"has the metadata key {key} twice")
            metadata[key] = self.value(self.number("<I", f"the type of {key}"), key)
        table = [self.table_row(i) for i in range(num_tensors)]
        return GGUFFile((self.path,), version, metadata, self.placed(table, metadata))

    def table_row(self, i: int) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string(f"the name of tensor {i}", MAX_NAME_BYTES)
        num_dimensions = self.number("<I", f"the number of dimensions of {name}")
        if not 1 <= num_dimensions <= 4:
            raise self.fault(f"tensor {name} has {num_dimensions} dimensions; 1 to 4 are possible")
        dimensions = [self.number("<Q", f"dimension {d} of {name}") for d in range(num_dimensions)]
        if 0 in dimensions:
            raise self.fault(f"tensor {name} has an empty dimension: {dimensions}")
        type_number = self.number("<I", f"the type of tensor {name}")
        offset = self.number("<Q", f"the offset of tensor {name}")
        return name, tuple(reversed(dimensions)), type_number, offset

    def placed(self, table: list, metadata: Mapping[str, object]) -> dict[str, TensorAt]:
        """Returns the table's tensors, each within the file and clear of the others."""
        alignment = metadata.get("general.alignment", 32)
        is_power = type(alignment) is int and alignment > 0 and alignment & (alignment - 1) == 0
        if not is_power or alignment > MAX_ALIGNMENT:
            raise self.fault(
                f"general.alignment is {alignment!r}; a power of two up to {MAX_ALIGNMENT} "
                "was expected"
            )
        data_at = (self.at + alignment - 1) // alignment * alignment
        tensors: dict[str, TensorAt] = {}
        for name, shape, type_number, offset in table:
            if name in tensors:
                raise self.fault(f"has the tensor {name} twice")
            type_name = TYPE_NAMES.get(type_number, f"number {type_number}")
            if type_name not in BLOCKS:
                raise self.fault(
                    f"tensor {name} is of type {type_name}; supported are {', '.join(BLOCKS)}. "
                    "Pull another quantisation of this model, such as Q4_0 or Q8_0"
                )
            try:
                num_bytes = num_bytes_of(type_name, shape)
            except CheckpointError as error:
                raise self.fault(f"tensor {name}: {error}") from None
            if offset % alignment:
                raise self.fault(f"tensor {name} at {offset} is not aligned to {alignment} bytes")
            if data_at + offset + num_bytes > self.size:
                raise self.fault(
                    f"tensor {name} of shape {shape} should end at byte "
                    f"{data_at + offset + num_bytes}, the file ends at {self.size}; "
                    "it is truncated or damaged, pull it again"
                )
            tensors[name] = TensorAt(name, self.path, data_at + offset, num_bytes, type_name, shape)
        by_place = sorted(tensors.values(), key=lambda tensor: tensor.offset)
        for tensor, following in zip(by_place, by_place[1:], strict=False):
            if tensor.offset + tensor.num_bytes > following.offset:
                raise self.fault(f"tensors {tensor.name} and {following.name} overlap")
        return tensors

    def value(self, type_number: int, key: str, depth: int = 0) -> object:
        if form := SCALARS.get(type_number):
            return self.number(form, key)
        if type_number == STRING:
            return self.string(key)
        if type_number != ARRAY:
            raise self.fault(f"{key} is of unknown metadata type {type_number}")
        if depth == MAX_DEPTH:
            raise self.fault(f"{key} nests arrays deeper than {MAX_DEPTH}")
        return self.array(key, depth)

    def array(self, key: str, depth: int) -> object:
        item_type = self.number("<I", f"the item type of {key}")
        form = SCALARS.get(item_type)
        smallest_bytes = struct.calcsize(form) if form else 8 if item_type == STRING else 12
        count = self.count(f"items in {key}", self.items_left, smallest_bytes)
        self.items_left -= count
        if form:
            raw = self.take(count * smallest_bytes, key)
            # Booleans are bytes; any other than 0 counts as true, as it does to llama.cpp.
            return (
                np.frombuffer(raw, "u1") != 0 if form == "<?" else np.frombuffer(raw, form)
            ).tolist()
        if item_type == STRING:
            start, length_at = self.at, struct.Struct("<Q").unpack_from
            at, last = start, self.size - 8
            for _ in range(count):
                if at > last:
                    raise self.fault(f"ends inside {key}")
                at += 8 + length_at(self.data, at)[0]
            self.at = start
            return StringArray(self.path, key, self.take(at - start, key), count)
        return [self.value(item_type, key, depth + 1) for _ in range(count)]

    def count(self, what: str, largest: int, smallest_bytes: int) -> int:
        """Reads a number of things that follow, each of at least `smallest_bytes`."""
        count = self.number("<Q", f"the number of {what}")
        if count > largest or count * smallest_bytes > self.size - self.at:
            raise self.fault(
                f"claims {count} {what}, more than fit in its {self.size} bytes or than {largest}"
            )
        return count

    def string(self, what: str, longest: int | None = None) -> str:
        length = self.number("<Q", f"the length of {what}")
        if longest is not None and length > longest:
            raise self.fault(f"{what} is {length} bytes long; {longest} are possible")
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError:
            raise self.fault(f"{what} is no UTF-8") from None

    def number(self, form: str, what: str) -> int | float | bool:
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def take(self, num_bytes: int, what: str) -> bytes:
        if num_bytes > self.size - self.at:
            raise self.fault(
                f"ends inside {what}: {num_bytes} bytes wanted, {self.size - self.at} left"
            )
        self.at += num_bytes
        return self.data[self.at - num_bytes : self.at]

    def fault(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {what}")
