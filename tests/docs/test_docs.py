"""The site builds, holds every public symbol, asks no outside host for anything, and works in a real browser."""

import functools
import http.server
import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
from bs4 import BeautifulSoup
from playwright import sync_api

from docs import ROOT, _formulas, _gallery, _griffe, _pages, _reference, _sources
from experiments import _claim, _report

pytestmark = [pytest.mark.docs, pytest.mark.slow, pytest.mark.xdist_group("site")]  # one worker builds it, once
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
ONE_OF_EACH_KIND = (  # `make docs-check` opens every page
    "index.html",
    "gallery.html",
    "published.html",
    "traps.html",
    "reference/losses.html",
    "claims/audit_predicts.html",
    "notebooks/auditing_a_sampler.html",
)
RAW = (r"\frac", r"\sum", r"\log", "$$")  # what an unrendered formula leaves behind


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; NSX_SITE names one that is there already."""
    if ready := os.environ.get("NSX_SITE"):
        return Path(ready).resolve()
    folder = tmp_path_factory.mktemp("site")
    if "PYTEST_XDIST_WORKER" in os.environ:
        built = tmp_path_factory.getbasetemp().parent / "the_site_is_built"  # all workers see it
        assert not built.exists(), "two workers build the site: run with --dist loadgroup, which must keep groups"
        built.touch()
    command = [sys.executable, "-m", "docs", "site", "--site-dir", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="module")
def texts(site):
    """Every page by its path in the site."""
    pages = {f.relative_to(site).as_posix(): f for f in site.rglob("*.html") if f.name != "404.html"}
    return {name: f.read_text(encoding="utf-8") for name, f in sorted(pages.items())}


@pytest.fixture(scope="module")
def soups(texts):
    """Every page, parsed, without the colours of its code, which are half of its tags."""
    block = re.compile(r"<(pre|code)\b.*?</\1>", flags=re.S)
    plain = lambda text: block.sub(lambda m: re.sub(r"</?span\b[^>]*>", "", m[0]), text)
    return {name: BeautifulSoup(plain(text), "html.parser") for name, text in texts.items()}


def links(soup):
    """(tag, address) of everything a page points to or loads."""
    for tag, attribute in (("a", "href"), ("link", "href"), ("img", "src"), ("script", "src"), ("iframe", "src")):
        yield from ((tag, element[attribute]) for element in soup.find_all(tag) if element.get(attribute))


def test_every_page_is_there(soups):
    claims = {f"claims/{slug}.html" for slug in _report.read_results()}
    modules = {f"reference/{name.removeprefix('nsx.')}.html" for name in _reference.modules()}
    notebooks = {f"notebooks/{f.stem}.html" for f in (ROOT / "notebooks").glob("*.py")}
    own = {name.replace(".md", ".html") for name in _pages.PAGES.values()}
    assert claims | modules | notebooks | own | {"gallery.html", "published.html", "sources.html"} <= set(soups)


def test_every_public_symbol_is_in_the_reference(site):
    assert not _reference.missing(site)


def test_a_symbol_that_is_left_out_is_named(site, tmp_path):
    (tmp_path / "reference").mkdir()
    for page in (site / "reference").glob("*.html"):
        text = page.read_text(encoding="utf-8").replace('id="nsx.losses.sgns"', "")
        (tmp_path / "reference" / page.name).write_text(text, encoding="utf-8")
    assert _reference.missing(tmp_path) == ["nsx.losses.sgns"]


def test_examples_are_code_and_sources_are_links(soups):
    entry = soups["reference/losses.html"].find(id="nsx.losses.info_nce").find_parent(class_="doc-object")
    assert ">>>" in entry.find("pre").parent.parent.get_text() + "".join(p.get_text() for p in entry.find_all("pre"))
    assert entry.find("a", href="../sources.html#oord2018representation")
    assert not entry.find("blockquote"), "a doctest taken for a quotation"


def test_links_lead_somewhere(site, soups):
    """Every link inside the site has its page, its file and its anchor."""
    anchors = {name: {e["id"] for e in soup.find_all(id=True)} for name, soup in soups.items()}
    broken = []
    for name, soup in soups.items():
        for tag, address in links(soup):
            path, anchor = urldefrag(urljoin(f"http://site/{name}", address))
            if urlparse(path).netloc != "site":
                continue
            found = unquote(urlparse(path).path).lstrip("/") or "index.html"
            known = (site / found).is_file()
            if not known or (anchor and found in anchors and unquote(anchor) not in anchors[found] | {"__top"}):
                broken.append(f"{name}: {tag} {address}")
    assert not broken


def test_nothing_is_loaded_from_outside(site, soups):
    for name, soup in soups.items():
        loaded = [address for tag, address in links(soup) if tag != "a"]
        outside = [address for address in loaded if urlparse(address).netloc]
        assert not outside, f"{name} loads {outside}"
    styles = {f.name: f.read_text(encoding="utf-8") for f in site.rglob("*.css")}
    elsewhere = re.compile(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//")  # fonts among them
    assert "site.css" in styles
    assert not [name for name, text in styles.items() if elsewhere.search(text)]
    assert "://" not in (ROOT / "docs" / "assets" / "gallery.js").read_text(encoding="utf-8")


def test_pictures_have_words(soups):
    for name, soup in soups.items():
        for picture in soup.find_all("img"):
            assert picture.get("alt"), f"{name}: {picture['src']} has no description"


def test_formulas_are_mathml(soups, texts):
    wanted = sum(text.count("$$") // 2 for text in map(docstring_text, _reference.modules()))
    shown = [math for name, soup in soups.items() if name.startswith("reference/") for math in soup.find_all("math")]
    assert len([math for math in shown if math.get("display") == "block"]) >= wanted > 100
    for math in shown:
        assert math.get_text().strip()
        assert "\\" not in math.get_text()
    for name, text in texts.items():
        words = re.sub(r"<(pre|code|script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.S)
        assert not [mark for mark in RAW if mark in words], f"{name} shows a formula as it is written"


def docstring_text(module):
    """All docstrings of a module's symbols."""
    offered = _reference.symbols(importlib.import_module(module)).values()
    return "\n".join(value.__doc__ or "" for value in offered)


