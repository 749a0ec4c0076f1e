"""Calls from Python with values outside a domain; a sample of the tries in new processes instead of forks."""

from __future__ import annotations

import dataclasses

from bad_input_cases.attempt import Try

_MD = "from gnnpot.engines.md import MDConfig\nMDConfig({})"
_RELAX = "from gnnpot.engines.relax import RelaxConfig\nRelaxConfig({})"
_CONDUCT = (
    "from gnnpot.properties.conductivity import ConductivityConfig\nConductivityConfig(**({{'ion': 'Cu'}} | dict({})))"
)
_NAN, _INF = "float('nan')", "float('inf')"

#: call -> option -> values
VALUES = {
    _MD: {
        "ensemble": ("'NVE'", "'npt'", "None", "3"), "temperature": (_NAN, _INF, "-1", "'300'", "None"),
        "temperature_end": (_NAN, "-1"), "pressure": (_NAN, _INF, "'1'"), "timestep": (_NAN, "0", "-1", _INF),
        "steps": ("1.5", "-1", _NAN, "True", "'10'"), "seed": ("-1", "1.5", "'a'"), "taut": ("0", _NAN, _INF),
        "taup": ("0", _NAN), "friction": ("0", _NAN, "-1"), "interval": ("0", "1.5", "-1"),
        "equilibration": ("-1", "1.5"), "max_temperature": (_NAN, "0"), "keep_velocities": ("2", "'no'"),
    },
    _RELAX: {
        "fmax": (_NAN, _INF, "-1", "'small'"), "stress_max": (_NAN, "-1"), "pressure": (_NAN, _INF),
        "steps": ("1.5", "-1", _NAN, "'10'"), "symmetry": ("0", _NAN, "-1"), "optimizer": ("'newton'",),
        "cell": ("'everything'", "3"),
    },
    _CONDUCT: {
        "temperatures": ("[]", f"[{_NAN}]", "[300, 300]", "[-1]"), "timestep": ("0", _NAN), "production": ("0", _NAN),
        "interval": ("0", _NAN), "seed": ("-1", "1.5"), "ion": ("'Qq'", "''"), "volume": ("'some'",),
    },
    "from gnnpot.sampling.config import LabelConfig\nLabelConfig({})": {"seed": ("-1", "1.5"), "distortions": ("()",)},
    "from gnnpot.sampling.distortions import Rattled\nRattled({})": {"rattle": (_NAN, "-1"), "count": ("0", "1.5")},
    "from gnnpot.training.config import OptimizerConfig\nOptimizerConfig({})": {"lr": (_NAN, "-1", "0", _INF)},
    "from gnnpot.training.config import BatchConfig\nBatchConfig({})": {"max_atoms": ("0", "1.5", "-1")},
    "from gnnpot.models.m3gnet import M3GNetConfig\nM3GNetConfig(elements=('Cu',), {})": {
        "cutoff": (_NAN, "-1", "0", _INF), "units": ("0", "-1"), "blocks": ("0",),
    },
    "from gnnpot.models.hdnnp import HDNNPConfig\nHDNNPConfig(elements=('Cu',), {})": {"hidden": ("(0,)", "(-1,)")},
}  # fmt: skip
_COPPER = "from ase.build import bulk\nfrom gnnpot import Calculator\na = bulk('Cu')\n"
#: (name, code, words)
CODE = (
    ("dtype as text is accepted", f"{_COPPER}a.calc = Calculator('gnnpot-1', dtype='float64')\nprint(a.get_forces())", "0."),
    ("a wrong dtype", f"{_COPPER}Calculator('gnnpot-1', dtype='float12')", "float12"),
    ("an integer dtype", f"{_COPPER}Calculator('gnnpot-1', dtype='int32')", "int32"),
    ("a GPU where there is none", f"{_COPPER}Calculator('gnnpot-1', device='cuda')", "cuda"),
    ("a wrong device", f"{_COPPER}Calculator('gnnpot-1', device='tpu9')", "tpu9"),
    ("a model of no name", f"{_COPPER}Calculator('nowhere')", "nowhere"),
    ("a model that is a number", f"{_COPPER}Calculator(3)", "3"),
    ("positions of NaN, later", f"{_COPPER}a.calc = Calculator('gnnpot-1')\na.get_potential_energy()\na.positions[0] = float('nan')\na.get_potential_energy()", "positions"),
    ("a cell of nothing, later", f"{_COPPER}a.calc = Calculator('gnnpot-1')\na.get_potential_energy()\na.set_cell([1e-3]*3)\na.get_potential_energy()", "atoms per"),
    ("another element, later", f"{_COPPER}a.calc = Calculator('tiny')\na.get_potential_energy()\na.symbols[0] = 'Ni'\na.get_potential_energy()", "Ni"),
    ("two atoms at one place, later", f"{_COPPER}a = a * 2\na.calc = Calculator('gnnpot-1')\na.get_potential_energy()\na.positions[0] = a.positions[1]\na.get_potential_energy()", "one place"),
    ("relax nothing", "from gnnpot import relax, Calculator\nfrom ase import Atoms\nrelax(Atoms(), Calculator('gnnpot-1'))", "no atoms"),
    ("predict nothing", "import gnnpot\nlist(gnnpot.predict([], gnnpot.load('gnnpot-1')))\nraise SystemExit(1)", ""),
    ("inference mode", f"{_COPPER}import torch\na.calc = Calculator('gnnpot-1')\nwith torch.inference_mode(): print('energy', a.get_potential_energy())", "energy"),
    ("another default dtype", f"{_COPPER}import torch\ntorch.set_default_dtype(torch.float64)\na.calc = Calculator('gnnpot-1')\nprint('energy', a.get_potential_energy())", "energy"),
)  # fmt: skip
#: interval of the tries that are repeated in new processes
SAMPLE = 60


def tries() -> list[Try]:
    """All tries from Python."""
    found = []
    for call, table in VALUES.items():
        name = call.partition("\n")[2].partition("(")[0]
        for option, values in table.items():
            for value in values:
                code = call.format(f"{option}={value}")
                found.append(Try("from Python", f"{name}({option}={value})", ("python", code), words=(option,)))
    for name, code, words in CODE:
        good = name in ("dtype as text is accepted", "inference mode", "another default dtype")
        found.append(
            Try("from Python", name, ("python", code), status=(0,) if good else (1,), words=(words,), files=("tiny",))
        )
    return found


def in_processes(tries: list[Try]) -> list[Try]:
    """A sample of the tries, to be run in new processes."""
    commands = [
        attempt for attempt in tries if attempt.command[0] != "python" and not attempt.fresh and not attempt.open_files
    ]
    return [
        dataclasses.replace(attempt, name=f"{attempt.name} (process)", group="in processes", fresh=True)
        for attempt in commands[::SAMPLE]
        if "BAD_INPUT_ENCODING" not in attempt.environment
    ]
