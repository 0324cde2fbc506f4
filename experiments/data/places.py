"""Places on the globe: airports with coordinates, elevation and country."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from experiments.data._cache import read

_FILE = "airportsdata/airports.csv"
_METRES_PER_FOOT = 0.3048


class Airports(NamedTuple):
    """Airports, in the file's order.

    `codes` the IATA code where there is one, else the ICAO or local one; `names`; `countries` two-letter codes,
    sorted; by airport, (n,): `country` int16 index into `countries`, `latitude` and `longitude` in degrees (north
    and east positive) and `elevation` in metres, float64.
    """

    codes: tuple[str, ...]
    names: tuple[str, ...]
    countries: tuple[str, ...]
    country: np.ndarray
    latitude: np.ndarray
    longitude: np.ndarray
    elevation: np.ndarray


def airports(*, scheduled: bool = True) -> Airports:
    """The airports of the world.

    Args:
        scheduled: only those with an IATA code (7,884): the file has every airstrip of some countries (28,298).

    Returns:
        The airports.
    """
    text = read("airportsdata", _FILE).decode("utf-8")
    return parse_airports(text.splitlines(), scheduled=scheduled)


def parse_airports(lines: Iterable[str], *, scheduled: bool) -> Airports:
    """Comma-separated lines under a header that names icao, iata, name, country, elevation (feet), lat and lon."""
    rows = [row for row in csv.DictReader(lines) if row["iata"] or not scheduled]
    countries = sorted({row["country"] for row in rows})
    column = lambda name: np.array([float(row[name]) for row in rows])
    return Airports(
        tuple(row["iata"] or row["icao"] for row in rows),
        tuple(row["name"] for row in rows),
        tuple(countries),
        np.array([countries.index(row["country"]) for row in rows], np.int16),
        *(column("lat"), column("lon"), _METRES_PER_FOOT * column("elevation")),
    )
