"""The shape of the house: arrows that point one way, no circle, nothing private borrowed, code written out plainly."""

import ast
import doctest
from pathlib import Path

import pytest

from tests import imports
from tests.helpers import ROOT

pytestmark = pytest.mark.slow  # the same in both precisions

KNOWN = imports.modules()
IMPORTS = list(imports.imports(KNOWN))
SOURCES = sorted((ROOT / "nsx").rglob("*.py"))

# each may import what stands in the same row or below it
FLOORS = (
    {"_command", "__main__"},
    {
        *("asymptotics", "audit", "checkpoints", "distances", "games", "graphs", "hierarchies", "hypergraphs"),
        *("poincare", "quadrature", "sequences", "spikes", "words"),
    },
    {"losses", "samplers", "entropy", "bias"},
)
GROUND = len(FLOORS)  # private modules of nsx itself: _checks, _numerics and what else many share
MAY_IMPORT = {
    "nsx": {"nsx"},
    "experiments": {"nsx", "experiments"},
    "benchmarks": {"nsx", "experiments", "benchmarks"},
    "docs": {"nsx", "experiments", "docs"},
    "notebooks": {"nsx"},
}
# the runner has no public face: the site shows what it finds, and the benchmarks draw in its style
RUNNER = {"_claim", "_compiled", "_files", "_report", "_runner", "_style", "_vectors"}
# claims of one folder that use a helper of another: what several share is to lie in experiments/models
CLAIMS = {("experiments.contrast", "_expected"), ("experiments.words", "_tables")}


def top(module: str) -> str:
    """The house, and of nsx the room: what a module is a part of."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "nsx" else parts[0]


def floor(room: str) -> int:
    """From above; nsx itself, which imports its rooms only when they are asked for, is the roof."""
    name = room.removeprefix("nsx.")
    if name.startswith("_") and name not in FLOORS[0]:
        return GROUND
    return next((i for i, rooms in enumerate(FLOORS) if name in rooms), -1)


def test_every_room_of_nsx_has_its_floor():
    rooms = {top(module) for module in KNOWN if module.startswith("nsx.")}
    assert not [room for room in rooms if floor(room) < 0], "say in FLOORS where it stands"
    assert [floor(f"nsx.{room}") for room in ("_command", "words", "losses", "_checks")] == [0, 1, 2, GROUND]


def test_arrows_point_one_way():
    upward = [i for i in IMPORTS if i.of.split(".")[0] not in MAY_IMPORT[i.by.split(".")[0]]]
    assert not upward
    inside = [i for i in IMPORTS if i.by.startswith("nsx.") and i.of.startswith("nsx")]
    assert not [i for i in inside if floor(top(i.of)) < floor(top(i.by))], "an arrow up"
    assert not [i for i in inside if top(i.of) == "nsx._command" != top(i.by)], "nothing imports the command line"


def looks_up(found: imports.Import) -> bool:
    """True for what a claim's part asks of its claim when it is called, or the runner of a claim in either form."""
    its_own = found.of.startswith("experiments.") and found.by.startswith(f"{found.of}.")
    return found.late and (
        its_own or (found.by, found.of) == ("experiments._claim", "experiments._runner.side_by_side")
    )


def test_there_is_no_circle():
    assert imports.circles({(i.by, i.of) for i in IMPORTS if not looks_up(i)}) == []
    rooms = {(top(i.by), top(i.of)) for i in IMPORTS if top(i.by) != top(i.of)}
    assert imports.circles(rooms) == [], "between packages"


def borrowed(found: imports.Import) -> bool:
    """True for an import of something private by code that does not lie beside it or below."""
    parts = found.of.split(".")
    private = next((i for i, part in enumerate(parts) if part.startswith("_") and part != "__main__"), None)
    owner = ".".join(parts[:private]) if private is not None else imports.package_of(found.of, KNOWN)
    beside = f"{found.by}.".startswith(f"{owner}.")
    if found.name.startswith("_") and not found.name.startswith("__"):
        return imports.package_of(found.by, KNOWN) != imports.package_of(found.of, KNOWN)
    if parts[0] == "experiments" and (parts[-1] in RUNNER or parts[1:2] == ["_runner"] or (owner, parts[-1]) in CLAIMS):
        return False
    return private is not None and not beside


def test_nothing_private_is_imported_across_packages():
    found = [f"{i.by}:{i.line} {i.of} {i.name}" for i in IMPORTS if borrowed(i)]
    assert not found, "\n".join(found)