def test_a_formula_that_cannot_be_shown_is_an_error():
    with pytest.raises(ValueError, match="cannot be shown"):
        _formulas.to_mathml(r"\nosuchcommand x", block=True)
    with pytest.raises(ValueError, match="left as it is written"):
        _formulas.render("<p>text $$x$$ text</p>")
    with pytest.raises(ValueError, match="left as it is written"):
        _formulas.render("<td>$2/(1 - c</td>")
    assert _formulas.render("<code>$HOME</code>") == "<code>$HOME</code>"
    assert "<math" in _formulas.render(r'<span class="arithmatex">\(x &lt; y\)</span>')
    assert ">softplus<" in _formulas.to_mathml(r"\mathrm{softplus}(x)", block=False)


def test_gallery_tells_what_the_results_tell(site, soups):
    results = _report.read_results()
    cards = soups["gallery.html"].find_all(class_="claim")
    assert [card.h2["id"] for card in cards] == list(results)
    assert set(results) == set(_claim.claims()), "a claim without a result"
    for card, (slug, result) in zip(cards, results.items(), strict=True):
        assert card["data-verdict"] == card.find(class_="verdict").get_text() == result["verdict"]
        assert len(card.find("tbody").find_all("tr")) == len(result["checks"])
        figure = f"figures/{slug}.png"
        assert card.find("img", src=figure)
        assert soups[f"claims/{slug}.html"].find("img", src=f"../{figure}")
        assert (site / figure).read_bytes() == (ROOT / figure).read_bytes()
        assert _claim.describe(_claim.claims()[slug]).statement in card.get_text()
        file = _claim.claims()[slug]
        assert card.find("a", href=f"claims/{slug}.html#the-file").get_text() == file.relative_to(ROOT).as_posix()
        assert "def compute(" in soups[f"claims/{slug}.html"].find_all("pre")[-1].get_text()


