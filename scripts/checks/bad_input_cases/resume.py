"""Runs that are resumed with changed options or inputs, and outputs of unfinished runs."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.structures import EMT, words_of

_RUN = "from gnnpot.cli import app\nfrom typer.testing import CliRunner\n"
_OTHER = "import shutil; shutil.copy('other.extxyz', 'frames.extxyz')\n"


def begun(line: str) -> str:
    """Python code that runs a command; status 3 (not converged) counts as success."""
    return f"{_RUN}r = CliRunner().invoke(app, {list(words_of(line))!r})\nassert r.exit_code in (0, 3), (r.output, r.exception)\n"


_MD = f"md cu.cif -m {EMT} --steps 4 --interval 2 -q"
_MOVED = "from ase.io import read, write; a = read('cu.cif'); a.rattle(0.1, seed=3); write('cu.cif', a)\n"
TRAIN = "train good.yaml -q"
TINY = "finetune tiny frames.extxyz -o out -q --set max_steps=2 --set data.split.by=count"
LABEL = f"label frames.extxyz -m {EMT} --distort original -o out.store -q"
_PARTIAL = """
from pathlib import Path
from ase.io import read, write
write("out.extxyz.partial", read("frames.extxyz", ":3"), format="extxyz")
"""

#: (name, first command, what changes, second command, words)
CHANGED = (
    ("md of another structure", _MD, _MOVED, f"{_MD} --resume --steps 8", "structure"),
    ("md with another seed", _MD, "", f"{_MD} --resume --steps 8 --seed 5", "seed"),
    ("md with another temperature", _MD, "", f"{_MD} --resume --steps 8 -T 900", "temperature"),
    ("md with another ensemble", _MD, "", f"{_MD} --resume --steps 8 --ensemble nve", "ensemble"),
    ("md with another timestep", _MD, "", f"{_MD} --resume --steps 8 --timestep 2", "timestep"),
    ("md with another potential", _MD, "", "md cu.cif -m tiny --steps 8 --interval 2 -q --resume", "potential"),
    ("md again", _MD, "", _MD, "exists"),
    ("md with an edited trajectory", _MD, "d = bytearray(open('cu-md.traj','rb').read()); open('cu-md.traj','wb').write(d[:len(d)//2])\n", f"{_MD} --resume --steps 8", "cu-md.traj"),
    ("md with an empty trajectory", _MD, "open('cu-md.traj','w')\n", f"{_MD} --resume --steps 8", "cu-md.traj"),
    ("relax again", f"relax cu.cif -m {EMT} -q", "", f"relax cu.cif -m {EMT} -q", "exists"),
    ("relax of another trajectory", f"relax cu.cif -m {EMT} -q --trajectory x.traj --steps 2", "",
     f"relax nacl.cif -m {EMT} -q --trajectory x.traj --resume", "atoms|structure|Na"),
    ("train on other labels", TRAIN, _OTHER, TRAIN, "frames.extxyz"),
    ("train with another seed", TRAIN, "", f"{TRAIN} --set seed=7", "seed"),
    ("train with another model", TRAIN, "", f"{TRAIN} --set model.hidden=[5]", "hidden"),
    ("finetune on other labels", TINY, _OTHER, TINY, "frames.extxyz"),
    ("finetune with another rate", TINY, "", f"{TINY} --set optimizer.lr=0.5", "lr"),
    ("label again", LABEL, "", LABEL, "exists"),
    ("convert again", "data convert frames.extxyz -o out.store", "", "data convert frames.extxyz -o out.store", "exists"),
    ("split again", "data split cu.store -o out.json --by frame --fractions a=0.5,b=0.5", "", "data split cu.store -o out.json --by frame --fractions a=0.5,b=0.5", "exists"),
)  # fmt: skip
#: (name, setup, command, words): commands that find remains of another run
RESTS = (
    ("predict beside a stranger's partial", _PARTIAL, "predict frames.extxyz -m tiny -o out.extxyz -q", "12 structures"),
    ("md before its first frame", "open('cu-md.log','w').write('')\n", f"{_MD} --resume", "step"),
    ("finetune after a kill", "import os; os.makedirs('out'); open('out/run.json','w').write('{}')\n", TINY, "out"),
)  # fmt: skip


def tries() -> list[Try]:
    """All tries with runs that resume."""
    files = ("cu.cif", "nacl.cif", "frames.extxyz", "other.extxyz", "tiny", "good.yaml", "cu.store")
    found = [
        Try("resumed runs", name, words_of(second), words=(words,), files=files, setup=begun(first) + change)
        for name, first, change, second, words in CHANGED
    ]
    found += [
        Try(
            "resumed runs",
            name,
            words_of(line),
            status=(0, 1),
            words=(words,),
            files=files,
            setup=setup,
            changes=("out*", "cu-md*"),
        )  # fmt: skip
        for name, setup, line, words in RESTS
    ]
    found += [
        Try("odd but right", "md extended", words_of(f"{_MD} --resume --steps 8"), status=(0,), words=("8",), files=files,
            setup=begun(_MD), changes=("cu-md*",)),
        Try("odd but right", "train extended", words_of(f"{TRAIN} --set max_steps=5"), status=(0,), words=("model:",),
            files=files, setup=begun(TRAIN), changes=("runs*",)),
        Try("odd but right", "train again", words_of(TRAIN), status=(0,), words=("ended",), files=files,
            setup=begun(TRAIN), changes=("runs*",)),
    ]  # fmt: skip
    return found
