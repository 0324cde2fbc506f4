"""The command: files as people have them, what is refused and in which words, what is written and when."""

import errno
import json
import math
import struct
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from nsx.__main__ import main
from nsx._command import _archives, _files, _show
from nsx._command._write import replacing
from nsx.audit import Measured
from tests.audit.shared import small

pytestmark = pytest.mark.slow  # an audit computes in float32 whatever the precision of the run
QUICK = ["-k", "2", "--replicates", "2", "-p", "uniform"]


def pairs(count=8):
    """Anchors and positives, (2, count, 3)."""
    return np.random.default_rng(0).normal(size=(2, count, 3)).astype(np.float32)


def arrays(**more):
    """What an .npz needs, and more."""
    anchors, positives = pairs()
    return {"anchors": anchors, "positives": positives} | more


def save_safetensors(path, tensors):
    """The format by hand: the length of a header, the header in JSON, the bytes; `tensors` maps to (type, array)."""
    header, body = {}, b""
    for key, (name, array) in tensors.items():
        start = len(body)
        body += array.tobytes()
        header[key] = {"dtype": name, "shape": list(array.shape), "data_offsets": [start, len(body)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def run(path, *options, capsys, out=None):
    """The exit status, and what was printed and complained."""
    folder = path.parent / "out" if out is None else out
    status = main(["audit", str(path), *(options or QUICK), "--out", str(folder)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def refused(path, *options, capsys):
    """The complaint of a command that must fail, before anything was written."""
    status, _, complaint = run(path, *options, capsys=capsys)
    assert status == 2
    assert not list((path.parent / "out").glob("*"))
    assert "Traceback" not in complaint
    assert len(complaint.strip().splitlines()) == 1
    return complaint


# --- what works


def test_table_json_and_figure(tmp_path, capsys):
    problem = small()
    path = tmp_path / "pairs[1].npz"  # brackets are no markup
    named = {name: getattr(problem, name) for name in ("anchors", "positives", "candidates", "positive_ids")}
    np.savez(path, **named, log_weights_mine=np.zeros(6), notes=np.zeros(3))
    options = ["-p", "uniform", "-p", "scores:0.5", "-p", "weights:mine", "-k", "1", "4", "--entropy", "1"]
    status, out, _ = run(path, *options, capsys=capsys)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == (
        "pairs[1].npz: 12 pairs of 12 anchors; 6 candidates, the positives among them; scores are cosines of 3 "
        "numbers; no labels; no counts"
    )
    assert "not used: notes" in out
    assert "best: " in out
    assert "temperature for 1 nats: " in out
    assert "judged by bias" in " ".join(out.split())
    found = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in found["proposals"]] == ["uniform", "scores:0.5", "weights:mine"]
    row = found["proposals"][0]
    assert row["k"] == [1, 4]
    assert row["entropy"] == {"value": pytest.approx(math.log(5), rel=1e-5), "standard_error": None}
    assert set(row["plain"]) == {"bias", "drift", "cosine", "signal_to_noise", "error"}
    assert len(row["corrected"]["bias"]) == 2
    assert found["criterion"] == "bias"
    assert found["temperature_for_entropy"] > 0
    assert (tmp_path / "out" / "audit.png").stat().st_size > 20_000
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["audit.json", "audit.png"]


def test_no_options_on_few_pairs(tmp_path, capsys):
    """71 pairs or fewer failed: the usual index cannot miss one in ten of 64 there."""
    for count, numbers in ((2, "1"), (20, "1, 4")):
        np.save(tmp_path / "few.npy", pairs(count))
        status, out, _ = run(tmp_path / "few.npy", "--replicates", "2", capsys=capsys)
        assert status == 0
        assert f"k = {numbers}: those of the usual 1, 4, 16, 64 up to half of the {count} candidates" in out
        assert "ann:0.9: " in out
        assert "every candidate is taken as equally frequent" in " ".join(out.split())


def test_the_usual_proposals_give_way_to_k(tmp_path, capsys):
    np.save(tmp_path / "few.npy", pairs(8))
    status, out, _ = run(tmp_path / "few.npy", "-k", "16", "--replicates", "2", capsys=capsys)
    assert status == 0
    assert "without ann:0.9: ann:0.9: the parameter must be finite and in [1, 1]." in " ".join(out.split())


def test_a_single_pair_of_anchors_has_no_verdict(tmp_path, capsys):
    anchors, positives = pairs(2)
    np.savez(tmp_path / "one.npz", anchors=anchors[:1], positives=positives[:1], candidates=positives)
    status, out, complaint = run(tmp_path / "one.npz", capsys=capsys)
    assert (status, complaint) == (0, "")
    assert "a single anchor has no standard error" in " ".join(out.split())


def test_solved_pairs_are_said_to_be_so(tmp_path, capsys):
    np.savez(tmp_path / "eye.npz", anchors=np.eye(100), positives=np.eye(100))
    status, out, _ = run(tmp_path / "eye.npz", "-t", "0.01", "-k", "4", "--replicates", "2", capsys=capsys)
    assert status == 0
    assert out.count("the full gradient is 0") == 1
    assert "nan" not in (tmp_path / "out" / "audit.json").read_text().lower().replace("dominant", "")
    assert (tmp_path / "out" / "audit.png").stat().st_size > 20_000


def test_scores_only_where_told(tmp_path, capsys):
    anchors, positives = pairs()
    np.save(tmp_path / "scores.npy", anchors @ positives.T)
    status, out, _ = run(tmp_path / "scores.npy", "--scores", *QUICK, capsys=capsys)
    assert status == 0
    assert "scores as given" in out
    np.savez(tmp_path / "scores.npz", scores=anchors @ positives.T, positive_ids=np.arange(8))
    assert run(tmp_path / "scores.npz", capsys=capsys)[0] == 0


@pytest.mark.parametrize("name", ["BF16", "F16", "F32", "F64", "I8"])
def test_safetensors_of_any_real_type(tmp_path, name):
    kinds = {"BF16": jnp.bfloat16, "F16": "float16", "F32": "float32", "F64": "float64", "I8": "int8"}
    anchors, positives = np.round(4 * pairs()).astype(kinds[name])
    path = tmp_path / "pairs.safetensors"
    save_safetensors(path, {"positives": (name, positives), "anchors": (name, anchors), "empty": ("F32", np.zeros(0))})
    problem = _files.to_problem(_files.read(path).arrays)
    np.testing.assert_array_equal(problem.anchors, anchors.astype(np.float32))
    np.testing.assert_array_equal(problem.positives, positives.astype(np.float32))


# --- what is refused

FILES = {
    "zero.npz": (b"", "zero.npz: the file is empty"),
    "zero.npy": (b"", "zero.npy: the file is empty"),
    "zero.safetensors": (b"", "zero.safetensors: the file is empty"),
    "junk.npz": (b"x" * 300, "junk.npz: cannot be read (File is not a zip file)"),
    "junk.npy": (b"x" * 300, "junk.npy: cannot be read ("),
    "junk.safetensors": (b"x" * 300, "junk.safetensors: cannot be read ("),
    "token.npy": (b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4,\n\n", "token.npy: cannot be read ("),
    "pairs.csv": (b"1,2", "pairs.csv: the file must be .npz, .npy or .safetensors"),
}


@pytest.mark.parametrize("name", FILES)
def test_bytes_that_are_no_file_of_arrays(tmp_path, capsys, name):
    content, words = FILES[name]
    (tmp_path / name).write_bytes(content)
    assert words in refused(tmp_path / name, capsys=capsys)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed.npz", "safetensors"])
def test_files_that_were_cut(tmp_path, capsys, kind, share):
    whole = tmp_path / f"whole.{kind}"
    anchors, positives = np.random.default_rng(0).normal(size=(2, 200, 3)).astype(np.float32)
    if kind == "npy":
        np.save(whole, np.stack([anchors, positives]))
    elif kind == "safetensors":
        save_safetensors(whole, {"anchors": ("F32", anchors), "positives": ("F32", positives)})
    else:
        save = np.savez if kind == "npz" else np.savez_compressed
        save(whole, anchors=anchors, positives=positives)
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    complaint = refused(cut, capsys=capsys)
    assert complaint.startswith(f"cut.{kind}: cannot be read (")
    assert "save it again" in complaint


def test_a_flipped_bit_is_seen(tmp_path, capsys):
    path = tmp_path / "flipped.npz"
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    content[content.index(b"\x93NUMPY") + 150] ^= 1
    path.write_bytes(content)
    assert "anchors: cannot be read (Bad CRC-32" in refused(path, capsys=capsys)


CONTENTS = {
    "NaN": (arrays(anchors=np.full((8, 3), np.nan)), "anchors[0] holds NaN"),
    "no positives": ({"anchors": np.eye(3)}, "the key 'positives' is missing; the file has anchors"),
    "slip": (arrays(label=np.zeros(8)), "unknown key 'label': is it 'labels'?"),
    "shape of labels": (arrays(labels=np.arange(2)), "labels must have shape"),
    "labels with NaN": (arrays(labels=np.full(8, np.nan)), "pairs.npz: labels[0] is missing"),
    "labels with None": (arrays(labels=np.array([None] * 8)), "labels: holds Python objects, perhaps None"),
    "labels of what": (
        arrays(labels=np.arange(8), candidates=np.eye(3)),
        "labels is for pairs without candidates",
    ),
    "complex": (arrays(positives=np.ones((8, 3)) * 1j), "positives must be real, got complex128"),
    "bfloat16 as void": (
        arrays(anchors=np.asarray(jnp.ones((8, 3), jnp.bfloat16))),
        "anchors has the type |V2, which says nothing of its numbers: so NumPy saves bfloat16. Save it as float32.",
    ),
    "records": (arrays(anchors=np.zeros(8, [("a", "f4")])), "anchors has the type [('a', '<f4')]"),
    "strings": (arrays(anchors=np.full((8, 3), "a")), "anchors must hold numbers"),
    "ids off by one": (
        arrays(candidates=pairs()[1], positive_ids=(np.arange(8) + 1) % 8),
        "positives[0] is not candidates[1], which positive_ids[0] names; 8 of 8 rows are so. It is candidates[0]",
    ),
    "scores and vectors": (arrays(scores=np.eye(3)), "both scores and anchors"),
    "scores alone": ({"scores": np.eye(3)}, "scores need positive_ids"),
    "nothing": ({"a": np.eye(3)}, "the key 'anchors' is missing; the file has a. Save the vectors"),
    "zero vector": (arrays(anchors=np.zeros((8, 3))), "anchors[0] is a zero vector"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_contents_are_refused_by_key_and_row(tmp_path, capsys, name):
    content, words = CONTENTS[name]
    np.savez(tmp_path / "pairs.npz", **content)
    complaint = refused(tmp_path / "pairs.npz", capsys=capsys)
    assert complaint.startswith("pairs.npz: ")
    assert words in complaint


def test_types_that_are_not_read(tmp_path, capsys):
    anchors = np.zeros((8, 3), np.uint8)
    save_safetensors(tmp_path / "small.safetensors", {"anchors": ("F8_E4M3", anchors), "positives": ("U8", anchors)})
    words = "anchors: the type F8_E4M3 is not read; save it as F32 or BF16."
    assert words in refused(tmp_path / "small.safetensors", capsys=capsys)


def test_one_matrix_is_never_taken_for_scores(tmp_path, capsys):
    np.save(tmp_path / "vectors.npy", np.eye(8))
    complaint = refused(tmp_path / "vectors.npy", capsys=capsys)
    assert "one matrix of shape (8, 8) is not a set of pairs" in complaint
    assert "say --scores" in complaint
    np.save(tmp_path / "tall.npy", np.ones((8, 3)))
    assert "so n >= m, got (8, 3)" in refused(tmp_path / "tall.npy", "--scores", capsys=capsys)
    np.save(tmp_path / "flat.npy", np.ones(8))
    assert "must have shape (2, m, d)" in refused(tmp_path / "flat.npy", capsys=capsys)
    np.savez(tmp_path / "pairs.npz", **arrays())
    assert "there is no key 'scores'" in refused(tmp_path / "pairs.npz", "--scores", capsys=capsys)


def test_what_is_no_file(tmp_path, capsys):
    assert "there is no such file" in refused(tmp_path / "none.npz", capsys=capsys)
    (tmp_path / "folder.npz").mkdir()
    assert "but a folder, a pipe or a device" in refused(tmp_path / "folder.npz", capsys=capsys)


def test_proposals_are_blamed_on_their_option(tmp_path, capsys):
    np.savez(tmp_path / "pairs.npz", **arrays(log_weights_mine=np.zeros(8)))
    for name, words in (
        ("magic", "--proposal: unknown proposal 'magic'; there are uniform"),
        ("power:1", "--proposal: power:1 needs counts"),
        ("weights:other", "needs the key 'log_weights_other'; of this kind there are log_weights_mine"),
    ):
        assert words in refused(tmp_path / "pairs.npz", "-p", name, capsys=capsys)


OPTIONS = [
    (["--batch", "-5"], "--batch: must be at least 1, got -5"),
    (["--batch", "many"], "--batch: must be a whole number, got 'many'"),
    (["--anchors", "0"], "--anchors: must be at least 1"),
    (["--replicates", "1"], "--replicates: must be at least 2"),
    (["-k", "0"], "must be at least 1"),
    (["-k", "9999999999"], "at most 1000000"),
    (["-t", "nan"], "must be positive and finite, got nan"),
    (["-t", "0"], "must be positive and finite, got 0"),
    (["--hard", "2"], "must be above 0 and at most 1, got 2"),
    (["--entropy", "inf"], "must be positive and finite"),
    (["--seed", "-1"], "must be at least 0"),
    (["--seed", str(2**70)], "at most 4294967295"),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_options_are_refused_by_name(tmp_path, capsys, options, words):
    with pytest.raises(SystemExit) as stop:
        main(["audit", str(tmp_path / "none.npz"), *options])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_numbers_of_negatives_ascend(tmp_path, capsys):
    np.save(tmp_path / "pairs.npy", pairs())
    assert "--negatives: the numbers must ascend" in refused(tmp_path / "pairs.npy", "-k", "4", "1", capsys=capsys)


def test_entropy_beyond_reach(tmp_path, capsys):
    np.save(tmp_path / "pairs.npy", pairs())
    words = "target_entropy must be between 0 and 1.946 nats"
    assert words in refused(tmp_path / "pairs.npy", *QUICK, "--entropy", "3", capsys=capsys)


# --- what is read and written


def test_only_the_keys_asked_for_are_read(tmp_path, monkeypatch):
    """A member that nobody asked for may be damaged, or inflate a thousandfold: it is not looked at."""
    path = tmp_path / "pairs.npz"
    np.savez_compressed(path, **arrays(log_weights_mine=np.zeros(8), bomb=np.zeros(10**6)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("broken.npy", b"no array")
    read = []
    load = _archives.Npz.load
    monkeypatch.setattr(_archives.Npz, "load", lambda self, key: (read.append(key), load(self, key))[1])
    contents = _files.read(path)
    assert sorted(read) == ["anchors", "positives"]
    assert contents.unused == ("bomb", "broken", "log_weights_mine")
    assert set(_files.read(path, weights=["mine"]).weights) == {"mine"}


def test_sizes_are_looked_at_before_memory_is_taken(tmp_path, monkeypatch, capsys):
    path = tmp_path / "large.npz"
    np.savez_compressed(path, **arrays(candidates=np.zeros((10**5, 3))))

    def load(self, key):
        raise AssertionError("an array was read")

    monkeypatch.setattr(_archives, "free_memory", lambda: 4e6)
    monkeypatch.setattr(_archives.Npz, "load", load)
    complaint = refused(path, capsys=capsys)
    assert "large.npz: candidates: declares shape (100000, 3) of float64, 2.4 MB" in complaint
    assert "takes 4.8 MB, and 4 MB are free" in complaint


def test_a_header_that_promises_more_than_there_is(tmp_path, capsys):
    """2 x 10^9 x 10^3 numbers in a file of 200 bytes: refused by its size, nothing allocated."""
    path = tmp_path / "vast.npy"
    header = str({"descr": "<f4", "fortran_order": False, "shape": (2, 10**9, 1000)}).encode().ljust(118) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64)
    assert "declares 8,000,000,000,1" in refused(path, capsys=capsys)


def test_free_memory_is_a_number():
    assert 1e6 < _archives.free_memory() < 1e16


def test_memory_that_runs_out_is_a_message(tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "pairs.npy", pairs())

    def exhausted(*arguments, **options):
        raise MemoryError("Unable to allocate 6.5 TiB")

    monkeypatch.setattr("nsx._command._audit.audit", exhausted)
    complaint = refused(tmp_path / "pairs.npy", capsys=capsys)
    assert "more than the memory of this machine holds (Unable to allocate 6.5 TiB)" in complaint


def test_an_unwritable_folder_is_named_before_the_work(tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "pairs.npy", pairs())
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "full" / "audit.json").mkdir(parents=True)

    def never(*arguments, **options):
        raise AssertionError("the work was begun")

    monkeypatch.setattr("nsx._command._audit.look", never)
    for folder, words in (
        ("taken", "File exists"),
        ("taken/below", "Not a directory"),
        ("full", "audit.json is a folder"),
    ):
        out = tmp_path / folder
        status, _, complaint = run(tmp_path / "pairs.npy", capsys=capsys, out=out)
        assert status == 2
        assert complaint.startswith(f"--out {out}: ")
        assert words in complaint


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "pairs.npy", pairs())
    out = tmp_path / "out"
    out.mkdir()
    (out / "audit.png").write_bytes(b"the last one")

    def full(report, path):
        path.write_bytes(b"half a pict")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_show, "figure", full)
    status, _, complaint = run(tmp_path / "pairs.npy", capsys=capsys)
    assert status == 2
    assert complaint == f"--out {out}: No space left on device\n"
    assert (out / "audit.png").read_bytes() == b"the last one"
    assert sorted(p.name for p in out.iterdir()) == ["audit.json", "audit.png"]


def test_replacing_is_all_or_nothing(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as scratch:
        scratch.write_text("one")
        assert not path.exists()
    assert path.read_text() == "one"

    def interrupted():
        with replacing(path) as scratch:
            scratch.write_text("two")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_are_short():
    shown = {
        "0.0213(5)": (0.0213, 0.0005),
        "4.03(7)": (4.03, 0.07),
        "0.9998": (0.99981, 0.00002),
        "< 0.003": (0.001, 0.003),
        "3,544": (3543.7, None),
        "1,234(12)": (1234.0, 12.0),
        "2": (2.0, 0.0),
        "none": (math.nan, math.nan),
        "0.5": (0.5, math.nan),
    }
    assert [_show.short(Measured(*pair)) for pair in shown.values()] == list(shown)
