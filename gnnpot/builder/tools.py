"""Tools for assistants over the Model Context Protocol: build, relax, dynamics, equation of state, list of models.

    gnnpot mcp --folder structures

The server (official Python SDK `mcp`, stdio) writes to one folder only, builds structures of at most `ToolLimits.atoms`
atoms, and stops relaxations and dynamics after `ToolLimits.seconds`. The arguments of `build_recipe` follow the JSON
schema of recipes.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.io import read, write

from gnnpot.builder.api import build
from gnnpot.builder.execution import BuildResult, execute, summary
from gnnpot.builder.explanation import explain
from gnnpot.builder.recipe import Recipe
from gnnpot.errors import BuilderError
from gnnpot.hub.shipped import ALIASES

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

FORMATS = (".extxyz", ".cif", ".vasp")
#: default potential of the tools; the fast one, because assistants wait for the answer
MODEL = ALIASES["fast"]
#: steps between two checks of the time limit
CHUNK = 20


@dataclass(frozen=True)
class ToolLimits:
    """Limits of a call of a tool."""

    atoms: int = 5000
    seconds: float = 120.0
    steps: int = 2000


class Tools:
    """The tools. They read and write files of one folder only."""

    def __init__(self, folder: Path, limits: ToolLimits | None = None, calculator: Any = None) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.limits = limits or ToolLimits()
        self._calculator = calculator

    def build_structure(self, text: str, file: str = "structure.extxyz") -> dict[str, Any]:
        """Build a structure from a sentence in English or Japanese and write it to a file in the folder."""
        return self._built(build(text, folder=self.folder, max_atoms=self.limits.atoms), file)

    def build_recipe(self, recipe: Recipe, file: str = "structure.extxyz") -> dict[str, Any]:
        """Build a structure from a recipe (typed steps) and write it to a file in the folder."""
        return self._built(execute(recipe, folder=self.folder, max_atoms=self.limits.atoms), file)

    def _built(self, result: BuildResult, file: str) -> dict[str, Any]:
        path = self._path(file)
        write(path, result.structure)
        recipe = result.recipe.model_dump(mode="json", exclude_none=True)
        return {"file": path.name, **summary(result), "recipe": recipe, "explanation": explain(result.recipe)}

    def relax(
        self, file: str, output: str = "relaxed.extxyz", model: str = MODEL, fmax: float = 0.05, cell: bool = False
    ) -> dict[str, Any]:
        """Relax the structure in a file (fmax in eV/Å) with a potential from `list_models` and write the result."""
        from gnnpot.engines.relax import RelaxConfig, relax

        config = RelaxConfig(fmax=fmax, cell="full" if cell else "none", steps=CHUNK)
        path, atoms = self._path(output), self._read(file)
        calculator, started, steps = self._open(model), time.monotonic(), 0
        initial = None
        while True:
            result = relax(atoms, calculator, config)
            initial = result.initial_energy if initial is None else initial
            atoms, steps = result.atoms, steps + result.steps
            late = time.monotonic() - started > self.limits.seconds or steps >= self.limits.steps
            if result.converged or late:
                break
        write(path, atoms)
        return {
            "file": path.name,
            "converged": result.converged,
            "steps": steps,
            "energy_eV": result.energy,
            "initial_energy_eV": initial,
            "fmax_eV_per_A": float(result.fmax),
        }

    def run_dynamics(
        self,
        file: str,
        temperature: float = 300.0,
        steps: int = 200,
        output: str = "md.extxyz",
        model: str = MODEL,
    ) -> dict[str, Any]:
        """Run molecular dynamics at a temperature (K, 1 fs steps, NVT) and write the last structure."""
        from gnnpot.engines.md import MDConfig, run_md

        if not 0 < temperature <= 5000 or not 0 < steps <= self.limits.steps:
            raise BuilderError(f"temperature: 0 to 5000 K and at most {self.limits.steps} steps are possible")
        path, atoms = self._path(output), self._read(file)
        calculator, started, done = self._open(model), time.monotonic(), 0
        while done < steps and time.monotonic() - started <= self.limits.seconds:
            size = min(CHUNK, steps - done)
            config = MDConfig(ensemble="bussi", temperature=temperature, steps=size, keep_velocities=done > 0)
            result = run_md(atoms, calculator, config)
            atoms, done = result.atoms, done + size
        write(path, Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
        return {
            "file": path.name,
            "steps": done,
            "temperature_K": result.temperature,
            "potential_energy_eV": result.potential_energy,
        }

    def equation_of_state(self, file: str, model: str = MODEL) -> dict[str, Any]:
        """Equilibrium volume and bulk modulus of the crystal in a file, from uniformly scaled cells."""
        from gnnpot.properties.equation_of_state import EquationOfStateConfig, calc

        found = calc(self._read(file), self._open(model), EquationOfStateConfig(max_shifts=0)).to_json()
        return {name: found[name] for name in ("volume_A3", "bulk_modulus_GPa")}

    def list_models(self) -> list[str]:
        """Names of the available potentials."""
        from gnnpot.hub.registry import published
        from gnnpot.hub.shipped import shipped

        return [*shipped(), *(entry.name for entry in published())]

    def list_files(self) -> list[str]:
        """Names of the structure files in the folder."""
        return sorted(path.name for path in self.folder.iterdir() if path.suffix in FORMATS)

    def _path(self, name: str) -> Path:
        """The path of a file in the folder. Anything but a plain file name is refused."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}", name) or Path(name).suffix not in FORMATS:
            raise BuilderError(f"{name!r}: give a plain file name that ends in {', '.join(FORMATS)}")
        path = self.folder / name
        if path.is_symlink():
            raise BuilderError(f"{name}: is a link; give another name")
        return path

    def _read(self, name: str) -> Atoms:
        path = self._path(name)
        if not path.is_file():
            raise BuilderError(f"{name}: there is no such file; build_structure writes one")
        atoms: Any = read(path, index=-1)
        if len(atoms) > self.limits.atoms:
            raise BuilderError(f"{name}: {len(atoms)} atoms are too many; at most {self.limits.atoms}")
        assert isinstance(atoms, Atoms)
        return atoms

    def _open(self, model: str) -> Any:
        if self._calculator is not None:
            return self._calculator
        from gnnpot.engines.calculator import Calculator

        if model not in self.list_models():
            raise BuilderError(f"{model}: unknown potential; choose a name from list_models")
        return Calculator(model)


def make_server(tools: Tools) -> "MCPServer":
    """Return an MCP server with these tools.

    Raises:
        BuilderError: The package `mcp` is missing.
    """
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError:
        raise BuilderError("gnnpot mcp needs the package mcp (pip install gnnpot[builder])") from None
    import functools

    from gnnpot.errors import GnnpotError

    server = MCPServer(
        "gnnpot", instructions="Builds atomistic structures and relaxes them with interatomic potentials."
    )
    names = (
        "build_structure",
        "build_recipe",
        "relax",
        "run_dynamics",
        "equation_of_state",
        "list_models",
        "list_files",
    )

    def guarded(method: Any) -> Any:
        @functools.wraps(method)
        def tool(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except GnnpotError as problem:
                raise ToolError(str(problem)) from None

        return tool

    for name in names:
        server.tool(name=name)(guarded(getattr(tools, name)))
    return server
