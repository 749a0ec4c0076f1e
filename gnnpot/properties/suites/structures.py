"""Conversion of crystals in the files of published benchmarks."""

from collections.abc import Mapping
from typing import Any

from ase import Atoms

from gnnpot.errors import DataError


def atoms_of(structure: Mapping[str, Any]) -> Atoms:
    """Convert a crystal in pymatgen's dictionary format. Raises `DataError` for sites with several elements."""
    sites = structure["sites"]
    if any(len(site["species"]) != 1 or site["species"][0]["occu"] != 1 for site in sites):
        raise DataError("a site of a benchmark's crystal has several elements; give the published file")
    return Atoms(
        [site["species"][0]["element"] for site in sites],
        cell=structure["lattice"]["matrix"],
        scaled_positions=[site["abc"] for site in sites],
        pbc=True,
    )
