"""A package index as a shelf of files: one file by its name, from wherever pip is configured to look.

pip itself would build what it downloads as an sdist, to learn its metadata, and so run code of the archive; here an
archive is bytes and nothing else.
"""

from __future__ import annotations

import ast
import contextlib
import html.parser
import http.client
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

_CHUNK = 1 << 16
_PAGE_BYTES = 1 << 26  # a page of an index is far smaller
_TRIES = 3
_PAUSE_SECONDS = 1.0
_TIMEOUT_SECONDS = 15.0  # pip's own
_SECTIONS = ("global", "download", ":env:")  # of pip's settings, each over the ones before
_HEADERS = {"Accept": "application/vnd.pypi.simple.v1+html, text/html", "User-Agent": "nsx"}


class NotServed(Exception):
    """A place does not give the file; the message says which place and why."""


class Settings(NamedTuple):
    """What pip is configured to use.

    `links` are folders and pages that list files, `indexes` have a page for each package; `trusted` are hosts whose
    certificates are not checked.
    """

    indexes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    certificate: str | None = None
    proxy: str | None = None
    trusted: tuple[str, ...] = ()
    timeout: float = _TIMEOUT_SECONDS


def settings() -> Settings:
    """pip's settings, of its files and its environment variables.

    Raises:
        NotServed: this Python has no pip to ask.
    """
    given: dict[str, str] = {}
    listed = re.findall(r"^(\S+?)\.([\w-]+)=(.*)$", _pip("config", "list"), flags=re.M)
    for section in _SECTIONS:
        given |= {name: str(ast.literal_eval(value)) for part, name, value in listed if part == section}
    several = lambda name: tuple(given.get(name, "").split())
    alone = given.get("no-index", "").lower() in ("1", "true", "yes", "on")
    indexes = (given.get("index-url") or _default_index(), *several("extra-index-url")) if not alone else ()
    return Settings(
        indexes=indexes,
        links=several("find-links"),
        certificate=given.get("cert"),
        proxy=given.get("proxy"),
        trusted=several("trusted-host"),
        timeout=float(given.get("timeout") or given.get("default-timeout") or _TIMEOUT_SECONDS),
    )


def _default_index() -> str:
    """The index that pip uses where none is configured, in its own words."""
    said = re.search(r"Base URL of.*?\(default\s+(\S+)\)", _pip("download", "--help"), flags=re.S)
    if not said:
        raise NotServed("pip does not say which index it uses; name one: PIP_INDEX_URL")
    return said[1]


def _pip(*arguments: str) -> str:
    """What pip prints."""
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "400"})
    if done.returncode != 0:
        hint = ". Run: python -m ensurepip" if "No module named pip" in done.stderr else ""
        raise NotServed(f"pip does not tell its configuration: {done.stderr.strip()[-300:]}{hint}")
    return done.stdout


def places(package: str, given: Settings) -> Iterator[str]:
    """Folders and pages that may list a file of the package, in pip's order."""
    name = re.sub(r"[-_.]+", "-", package).lower()
    yield from given.links
    yield from (f"{index.rstrip('/')}/{name}/" for index in given.indexes)


def find(place: str, filename: str, given: Settings) -> str | None:
    """The address of the file of this name that a place lists; None where it lists none.

    Raises:
        NotServed: the place cannot be read.
    """
    folder = _local(place)
    if folder is not None and (folder / filename).exists():
        return str(folder / filename)
    page, base = _page(place, given) if folder is None else _local_page(folder)
    links = _Links()
    links.feed(page)
    found = (urljoin(urljoin(base, links.base), link) for link in links.addresses)
    named = (address for address in found if unquote(urlsplit(address).path).rpartition("/")[2] == filename)
    allowed = ("http", "https") if folder is None else ("http", "https", "file")
    return next((address for address in named if urlsplit(address).scheme in allowed), None)


