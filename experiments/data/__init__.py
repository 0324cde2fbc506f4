"""Real data: named, pinned by version and sha256, fetched once by `fetch` into the user's cache.

Nothing is fetched or read on import. See README.md for what each source holds and under which licence.
"""

from experiments.data._cache import DataCorrupted as DataCorrupted
from experiments.data._cache import DataError as DataError
from experiments.data._cache import DataNotFetched as DataNotFetched
from experiments.data._cache import FetchFailed as FetchFailed
from experiments.data._cache import available as available
from experiments.data._cache import cache_dir as cache_dir
from experiments.data._cache import read as read
from experiments.data._fetch import fetch as fetch
from experiments.data._sources import DATASETS as DATASETS
from experiments.data._sources import SOURCES as SOURCES
from experiments.data._sources import Source as Source
from experiments.data.clinical import FEATURES as FEATURES
from experiments.data.clinical import Patients as Patients
from experiments.data.clinical import SpikeTrials as SpikeTrials
from experiments.data.clinical import granulomatous_disease as granulomatous_disease
from experiments.data.clinical import stimulus_locked as stimulus_locked
from experiments.data.hierarchy import Hierarchy as Hierarchy
from experiments.data.hierarchy import mammals as mammals
from experiments.data.hierarchy import noun_closure as noun_closure
from experiments.data.places import Airports as Airports
from experiments.data.places import airports as airports
from experiments.data.similarity import Similarity as Similarity
from experiments.data.similarity import analogies as analogies
from experiments.data.similarity import word_similarity as word_similarity
from experiments.data.sound import Pronunciations as Pronunciations
from experiments.data.sound import homophone_classes as homophone_classes
from experiments.data.sound import pronunciations as pronunciations
from experiments.data.tagged import Tagged as Tagged
from experiments.data.tagged import hkcancor as hkcancor
from experiments.data.text import Corpus as Corpus
from experiments.data.text import corpus as corpus
from experiments.data.text import from_text as from_text
from experiments.data.text import tokenize as tokenize
from experiments.data.text import tokens as tokens
from experiments.data.vectors import Vectors as Vectors
from experiments.data.vectors import news_vectors as news_vectors
from experiments.data.wordnet import Hypernyms as Hypernyms
from experiments.data.wordnet import WordClass as WordClass
from experiments.data.wordnet import glosses as glosses
from experiments.data.wordnet import lemma_synsets as lemma_synsets
from experiments.data.wordnet import lexicographer_classes as lexicographer_classes
from experiments.data.wordnet import noun_hypernyms as noun_hypernyms