def test_a_source_without_a_chapter_is_an_error():
    claim = _claim.Claim("A statement.", "a chapter that is not", ())
    with pytest.raises(ValueError, match="names none of"):
        _gallery.chapters(claim)
    assert _gallery.chapters(claim._replace(source="000 and 003, graphs")) == ["000", "003"]


def test_what_a_result_says_is_text_and_no_tag():
    bad = "<script>alert(1)</script> & |"
    claim = _claim.Claim(bad, f"published: {bad}", (), why=bad)
    check = _claim.Check(bad, 1.0, 1.0, 0.1, role=bad)._asdict() | {"passed": True}
    result = {"verdict": bad, "checks": [check], "controls": {bad: [bad]}, "size": {"name": bad, bad: bad}}
    result |= {"seed": 0, "dtype": bad, "device": bad}
    page = "".join(_gallery.card("push_pull", claim, result)) + _gallery.claim_page("push_pull", claim, result)
    assert page.count("&lt;script&gt;") > 12
    assert "<script" not in page


def test_verdict_and_precision_are_shown(soups):
    for slug, result in _report.read_results().items():
        words = soups[f"claims/{slug}.html"].get_text()
        assert result["verdict"] in words
        assert f"seed {result['seed']}, {result['dtype']}" in words


def test_sources_and_docstrings_are_rewritten():
    entries = _sources.entries()
    assert all(fields.get("title") and fields.get("year") for fields in entries.values())
    assert not [key for key, fields in entries.items() if "\\" in _sources.citation(fields)]
    text = _griffe.rewritten(
        "One line.\n\nExample:\n    >>> 1\n    1\n\nReferences:\n    [mikolov2013efficient, eq. 4]\n"
    )
    assert "Examples:\n" in text
    assert "Points&#58; `x: y`" in _griffe.rewritten("One line.\n\nReturns:\n    Points: `x: y`.\n")
    assert "[mikolov2013efficient, eq. 4](../sources.md#mikolov2013efficient)" in text


# in a browser


