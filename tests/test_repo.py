"""Habits of the repository: documented names, sources that exist, README code that runs, no stray prints."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nsx
from tests.helpers import ROOT

SOURCES = sorted((ROOT / "nsx").rglob("*.py"))
BIBLIOGRAPHY = (ROOT / "references.bib").read_text(encoding="utf-8")
KEYS = set(re.findall(r"^@\w+\{([^,\s]+),", BIBLIOGRAPHY, flags=re.M))


def public_modules():
    """Every module a user may import: no part of its path begins with an underscore."""
    names = [m.name for m in pkgutil.walk_packages(nsx.__path__, "nsx.")]
    return [n for n in names if not any(part.startswith("_") for part in n.split("."))]


def public_functions():
    """(module, name, function) of every function and class a module offers as its own."""
    for module_name in public_modules():
        module = importlib.import_module(module_name)
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "").startswith(module_name) and not name.startswith("_")
            if own and (inspect.isfunction(value) or inspect.isclass(value) or hasattr(value, "__wrapped__")):
                yield pytest.param(name, value, id=f"{module_name.removeprefix('nsx.')}.{name}")


FUNCTIONS = list(public_functions())


@pytest.mark.parametrize(("name", "value"), FUNCTIONS)
def test_docstring(name, value):
    text = inspect.getdoc(value) or ""
    assert text, "no docstring"
    assert text.splitlines()[0].rstrip().endswith((".", ":")), "the first line is a sentence"
    if inspect.isclass(value):
        fields = getattr(value, "_fields", ())
        missing = [f for f in fields if not re.search(rf"\b{f}\b", text)]
        assert not missing, f"fields without a word: {missing}"
        return
    parameters = [p for p in inspect.signature(value).parameters if not p.startswith("_")]
    missing = [p for p in parameters if not re.search(rf"\b{p}\b", text)]
    assert not missing, f"arguments without a word: {missing}"
    assert "Returns:" in text, "no Returns section"
    cited = cited_keys(text)
    assert cited, "no source"


def cited_keys(text):
    """Keys of the References section: `[key, eq. 1], [key]`."""
    section = text.partition("References:")[2]
    return re.findall(r"\[([a-z0-9]+\d{4}[a-z0-9]*)", section)


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: f.relative_to(ROOT / "nsx").as_posix())
def test_source_file(file):
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    assert len(text.splitlines()) <= 400, "over 400 lines: split it"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise an error instead of assert"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}: nsx prints nothing"
        if isinstance(node, ast.Attribute):
            assert node.attr != "PRNGKey", f"line {node.lineno}: use jax.random.key"
        roots = {a.name.split(".")[0] for a in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            roots = {node.module.split(".")[0]}
        known = {"jax", "jaxlib", "numpy", "optax", "flax", "jaxtyping", "scipy", "nsx"}
        if file.parent.name == "_command":  # the command line reads, prints and draws; nothing imports it
            known |= {"matplotlib", "rich", "safetensors"}
        if file.name == "checkpoints.py":  # the one module that writes files; imports orbax when it does
            known |= {"orbax"}
        foreign = roots - sys.stdlib_module_names - known
        assert not foreign, f"line {node.lineno}: nsx may not import {foreign}"
    unknown = set(cited_keys(text)) - KEYS
    for block in re.findall(r"References:(.*?)\"\"\"", text, flags=re.S):
        unknown |= set(re.findall(r"\[([a-z]+\d{4}[a-z0-9]*)", block)) - KEYS
    assert not unknown, f"not in references.bib: {unknown}"


def test_every_reference_is_used_once_and_unique():
    keys = re.findall(r"^@\w+\{([^,\s]+),", BIBLIOGRAPHY, flags=re.M)
    assert len(keys) == len(set(keys)), "a key twice"
    places = [
        *SOURCES,
        *(ROOT / "experiments").rglob("*.py"),
        *(ROOT / "experiments").rglob("*.md"),
        ROOT / "NOTATION.md",
    ]
    used = "\n".join(f.read_text(encoding="utf-8") for f in places)
    assert not [k for k in keys if k not in used], "entries that nothing cites"


@pytest.mark.parametrize("module", public_modules())
def test_examples(module, monkeypatch):
    """Docstring examples run; jax, jnp, np and nsx are at hand in them."""
    module = importlib.import_module(module)
    files = {inspect.getmodule(v) for v in vars(module).values() if inspect.isfunction(v) or inspect.isclass(v)}
    names = {"jax": jax, "jnp": jnp, "np": np, "nsx": nsx}
    for part in {module, *(f for f in files if f and f.__name__.startswith("nsx."))}:
        for test in doctest.DocTestFinder(exclude_empty=True).find(part, globs=vars(part) | vars(module) | names):
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test)
            assert not result.failed, test.name


# what others rely on: these names, and these arguments in this order
SIGNATURES = {
    "losses.sgns": "positive, negatives, *, where",
    "losses.nce": "positive, negatives, *, log_q_positive, log_q_negatives, where",
    "losses.info_nce": "positive, negatives, *, temperature, log_q_positive, log_q_negatives, k, where",
    "losses.triplet": "positive_distance, negative_distance, *, margin",
    "losses.debiased_info_nce": "positive, negatives, *, temperature, positive_prior, where",
    "losses.hard_info_nce": "positive, negatives, *, temperature, positive_prior, concentration, where",
    "losses.decoupled_info_nce": "positive, negatives, *, temperature, where",
    "losses.sigmoid": "positive, negatives, *, temperature, bias, where",
    "losses.self_adversarial": "positive, negatives, *, sharpness, where",
    "losses.alignment": "x, y, *, power",
    "losses.uniformity": "x, *, temperature",
    "losses.in_batch_info_nce": "x, y, *, temperature, symmetric, block_size, axis_name",
    "samplers.power": "counts, *, exponent",
    "samplers.gibbs": "distance, *, sharpness",
    "samplers.maxent": "features, multipliers",
    "samplers.from_scores": "scores, *, temperature",
    "samplers.mix_uniform": "log_weights, *, rate",
    "samplers.exclude": "log_weights, mask",
    "samplers.log_prob": "log_weights, ids",
    "samplers.alias_table": "log_weights",
    "samplers.draw_alias": "key, table, shape",
    "samplers.draw_inverse": "key, log_weights, shape",
    "samplers.draw_without_replacement": "key, log_weights, k",
    "samplers.hardest": "scores, *, k, where",
    "samplers.semi_hard": "positive_distance, negative_distance, *, margin",
    "entropy.entropy": "scores, temperature",
    "entropy.entropy_slope": "scores, temperature",
    "entropy.effective_negatives": "scores, temperature",
    "entropy.temperature_for_entropy": "scores, target",
    "bias.expected_gradient": "gradients, log_weights",
    "bias.gradient_bias": "gradients, log_weights, target_log_weights",
    "bias.monte_carlo": "key, gradients, log_weights, *, num_samples",
    "games.vector_field": "losses",
    "games.linearize": "field, players",
    "games.simultaneous": "field, *, step_size",
    "games.alternating": "field, *, step_size",
    "games.extragradient": "field, *, step_size",
    "games.optimistic": "field, *, step_size",
    "games.consensus": "field, *, step_size, strength",
    "games.symplectic": "field, *, step_size, strength",
    "games.update_spectrum": "update, players",
    "games.largest_stable_step": "make_update, players, *, low, high",
    "poincare.distance": "x, y, *, curvature",
    "poincare.mobius_add": "x, y, *, curvature",
    "poincare.exp_map": "x, v, *, curvature",
    "poincare.log_map": "x, y, *, curvature",
    "poincare.project": "x, *, curvature",
    "poincare.conformal_factor": "x, *, curvature",
    "poincare.riemannian_gradient": "x, gradient, *, curvature",
    "poincare.riemannian_sgd": "learning_rate, *, curvature",
    "poincare.riemannian_adam": "learning_rate, *, curvature",
    "sequences.crf_log_normalizer": "unary, pairwise",
    "sequences.crf_log_score": "unary, pairwise, labels",
    "words.pmi": "counts",
    "words.sgns_optimum": "counts, *, negatives, exponent",
}


@pytest.mark.parametrize(("name", "signature"), SIGNATURES.items())
def test_public_name_and_signature(name, signature):
    """The names others rely on exist with these arguments; more keyword-only ones may follow."""
    module, _, function = name.rpartition(".")
    function = getattr(importlib.import_module(f"nsx.{module}"), function)
    parameters = inspect.signature(function).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    wanted = signature.replace(" ", "").split(",")
    split = wanted.index("*") if "*" in wanted else len(wanted)
    assert positional == wanted[:split]
    assert keywords[: len(wanted) - split - 1] == wanted[split + 1 :]


@pytest.mark.parametrize(("name", "value"), FUNCTIONS)
def test_key_comes_first(name, value):
    parameters = list(inspect.signature(value).parameters) if inspect.isfunction(value) else []
    if "key" in parameters:
        assert parameters[0] == "key"


def readme_blocks():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


@pytest.mark.parametrize("block", readme_blocks(), ids=lambda b: b.splitlines()[0][:30])
def test_readme_code_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_import_is_light_and_lazy():
    code = "import sys, nsx; sys.exit(any(m in sys.modules for m in ('optax', 'flax', 'scipy', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'lossess'"):
        nsx.lossess  # noqa: B018
    assert {"losses", "samplers", "words"} <= set(dir(nsx))


def test_the_submodules_that_type_checkers_see_are_those_that_load():
    block = (ROOT / "nsx" / "__init__.py").read_text().partition("if TYPE_CHECKING:")[2].partition("\n\n")[0]
    assert re.findall(r"from nsx import (\w+) as \1", block) == [name for name in dir(nsx) if name != "__version__"]


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == nsx.__version__
    assert f"version: {project['version']}" in (ROOT / "CITATION.cff").read_text()


def test_lock_pins_every_requirement_with_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, flags=re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {re.split(r"[\[>=]", r)[0] for r in project["dependencies"] + extras["experiments"] + extras["test"]}
    assert wanted - {"nsx"} <= pinned
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert "://" not in lock, "the lock names no host"
