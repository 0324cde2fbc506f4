"""The report: what every claim predicts, what was measured, and whether the committed files agree."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from experiments import _claim
from experiments._claim import GROUPS, ROOT, Check, Claim, Verdict

FIGURES = ROOT / "figures"
REPORT = ROOT / "paper_repro.md"
README = ROOT / "README.md"
MARKERS = ("<!-- claims:start -->", "<!-- claims:end -->")
TITLES = {
    "words": "Word embeddings (chapter 002)",
    "contrast": "Contrast, temperature, proposals (chapter 001)",
    "domains": "Domains (chapters 000, 003)",
    "frontiers": "Frontiers (chapters 000, 003)",
    "published": "Published tables",
}
FIELDS = {
    "claim": str,
    "source": str,
    "verdict": str,
    "checks": list,
    "controls": dict,
    "size": dict,
    "seed": int,
    "dtype": str,
    "device": str,
    "versions": dict,
    "data": str,
}
SIGN = {"equal": "=", "at most": "≤", "at least": "≥"}


def read_results(folder: Path = FIGURES) -> dict[str, dict[str, Any]]:
    """The results of a folder by claim; a file that is not a whole result is named, not skipped.

    Raises:
        SystemExit: with what is wrong with the file, and what to run.
    """
    results = {}
    for slug in _claim.claims():
        path = folder / f"{slug}.json"
        if path.exists():
            try:
                results[slug] = json.loads(path.read_text(encoding="utf-8"))
                fault = fault_of(results[slug])
            except (OSError, ValueError, RecursionError) as error:
                fault = f"it is not valid JSON ({error})"
            if fault:
                raise SystemExit(f"{path} is no result: {fault}; run: python -m experiments run {slug}")
    return results


def fault_of(result: Any) -> str:
    """What makes a value no result of a claim; "" where it is one."""
    if not isinstance(result, dict):
        return f"it holds {type(result).__name__}, not an object"
    for field, wanted in FIELDS.items():
        if not isinstance(result.get(field), wanted):
            return f"{field!r} is missing or has another type"
    if result["verdict"] not in get_args(Verdict):
        return f"the verdict {result['verdict']!r} is none of {', '.join(get_args(Verdict))}"
    if result["dtype"] not in ("float32", "float64"):
        return f"the dtype {result['dtype']!r} is neither float32 nor float64"
    if "name" not in result["size"]:
        return "'size' has no name"
    if not result["checks"]:
        return "'checks' is empty"
    if not all(
        isinstance(names, list) and all(isinstance(n, str) for n in names) for names in result["controls"].values()
    ):
        return "'controls' are not lists of names"
    return next(filter(None, map(fault_of_check, result["checks"])), "")


def fault_of_check(check: Any) -> str:
    """What makes a value no check; "" where it is one."""
    newer = set(Check._field_defaults)  # results of older claims lack what has a default
    if not isinstance(check, dict) or not {*Check._fields, "passed"} - newer <= set(check) <= {
        *Check._fields,
        "passed",
    }:
        return f"a check has not the fields {', '.join(Check._fields)}, passed"
    kinds = get_type_hints(Check)
    for field in ("relation", "role"):
        if check[field] not in get_args(kinds[field]):
            return f"the {field} {check[field]!r} of a check is none of {', '.join(get_args(kinds[field]))}"
    numbers = [check[field] for field in ("predicted", "measured", "margin")]
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
        return f"a check has something else than numbers: {numbers}"
    if not isinstance(check["name"], str) or not isinstance(check["passed"], bool):
        return "a check has no name, or does not tell whether it passed"
    return ""


def plain(text: str) -> str:
    """Text as Markdown shows it word for word, with nothing in it that HTML would take for a tag or a character."""
    return re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")


def cell(text: str) -> str:
    """Such text in a table, whose cells a bar would end."""
    return plain(text).replace("|", r"\|")


def described() -> dict[str, Claim]:
    """Every claim, read without importing it."""
    return {slug: _claim.describe(file) for slug, file in _claim.claims().items()}


def number(x: float) -> str:
    """A number as a reader wants it: four significant digits, exponents where they help."""
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    return f"{x:.4g}" if 1e-3 <= abs(x) < 1e5 else f"{x:.2e}"


def headline(result: dict[str, Any]) -> dict[str, Any]:
    """The check that a table shows: the first that breaks, or else the first."""
    return next((c for c in result["checks"] if not c["passed"]), result["checks"][0])


def table(slugs: list[str], claims: dict[str, Claim], results: dict[str, Any], *, full: bool) -> Iterator[str]:
    """Rows of claims with their verdicts; `full` adds source, prediction and measurement."""
    if full:
        yield "| claim | source | check shown | predicted | measured | verdict | figure |"
        yield "|---|---|---|---|---|---|---|"
    else:
        yield "| claim | statement | verdict |"
        yield "|---|---|---|"
    for slug in slugs:
        claim, result = claims[slug], results.get(slug)
        verdict = f"**{result['verdict']}**" if result else "not run"
        if not full:
            yield f"| [`{slug}`](paper_repro.md#{slug}) | {cell(claim.statement)} | {verdict} |"
        elif result:
            c = headline(result)
            told = f"{cell(claim.statement)} | {cell(claim.source)} | {cell(c['name'])}"
            shown = f"{SIGN[c['relation']]} {number(c['predicted'])} | {number(c['measured'])}"
            yield (f"| [`{slug}`](#{slug}) {told} | {shown} | {verdict} | [figure](figures/{slug}.png) |")
        else:
            yield f"| `{slug}` {cell(claim.statement)} | {cell(claim.source)} |  |  |  | {verdict} |  |"


def section(slug: str, claim: Claim, result: dict[str, Any]) -> Iterator[str]:
    """Everything about one claim."""
    file = _claim.claims()[slug].relative_to(ROOT).as_posix()
    keys = ", ".join(f"`{k}`" for k in claim.references)
    yield f"### {slug}\n"
    yield f"{plain(claim.statement)}\n"
    yield f"Source: {plain(claim.source)} ({keys}). Code: [`{file}`]({file}). Verdict: **{result['verdict']}**."
    if claim.why:
        yield f"\n{plain(claim.why)}"
    yield f"\n![{slug}](figures/{slug}.png)\n"
    yield "| check | whose | predicted | measured | margin | holds |"
    yield "|---|---|---|---|---|---|"
    for c in result["checks"]:
        yield (
            f"| {cell(c['name'])} | {c['role']} | {SIGN[c['relation']]} {number(c['predicted'])} "
            f"| {number(c['measured'])} | {number(c['margin'])} | {'yes' if c['passed'] else '**no**'} |"
        )
    yield "\nControls, worlds in which the claim is false, and the checks each of them fails:\n"
    for world, failed in result["controls"].items():
        yield f"- {plain(world)}: {plain('; '.join(failed)) or 'none (a check that fails above holds here)'}"
    size = ", ".join(f"{k} {v}" for k, v in result["size"].items() if k != "name")
    run = f"Size {result['size']['name']} ({size}), seed {result['seed']}, {result['dtype']}, {result['device']}."
    yield f"\n{plain(run)}\n"


def compose() -> str:
    """The whole of paper_repro.md."""
    claims, results = described(), read_results()
    lines = [
        "# Every claim, predicted and measured\n",
        "Generated by `python -m experiments report`; do not edit. *Theory* checks must hold. *Chapter* checks take "
        "the chapter's sentence at its word: where some fail the verdict is conditional, where all fail refuted.\n",
    ]
    by_group = {g: [s for s in _claim.claims() if _claim.group_of(s) == g] for g in GROUPS}
    for group, slugs in by_group.items():
        if slugs:
            lines += [f"## {TITLES[group]}\n", *table(slugs, claims, results, full=True), ""]
    lines.append("## The claims one by one\n")
    for slugs in by_group.values():
        for slug in slugs:
            if slug in results:
                lines += section(slug, claims[slug], results[slug])
    return "\n".join(lines).rstrip() + "\n"


def readme() -> str:
    """The README with its table of claims brought up to date."""
    text = README.read_text(encoding="utf-8")
    start, end = (text.index(m) for m in MARKERS)
    claims, results = described(), read_results()
    rows = "\n".join(table(list(claims), claims, results, full=False))
    return f"{text[: start + len(MARKERS[0])]}\n{rows}\n{text[end:]}"


def disagreements(folder: Path = FIGURES) -> Iterator[str]:
    """Where data, results, figures, report and README do not tell the same story."""
    import jax

    from experiments import _run

    for slug, result in read_results(folder).items():
        data = folder / f"{slug}.npz"
        if not data.exists():
            yield f"{slug}: {data.name} is missing"
            continue
        content = data.read_bytes()
        if hashlib.sha256(content).hexdigest() != result["data"]:
            yield f"{slug}: {data.name} is not the data of {slug}.json"
            continue
        try:
            with jax.enable_x64(result["dtype"] == "float64"):
                module = _claim.load(slug)
                checks = module.verdict(_run.unpack(module, content))
        except Exception as error:  # data of an older claim, or a claim under work: say so, and go on
            yield f"{slug}: the data cannot be judged, {type(error).__name__}: {error}"
            continue
        if not same_checks(checks, result["checks"]) or _claim.judge(checks) != result["verdict"]:
            yield f"{slug}: judged again, the data give other checks than {slug}.json"
        if result["verdict"] != module.CLAIM.expected:
            yield f"{slug}: verdict {result['verdict']}, expected {module.CLAIM.expected}"
        for suffix in ("png", "svg"):
            figure = folder / f"{slug}.{suffix}"
            if not figure.exists() or result["data"].encode() not in figure.read_bytes():
                yield f"{slug}: {figure.name} was not drawn from this data"
    yield from (f"{slug}: never run" for slug in _claim.claims() if not (folder / f"{slug}.json").exists())
    strays = {f.stem for f in folder.glob("*.*") if re.fullmatch(r"\.(png|svg|json|npz)", f.suffix)}
    yield from (f"{stray}: files of no claim" for stray in sorted(strays - set(_claim.claims())))
    if folder == FIGURES and (not REPORT.exists() or REPORT.read_text(encoding="utf-8") != compose()):
        yield "paper_repro.md is not what the results say; run: python -m experiments report"
    if folder == FIGURES and README.read_text(encoding="utf-8") != readme():
        yield "README.md's table is not what the results say; run: python -m experiments report"


def same_checks(checks: tuple[Check, ...], recorded: list[dict[str, Any]]) -> bool:
    """True where both hold the same checks, numbers equal to nine digits."""

    def close(a: float, b: float) -> bool:
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-300) or (math.isnan(a) and math.isnan(b))

    return len(checks) == len(recorded) and all(
        c.name == r["name"]
        and c.passed == r["passed"]
        and all(close(getattr(c, f), r[f]) for f in ("predicted", "measured", "margin"))
        for c, r in zip(checks, recorded, strict=True)
    )
