"""What the command line refuses, in words: who is to blame, what was wrong, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax


class Refused(Exception):
    """A message for the user, who did nothing that deserves a traceback."""


@contextmanager
def blame(what: str) -> Iterator[None]:
    """Errors in the block as a `Refused` that begins with what is to blame: a file, an option."""
    try:
        with blame_disk(what):
            yield
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(f"{what}: {error}") from error
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        raise Refused(f"{what}: more than the memory of this machine holds ({_first_line(error)}).") from error


@contextmanager
def blame_disk(what: str) -> Iterator[None]:
    """Only what the operating system refuses: anything else would be a fault of nsx, which needs its traceback."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{what}: {error.strerror or error}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