@pytest.fixture(scope="module")
def address(site):
    """The site, served to this machine alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium: the machine's, or playwright's own."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_api.sync_playwright() as play:
        try:
            started = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except sync_api.Error as error:
            if found or "Executable doesn't exist" not in error.message:
                raise
            pytest.skip(
                "no Chromium: install one with `playwright install --with-deps --only-shell chromium`, "
                "or the system's package chromium-headless-shell or chromium"
            )
        yield started
        started.close()


@pytest.fixture(params=WIDTHS)
def tab(request, browser, address):
    """A tab of a width, which collects what goes wrong: requests elsewhere, failures, messages of error."""
    width, height = WIDTHS[request.param]
    tab = browser.new_page(viewport={"width": width, "height": height})
    tab.wrong = []
    tab.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else tab.wrong.append(r.url))
    tab.on("response", lambda r: r.status >= 400 and tab.wrong.append(f"{r.status} {r.url}"))
    tab.on("console", lambda m: m.type == "error" and tab.wrong.append(m.text))
    tab.on("pageerror", lambda e: tab.wrong.append(str(e)))
    yield tab
    tab.close()


LOOK = """async () => {
  const pictures = [...document.images];
  for (const p of pictures) p.loading = "eager";
  await Promise.all(pictures.map((p) => p.decode().catch(() => null)));
  const flat = (e) => { const b = e.getBoundingClientRect(); return b.width < 2 || b.height < 2; };
  const seen = (e) => e.checkVisibility();
  return {
    missing: pictures.filter((p) => !p.naturalWidth).map((p) => p.src),
    flat: [...document.querySelectorAll("math")].filter((m) => seen(m) && flat(m)).length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    title: document.querySelector("h1")?.innerText ?? "",
    fonts: [...document.fonts].filter((f) => f.status === "error").length,
  };
}"""


def test_pages_at_every_width(tab, address, soups):
    """Nothing missing, no formula without size, nothing wider than the window, nothing asked of another host."""
    for name in soups if os.environ.get("NSX_PAGES") == "all" else ONE_OF_EACH_KIND:
        tab.goto(f"{address}/{name}", wait_until="load")
        found = tab.evaluate(LOOK)
        assert found["title"], name
        assert not found["missing"], name
        assert not found["flat"], f"{name}: formulas of no size"
        assert found["wide"] <= 1, f"{name}: {found['wide']} pixels wider than the window"
        assert not found["fonts"], f"{name}: a font did not load"
        assert not tab.wrong, f"{name}: {tab.wrong}"


def visible(tab):
    """Slugs of the cards on show."""
    return tab.evaluate(
        "() => [...document.querySelectorAll('.claim h2')].filter((e) => e.checkVisibility()).map((e) => e.id)"
    )


@functools.cache
def known():
    """Results and descriptions of the claims."""
    return _report.read_results(), _report.described()


def expected(soups, chapter=None, verdict=None):
    """Slugs that a filter should leave, from the results."""
    results, described = known()
    cards = [card.h2["id"] for card in soups["gallery.html"].find_all(class_="claim")]
    return [
        slug
        for slug in cards
        if (chapter is None or chapter in _gallery.chapters(described[slug]))
        and (verdict is None or results[slug]["verdict"] == verdict)
    ]


def skip_to_content(tab):
    """The first press of Tab offers to skip the menu; Enter takes it."""
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.matches('.md-skip')")
    tab.keyboard.press("Enter")


def tab_to(tab, selector, limit=12):
    """Press Tab until the element has the focus."""
    for _ in range(limit):
        tab.keyboard.press("Tab")
        if tab.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"no {selector} within {limit} presses of Tab")


def test_gallery_is_filtered_by_keyboard_alone(tab, address, soups):
    tab.goto(f"{address}/gallery.html")
    assert visible(tab) == expected(soups)
    skip_to_content(tab)
    tab_to(tab, 'input[name="chapter"]')
    for chapter in _gallery.CHAPTERS:
        tab.keyboard.press("ArrowRight")
        assert visible(tab) == expected(soups, chapter) != expected(soups)
    tab_to(tab, 'input[name="verdict"]')
    last = list(_gallery.CHAPTERS)[-1]
    for verdict in _gallery.VERDICTS:
        tab.keyboard.press("ArrowDown")
        left = expected(soups, last, verdict)
        assert visible(tab) == left
        assert tab.locator("#count").inner_text() == ("1 claim" if len(left) == 1 else f"{len(left)} claims")
    outline = tab.evaluate("getComputedStyle(document.activeElement.nextElementSibling).outlineStyle")
    assert outline == "solid", "the focus cannot be seen"
    tab.reload()
    assert visible(tab) == expected(soups, last, _gallery.VERDICTS[-1]), "the address remembers the choice"


def test_details_and_claims_open_by_keyboard(tab, address):
    tab.goto(f"{address}/gallery.html")
    skip_to_content(tab)
    tab_to(tab, ".claim summary")
    tab.keyboard.press("Enter")
    assert tab.locator(".claim details[open] tbody tr").first.is_visible()
    tab_to(tab, '.claim a[href$="#the-file"]')
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/claims/*#the-file")
    assert tab.locator("#the-file").is_visible()


@pytest.mark.parametrize("phrase", ["info_nce", "temperature"])
def test_search_works_without_a_host(browser, address, phrase):
    tab = browser.new_page()
    tab.goto(f"{address}/index.html")
    tab.keyboard.press("/")
    tab.keyboard.type(phrase)
    tab.locator(".md-search-result__item a").first.wait_for(timeout=30_000)
    tab.close()