def download(address: str, file: BinaryIO, limit: int, given: Settings) -> Iterator[int]:
    """Write what an address gives into a file, at most `limit` bytes and one more; yields the bytes so far.

    Raises:
        NotServed: it is not given, or not to its end.
        OSError: the file cannot be written.
    """
    received = 0
    with contextlib.closing(_chunks(address, given)) as chunks:
        for chunk in chunks:
            file.write(chunk[: limit + 1 - received])
            received += len(chunk)
            yield received
            if received > limit:
                return


def _chunks(address: str, given: Settings) -> Iterator[bytes]:
    with _opened(address, given) as stream:
        while chunk := _spoken(address, lambda: stream.read(_CHUNK)):
            yield chunk


def _page(address: str, given: Settings) -> tuple[str, str]:
    """The text of a page and the address at which it was found in the end."""
    with _opened(address, given) as stream:
        content = _spoken(address, lambda: stream.read(_PAGE_BYTES))
        return content.decode(errors="replace"), stream.geturl()


def _local_page(path: Path) -> tuple[str, str]:
    """The same of a page on this disk, or of a folder's index.html; a folder without one lists nothing."""
    file = path / "index.html" if path.is_dir() else path
    return (file.read_text(errors="replace"), file.as_uri()) if file.is_file() else ("", "")


def _local(place: str) -> Path | None:
    """The path that a place is; None for a page of another host."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme in ("http", "https") else Path(place).expanduser()


def _opened(address: str, given: Settings) -> BinaryIO:
    """A stream of what an address holds; a host that does not answer is asked again."""
    path = _local(address)
    if path is not None:
        if not path.is_file():  # a pipe would wait for ever
            raise NotServed(f"{path} is no file")
        return _spoken(address, lambda: path.open("rb"))
    for pause in (_PAUSE_SECONDS,) * (_TRIES - 1):
        with contextlib.suppress(_Busy):
            return _spoken(address, lambda: _answer(address, given))
        time.sleep(pause)
    return _spoken(address, lambda: _answer(address, given))


class _Busy(NotServed):
    """Asked again later, it may be served."""


def _spoken(address: str, act):
    """What `act` gives; its failure in words, without the password that an address may hold."""
    try:
        return act()
    except HTTPError as error:
        kind = _Busy if error.code >= 500 or error.code == 429 else NotServed
        raise kind(f"{redacted(address)}: {error.code} {error.reason}") from None
    except URLError as error:
        raise _Busy(f"{redacted(address)}: {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Busy(f"{redacted(address)}: {type(error).__name__} {error}".rstrip()) from None


def _answer(address: str, given: Settings) -> http.client.HTTPResponse:
    """Ask a host, by the certificate, proxy, name and password that are configured for it."""
    parts = urlsplit(address)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    known = urllib.request.HTTPPasswordMgrWithPriorAuth()
    for own in (address, *given.indexes, *given.links):
        if user := urlsplit(own).username:
            host = f"{urlsplit(own).scheme}://{urlsplit(own).netloc.rpartition('@')[2]}/"
            known.add_password(None, host, unquote(user), unquote(urlsplit(own).password or ""), is_authenticated=True)
    context = ssl.create_default_context(cafile=given.certificate)
    if not given.certificate:
        with contextlib.suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    if {parts.hostname, parts.netloc.rpartition("@")[2]} & set(given.trusted):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPBasicAuthHandler(known),
        urllib.request.ProxyHandler(dict.fromkeys(("http", "https"), given.proxy) if given.proxy else None),
    )
    return opener.open(urllib.request.Request(bare, headers=_HEADERS), timeout=given.timeout)


def redacted(address: str) -> str:
    """An address without the name and password in it."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


class _Links(html.parser.HTMLParser):
    """Where the anchors of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an anchor, or what its address is relative to."""
        address = dict(attrs).get("href")
        if tag == "a" and address:
            self.addresses.append(address)
        elif tag == "base" and address and not self.base:
            self.base = address
