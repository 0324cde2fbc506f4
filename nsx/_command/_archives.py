"""Arrays in a file: what it declares of each before anything is read, and one array at a time.

A file is somebody else's: its bytes may be cut, be of another format, or declare a hundred times what they hold. So the
declaration is looked at first, against the bytes that are there and the memory that is free.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import jax.numpy as jnp
import numpy as np

try:
    import resource
except ImportError:  # not on every system
    resource = None

HALVES = {"BF16": jnp.bfloat16}  # of safetensors, which NumPy has no name for
CORES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "C64": np.complex64,
}
COPIES = 2  # the array as it is stored, and as float32


class Unreadable(ValueError):
    """What is wrong with an array, said in full."""


class Declared(NamedTuple):
    """What a file says of an array: its shape, its type, its bytes in memory."""

    shape: tuple[int, ...]
    dtype: np.dtype
    size: int


class Archive(Protocol):
    """A file of arrays by key."""

    keys: Sequence[str]

    def declared(self, key: str) -> Declared:
        """What the file says of an array; ValueError where its bytes do not fit."""

    def load(self, key: str) -> np.ndarray:
        """The array."""


class Npy:
    """A `.npy`: one array, under the key ""; it is mapped, not read."""

    keys = ("",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def declared(self, key: str) -> Declared:
        """From its header, held against the size of the file."""
        with self.path.open("rb") as file:
            return _declared(file, self.path.stat().st_size)

    def load(self, key: str) -> np.ndarray:
        """The array, as a map of the file."""
        return np.load(self.path, mmap_mode="r", allow_pickle=False)


class Npz:
    """A `.npz`: a zip of `.npy` files."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path)
        names = [name for name in self.zip.namelist() if name.endswith(".npy")]
        self.keys = [name.removesuffix(".npy") for name in names]

    def declared(self, key: str) -> Declared:
        """From the array's header, held against the size that the zip declares."""
        member = self.zip.getinfo(f"{key}.npy")
        with self.zip.open(member) as file:
            return _declared(file, member.file_size)

    def load(self, key: str) -> np.ndarray:
        """The array, whose bytes are held against the zip's checksum."""
        with self.zip.open(f"{key}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)


class Safetensors:
    """A `.safetensors`: a header in JSON, then bytes."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as file:  # looks at all offsets and types
            self.keys = list(file.keys())
        self.path = path
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            self.header = json.loads(file.read(length))
        self.start = 8 + length

    def declared(self, key: str) -> Declared:
        """From the header."""
        name = self.header[key]["dtype"]
        if name not in CORES | HALVES:
            raise Unreadable(f"the type {name} is not read; save it as F32 or BF16.")
        shape = tuple(self.header[key]["shape"])
        dtype = np.dtype((CORES | HALVES)[name])
        return Declared(shape, dtype, math.prod(shape) * dtype.itemsize)

    def load(self, key: str) -> np.ndarray:
        """The array, as a map of the file."""
        shape, dtype, size = self.declared(key)
        if size == 0:
            return np.zeros(shape, dtype)
        offset = self.start + self.header[key]["data_offsets"][0]
        return np.memmap(self.path, np.uint8, "r", offset, size).view(dtype).reshape(shape)


KINDS = {".npy": Npy, ".npz": Npz, ".safetensors": Safetensors}


def open_archive(path: Path) -> Archive:
    """The file as arrays by key; ValueError where it is none of the three kinds, or no such file."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ValueError("the file must be .npz, .npy or .safetensors.")
    if not path.exists():
        raise ValueError("there is no such file.")
    if not path.is_file():
        raise ValueError("this is no file but a folder, a pipe or a device.")
    if path.stat().st_size == 0:
        raise ValueError("the file is empty: save it again.")
    with legible():
        return kind(path)


@contextmanager
def legible(key: str = "") -> Iterator[None]:
    """What goes wrong when bytes are read, whatever it is, as a ValueError that names the key."""
    begin = f"{key}: " if key else ""
    try:
        yield
    except (MemoryError, ModuleNotFoundError):
        raise
    except Unreadable as error:
        raise Unreadable(f"{begin}{error}") from error
    except Exception as error:  # zipfile, zlib, NumPy, tokenize, struct, safetensors: each has errors of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0][:200].rstrip(".")
        raise ValueError(f"{begin}cannot be read ({reason}). It may be cut or damaged: save it again.") from error


def require_memory(declared: dict[str, Declared]) -> None:
    """Raise ValueError where the arrays asked for would not fit into the memory that is free."""
    wanted = COPIES * sum(array.size for array in declared.values())
    free = free_memory()
    if wanted <= free:
        return
    key, largest = max(declared.items(), key=lambda item: item[1].size)
    raise ValueError(
        f"{key or 'the array'}: declares shape {largest.shape} of {largest.dtype}, {gigabytes(largest.size)}; all that "
        f"is asked for takes {gigabytes(wanted)}, and {gigabytes(free)} are free. Save fewer rows, or float16."
    )


def free_memory() -> float:
    """Bytes that this process may still take: of the machine, its control group, its own limit; inf where unknown."""
    limits = [math.inf]
    info = Path("/proc/meminfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        if "MemAvailable" in fields:
            limits.append(1024.0 * int(fields["MemAvailable"].split()[0]))
    group = Path("/sys/fs/cgroup")
    files = [group / name for name in ("memory.max", "memory.current", "memory.stat")]
    if all(file.exists() for file in files):
        most, now, stat = (file.read_text() for file in files)
        fields = dict(line.split(" ", 1) for line in stat.splitlines())
        cached = sum(int(fields.get(name, 0)) for name in ("active_file", "inactive_file"))  # given back when asked
        if most.strip() != "max":
            limits.append(float(int(most) - int(now) + cached))
    if resource is not None and (own := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
        limits.append(float(own))
    return max(min(limits), 0.0)


def gigabytes(size: float) -> str:
    """A size for a reader."""
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"


def _declared(file: BinaryIO, size: int) -> Declared:
    """The header of a `.npy`, held against the number of bytes that there are."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise Unreadable(f"version {version} of the format is not read: it holds records; save an array of numbers.")
    if dtype.hasobject:
        raise Unreadable("holds Python objects, perhaps None; save an array of integers, strings or numbers.")
    wanted = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or file.tell() + wanted != size:
        raise ValueError(f"its header declares {file.tell() + wanted:,} bytes and there are {size:,}.")
    return Declared(shape, dtype, wanted)
