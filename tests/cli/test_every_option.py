"""Each option of each command is used at least once; an option that is new and not in these lines fails the test.

Where a command would take long, its line ends in an error that comes after its options were read, and its other tests
run it. Each line is run in the folder that the lines before it have left.
"""

import shlex
import sys

import pytest
import typer
from ase.build import bulk
from ase.calculators.emt import EMT as Emt
from ase.io import write

from gnnpot import cli
from gnnpot.data.references import ElementReferences
from gnnpot.hub.checkpoint import Card, save_checkpoint
from gnnpot.models.m3gnet import M3GNet, M3GNetConfig
from gnnpot.potential import Potential
from tests.test_docs import commands

EMT = "ase.calculators.emt:EMT"
KEYS = "--energy-key energy --forces-key forces --stress-key stress --magmoms-key ''"
#: (command line, exit status)
LINES = (
    (("relax cu.cif -m tiny --fmax 0.1 --stress-max 1 --pressure 0.1 --cell volume --symmetry 0.01 --steps 1 "
     "--optimizer bfgs --trajectory r.traj --index 0 --device cpu --dtype float64 -q --json -o r.extxyz"), 0),
    ("relax cu.cif -m tiny --fix z<0.5 --steps 1 --trajectory r.traj --resume --overwrite -q -o r.extxyz", 0),
    (("md cu.cif -m tiny --ensemble langevin -T 300 --temperature-end 400 --pressure 0 --timestep 1 --steps 2 "
     "--taut 100 --taup 1000 --friction 0.01 --seed 1 --keep-velocities --max-temperature 9000 --equilibration 1 --interval 1 "
     "--fix 0 --trajectory m.zarr --elements Cu --log m.log --index -1 --device cpu --dtype float32 --overwrite -q --json"), 0),
    (f"md cu.cif -m {EMT} --steps 2 -q --resume", 0),
    (f"relax cu.cif -m {EMT} --many -p 1 --executor nowhere", 1),
    (f"predict frames.extxyz -m {EMT} --many -p 1 --executor dask:tcp://127.0.0.1:9 -o many", 1),
    (f"property elastic cu.cif -m {EMT} --many -p 1 --executor mpi", 1),
    (("predict frames.extxyz -m tiny --stress --max-atoms 64 --device cpu --dtype float64 --overwrite -q --json "
     "-o p.extxyz"), 0),
    (f"check {EMT} cu.cif --all --json", 0),
    ("check tiny --elements Cu --dtype float64 --device cpu", 0),
    ("card tiny --all --json", 0),
    ("models --json", 0),
    ("models --physics", 0),
    ("plugins --json", 0),
    ("publish nowhere --licence MIT --permission mine --json -o published", 1),
    ("lammps nowhere.in -m tiny --elements Cu --threads 1 --log lammps.log --json", 1),
    ("import nowhere --name mine --trained-with 2 --force --json", 1),
    (("label frames.extxyz -m tiny --config label.yaml --distort 'melted steps=1 count=1' --seed 1 --melt-model tiny "
     "-p 1 --executor processes --device cpu --dtype float64 --fresh --overwrite -q --json -o l.store"), 0),
    ((f"data convert frames.extxyz --format extxyz {KEYS} --stress ase --material-key formula --code EMT "
     "--functional EMT --source mine --option total_charge=ignore --bad-frames skip --shard-size 5 --no-check-stress "
     "--overwrite --json -o c.store"), 0),
    ("data order cu.cif --cells 1 1 1 --overwrite --json -o ordered.cif", 1),
    (f"data info frames.extxyz --format extxyz {KEYS} --stress ase --option total_charge=ignore --no-ranges --json", 0),
    ("data split c.store --by source --part train=frames --validation 0.2 --seed 1 --overwrite --json -o s.json", 0),
    ("data split c.store --by frame --fractions a=0.5,b=0.5 --overwrite -o s.json", 0),
    ("data choose frames.extxyz -n 2 --overwrite -q --json -o chosen.extxyz", 0),
    (("data mp --table nowhere --table-version 1 --mptrj nowhere.json --matpes nowhere.json --config mp.yaml "
     "--run-types GGA --task-types Static --elements Cu --energy free --corrections none --with-ids --with-magmoms "
     "--endpoint none --limit 1 --shard-size 5 --no-check-stress --overwrite --json -o mp.store"), 1),
    ("data report c.store --json -o report", 1),
    ("config m3gnet --json", 0),
    ("data order nowhere.cif --cells 1 1 1 --overwrite --json -o ordered.extxyz", 1),
    ("train run.yaml --preset m3gnet --fresh --set epochs=1 -q --json", 1),
    ((f"evaluate tiny frames.extxyz --report errors --format extxyz --stress ase {KEYS} --device cpu "
     "--dtype float64 --json"), 0),
    ("evaluate tiny --suite dynamics --data nowhere --count 1 --seed 1 --picoseconds 1 -p 1 --fresh -q -o suites", 1),
    ((f"finetune tiny nowhere.extxyz --strategy head --for general --config t.yaml {KEYS} --stress ase --set epochs=1 "
     "--fresh -q --compare --only head --frames 5 --json -o tuned"), 1),
    (("distil tiny frames.extxyz --student gpt --test frames.extxyz --temperature 300 --minutes 1 --config tune.yaml "
     "--set rounds=1 -p 1 --device cpu --dtype float32 --fresh -q --json -o student"), 1),
    (("conductivity cu.cif -m tiny --ion Li --charge 1 -T 300 --trajectory r.traj --frame-time 1 --types Li --supercell 1x1x1 "
     "--volume given --pressure 0 --production 3 --equilibration 0 --timestep 1 --interval 100 --jump-length 3 "
     "--fit-from 1 --discard 0 --framework-limit 0.1 --seed 1 -p 1 --index 0 --device cpu --dtype float64 -q --json "
     "-o conducted"), 1),
    (("property elastic cu.cif -m tiny --set none=1 --index 0 --device cpu --dtype float64 --fresh -q --json "
     "-o elastic"), 1),
    ((f"build 'copper 2x2x2' --save-recipe recipe.json --language en --relax {EMT} --fmax 1 --steps 1 --overwrite "
     "--json -o built.extxyz"), 0),
    ("build --recipe recipe.json --explain", 0),
    ("build copper --llm --yes", 1),
    ("functional data nowhere --crystal Nothing --others --triples 0 --structures cu.cif -p 1 -q --json", 1),
    ("functional train nowhere --config tune.yaml --without Si --seed 1 -q --json -o functional", 1),
    ("functional evaluate wt nowhere -q --overwrite --json -o errors.json", 1),
    ("functional solve cu.cif -f wt --cutoff 3 --start cu.cube --index 0 --overwrite --json -o cu.cube", 1),
    ("functional plot cu.cif -f wt --kohn-sham --axis 1 --index 0 --overwrite --json -o cu.png", 1),
    ("config m3gnet", 0),
    ("warm nowhere --training --dtype float32 -p 1 -q --json", 1),
)  # fmt: skip
#: (command, option): why no line uses it
NOT_RUN = {
    ("mcp", "--folder"): "the command serves until its input ends; tests/builder/test_tools.py runs the server",
    ("mcp", "--atoms"): "as --folder",
    ("mcp", "--seconds"): "as --folder",
    **dict.fromkeys(
        [
            ("studio", name)
            for name in (
                "--port",
                "--host",
                "--keep",
                "--model",
                "--jobs",
                "--atoms",
                "--memory",
                "--hours",
                "--browser",
            )
        ],
        "the command serves until it is stopped; tests/studio runs it",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("options")
    frames = []
    for k in range(8):
        atoms = bulk("Cu", cubic=True, a=3.5 + 0.02 * k)
        atoms.rattle(0.05, seed=k)
        atoms.calc = Emt()
        atoms.get_stress()
        frames.append(atoms)
    write(path / "frames.extxyz", frames)
    write(path / "cu.cif", frames[0])
    (path / "label.yaml").write_text("limits: {max_force: 50}\n")
    model = M3GNet(M3GNetConfig(elements=("Cu",), units=8, blocks=1, max_n=2, max_l=2))
    references = ElementReferences.from_mapping({"energies": {"Cu": -3.5}})
    save_checkpoint(path / "tiny", Potential(model, references), Card(name="tiny", licence="MIT"))
    return path


@pytest.mark.parametrize(("line", "status"), LINES, ids=[line.partition(" -")[0] for line, _ in LINES])
def test_the_line_runs(folder, monkeypatch, capsys, line, status):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MP_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["gnnpot", *shlex.split(line)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    assert end.value.code == status, f"{said.out}\n{said.err}"
    assert status in (0, 3) or said.err.startswith("error: ")


def used_options():
    """{(command, option)} of all lines."""
    known = dict(all_commands())
    found = set()
    for line, _ in LINES:
        words = shlex.split(line)
        name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        for parameter in known[name].params:
            if given & {*parameter.opts, *parameter.secondary_opts}:
                found.add((name, parameter.opts[0]))
    return found


def all_commands(group=None, before=""):
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_no_option_is_left_out():
    every = {
        (name, parameter.opts[0])
        for name, command in all_commands()
        for parameter in command.params
        if parameter.param_type_name == "option" and "--help" not in parameter.opts
    }
    missing = every - used_options() - set(NOT_RUN)
    assert not missing, f"add these to a line: {sorted(missing)}"
    assert set(NOT_RUN) <= every


def test_results_are_printed_as_json_by_all_commands():
    without = {name for name, command in commands() if not any("--json" in p.opts for p in command.params)}
    # these serve
    assert without == {"mcp", "studio"}
