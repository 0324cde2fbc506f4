"""A claim's data: nested tuples of arrays, their shapes checked, as one npz file of the same bytes each time."""

from __future__ import annotations

import io
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import jaxtyped

LARGEST = 1_000_000  # bytes of a committed npz
MOST_FIELDS = 8  # of one level


def is_level(kind: Any) -> bool:
    """True for a NamedTuple class: a level of the data, not an array."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def pack(data: NamedTuple) -> bytes:
    """The arrays as npz bytes, named `level.field`; the same bytes for the same arrays.

    Raises:
        ValueError: more than a megabyte: results are committed, so they are summaries.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(array) for name, array in _flat(data)})
    content = buffer.getvalue()
    if len(content) > LARGEST:
        largest = max(_flat(data), key=lambda item: np.asarray(item[1]).nbytes)[0]
        raise ValueError(f"the data take {len(content):,} bytes, over {LARGEST:,}; keep a summary of {largest}.")
    return content


def unpack(kind: type, content: bytes) -> NamedTuple:
    """The data of a claim from npz bytes.

    Raises:
        ValueError: the file holds other fields: it was written by another version of the claim.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    wanted = set(_names(kind))
    if wanted != set(arrays):
        raise ValueError(f"the data hold other fields than the claim: {sorted(wanted ^ set(arrays))}. Run it again.")
    return _built(kind, arrays, "")


def check_shapes(data: NamedTuple) -> None:
    """TypeError unless every array has the type and shape of its field, a name meaning one size throughout."""
    with jaxtyped("context"):
        for path, kind, array in _annotated(data, ""):
            wanted = kind.dtype[np.ndarray, kind.dim_str]
            if not isinstance(np.asarray(array), wanted):
                found = np.asarray(array)
                raise TypeError(
                    f"{path} is {found.dtype} {found.shape}, and not {kind.dtype.__name__} [{kind.dim_str}]."
                )


def _flat(data: NamedTuple, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data._asdict().items():
        if is_level(type(value)):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _names(kind: type, prefix: str = "") -> Iterator[str]:
    for name, field in typing.get_type_hints(kind).items():
        if is_level(field):
            yield from _names(field, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _built(kind: type, arrays: dict[str, np.ndarray], prefix: str) -> NamedTuple:
    fields = {}
    for name, field in typing.get_type_hints(kind).items():
        path = f"{prefix}{name}"
        fields[name] = _built(field, arrays, f"{path}.") if is_level(field) else arrays[path]
    return kind(**fields)


def _annotated(data: NamedTuple, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name, kind in typing.get_type_hints(type(data)).items():
        value = getattr(data, name)
        if is_level(kind):
            yield from _annotated(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind, value
