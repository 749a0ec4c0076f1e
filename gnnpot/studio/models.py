"""Data of the page other than structures: potentials, the gallery, the schema of recipes, limits."""

from collections import Counter
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gnnpot.builder.recipe import Recipe
from gnnpot.hub.catalogue import list_models
from gnnpot.hub.shipped import resolve_alias
from gnnpot.studio.config import StudioConfig
from gnnpot.studio.options import NEED_CELL, OPTIONS


def own_potentials(config: StudioConfig) -> dict[str, Path]:
    """Return the user's own potentials by the name of the folder, or by its path if another potential has this name."""
    folders = {path.resolve(): path for path in config.models}
    counts = Counter([*(model.name for model in list_models()), *(folder.name for folder in folders)])
    return {folder.name if counts[folder.name] == 1 else str(path): folder for folder, path in folders.items()}


def potential_arguments(config: StudioConfig) -> dict[str, str]:
    """Return the argument of `open_potential` for the name of each potential; the user's own come first."""
    own = {name: str(folder) for name, folder in own_potentials(config).items()}
    return {**own, **{model.name: model.name for model in list_models()}}


def page_data(config: StudioConfig) -> dict[str, Any]:
    """Return the data of the page that do not change while the server runs."""
    text = resources.files("gnnpot.studio").joinpath("gallery.yaml").read_text(encoding="utf-8")
    return {
        "models": _models(config),
        "default": next(iter(own_potentials(config)), resolve_alias("fast")),
        "gallery": yaml.safe_load(text),
        "elements": _elements(),
        "recipe": Recipe.model_json_schema(),
        "jobs": {kind: options.model_json_schema()["properties"] for kind, options in OPTIONS.items()},
        "need_cell": sorted(NEED_CELL),
        "limits": {"atoms": config.max_atoms, "upload": config.max_upload, "hours": config.max_hours},
        "kept": config.keep is not None,
    }


def _elements() -> list[list[Any]]:
    """Symbol, covalent radius (Å) and colour (as in Jmol) of each element, by atomic number."""
    from ase.data import chemical_symbols, covalent_radii
    from ase.data.colors import jmol_colors

    colours = ["#{:02x}{:02x}{:02x}".format(*(round(255 * x) for x in rgb)) for rgb in jmol_colors]
    return [[chemical_symbols[z], float(covalent_radii[z]), colours[z]] for z in range(len(colours))]


def _models(config: StudioConfig) -> list[dict[str, Any]]:
    own = [{"name": name, "cached": True, "own": True} for name in own_potentials(config)]
    listed = []
    for model in list_models():
        row = asdict(model)
        row.pop("path")
        row["measured"]["milliseconds"] = {str(k): v for k, v in row["measured"]["milliseconds"].items()}
        listed.append(row)
    return [*own, *listed]