def parallel(node: ast.AST) -> bool:
    """`a, b = x, y` that is no swap."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)):
        return False
    for target in node.targets:
        if isinstance(target, ast.Tuple):
            left = sorted(ast.unparse(part) for part in target.elts)
            if left != sorted(ast.unparse(part) for part in node.value.elts):
                return True
    return False


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: f.relative_to(ROOT / "nsx").as_posix())
def test_one_idea_per_line(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    lines = [node.lineno for node in ast.walk(tree) if parallel(node)]
    assert not lines, f"assignments of several unrelated values, at lines {lines}: one a line"


def docstrings(file: Path):
    """(line, docstring) of all that has one."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            yield getattr(node, "lineno", 1), ast.get_docstring(node)


def teaches_nothing(text: str) -> bool:
    """True where examples print, and nothing but True."""
    wants = [example.want.strip() for example in doctest.DocTestParser().get_examples(text)]
    printed = [want for want in wants if want]
    return bool(printed) and set(printed) == {"True"}


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: f.relative_to(ROOT / "nsx").as_posix())
def test_examples_print_more_than_true(file):
    lines = [line for line, text in docstrings(file) if teaches_nothing(text)]
    assert not lines, f"examples that print only True, at lines {lines}: print a number that teaches"


# the tests above see what they should


@pytest.fixture
def house(tmp_path):
    """Builds a small house; gives its imports."""

    def build(**files):
        for name, text in files.items():
            path = tmp_path.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for folder in {p.parent for p in tmp_path.rglob("*.py")}:
            (folder / "__init__.py").touch()
        return list(imports.imports(imports.modules(tmp_path)))

    return build


def test_imports_are_all_seen(house):
    text = """
import nsx.b._c
from nsx import b
from nsx.b import _c, name
from . import b
from .b import _c as d
def later():
    from nsx.b._c import other
if TYPE_CHECKING:
    from nsx.b import hidden
"""
    found = [(i.of, i.name) for i in house(nsx__a=text, nsx__b___c="") if i.by == "nsx.a"]
    assert found == [
        ("nsx.b._c", ""),
        ("nsx.b", ""),
        ("nsx.b._c", ""),
        ("nsx.b", "name"),
        ("nsx.b", ""),
        ("nsx.b._c", ""),
        ("nsx.b._c", "other"),
    ]


def test_what_stands_in_a_function_is_late(house):
    found = house(nsx__a="def f():\n    import nsx.b\nimport nsx.b\n", nsx__b="")
    assert [(i.of, i.late) for i in found if i.by == "nsx.a"] == [("nsx.b", True), ("nsx.b", False)]


def test_circles_are_found():
    assert imports.circles({("a", "b"), ("b", "c")}) == []
    assert imports.circles({("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")}) == [{"a", "b", "c"}]
    assert imports.circles({("a", "a")}) == [{"a"}]


@pytest.mark.parametrize(
    ("by", "of", "name", "wrong"),
    [
        ("nsx.losses._binary", "nsx._checks", "as_float", False),
        ("nsx.losses._binary", "nsx._checks", "_own", True),
        ("nsx.losses._binary", "nsx.losses._scores", "checked", False),
        ("nsx.losses._binary", "nsx.samplers._laws", "power", True),
        ("nsx.losses._binary", "nsx.samplers", "power", False),
        ("experiments.words.push_pull", "nsx._checks", "as_float", True),
        ("experiments.words.push_pull", "nsx.losses", "sgns", False),
        ("experiments.words.push_pull", "experiments._claim", "Check", False),
        ("experiments.words.push_pull", "experiments.data._cache", "read", True),
        ("docs._gallery", "experiments._report", "plain", False),
        ("docs._gallery", "experiments._run", "save", True),
    ],
)
def test_what_is_borrowed(by, of, name, wrong):
    assert borrowed(imports.Import(by, of, name, 1)) is wrong


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("a, b = 1, 2", True),
        ("a, b = b, a", False),
        ("a[0], a[1] = a[1], a[0]", False),
        ("a, b = f()", False),
        ("a = 1, 2", False),
        ("a, b = c, a", True),
        ("x = a, b = 1, 2", True),
    ],
)
def test_what_is_parallel(code, wrong):
    assert parallel(ast.parse(code).body[0]) is wrong


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (">>> 1 == 1\nTrue\n", True),
        (">>> x = 1\n>>> x == 1\nTrue\n>>> x == 1\nTrue\n", True),
        (">>> 1 == 1\nTrue\n>>> 2\n2\n", False),
        ("no example", False),
        (">>> x = 1\n", False),
    ],
)
def test_what_teaches_nothing(text, wrong):
    assert teaches_nothing(text) is wrong
