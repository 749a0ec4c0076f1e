"""More cases of the same kinds, added after the first were fixed."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.resume import LABEL, TINY, begun
from bad_input_cases.structures import EMT, words_of

_HEADER = 'Lattice="5 0 0 0 5 0 0 0 5" pbc="T T T"'
_COPY = "from ase.io import read, write\natoms = read('cu.cif')\n"


def _frame(header: str, column: str = "", row: str = "") -> str:
    """Python code that writes `odd.extxyz`, a frame of two copper atoms."""
    properties = f"Properties=species:S:1:pos:R:3{column}"
    text = f"2\n{header} {properties}\nCu 0 0 0{row}\nCu 2.5 2.5 2.5{row}\n"
    return f"open('odd.extxyz', 'w').write({text!r})\n"


_FORCES = ":forces:R:3", " 0 0 0"
_CONVERT = "data convert odd.extxyz -o out.store"
_RELAX = f"relax odd.extxyz -m {EMT} --steps 1 -q -o out.extxyz"
_LABELLED = f"{_HEADER} energy=-3.0"

#: (name, command, code that makes the file, words): names and units of labels
LABELS = (
    ("unit of energies", _CONVERT, _frame(f"{_LABELLED} energies_unit=Ha", *_FORCES), "unit"),
    ("unit in units", _CONVERT, _frame(f"{_LABELLED} units=kcal/mol", *_FORCES), "unit"),
    ("unit of a virial", _CONVERT, _frame(f"{_LABELLED} virial-unit=Ry", *_FORCES), "unit"),
    ("unit of lengths", _CONVERT, _frame(f"{_LABELLED} length_unit=bohr", *_FORCES), "unit"),
    ("energy of another name", _CONVERT, _frame(f"{_HEADER} dft_energy=-3.0", *_FORCES), "dft_energy"),
    ("energy in capitals", _CONVERT, _frame(f"{_HEADER} ENERGY=-3.0", *_FORCES), "ENERGY"),
    ("forces in capitals", _CONVERT, _frame(_LABELLED, ":FORCES:R:3", " 0 0 0"), "FORCES"),
    ("a gradient", _CONVERT, _frame(_LABELLED, ":gradient:R:3", " 0 0 0"), "gradient"),
    ("forces in two columns", _CONVERT, _frame(_LABELLED, ":forces:R:2", " 0 0"), "forces|read"),
    ("forces of whole numbers and words", _CONVERT, _frame(_LABELLED, ":forces:S:3", " a b c"), "forces|read|number"),
    ("energy with a unit", _CONVERT, _frame(f"{_HEADER} energy=-3.0eV", *_FORCES), "energy"),
    ("energy of two atoms", _CONVERT, _frame(f'{_HEADER} energy="-3.0 -2.0"', *_FORCES), "energy"),
    ("energy of nothing", _CONVERT, _frame(f'{_HEADER} energy=""', *_FORCES), "energy"),
    ("stress of four numbers", _CONVERT, _frame(f'{_LABELLED} stress="0 0 0 0"', *_FORCES), "stress"),
    ("stress and virial that differ", _CONVERT, _frame(
        f'{_LABELLED} stress="1 0 0 0 1 0 0 0 1" virial="1 0 0 0 1 0 0 0 1"', *_FORCES), "virial|stress"),
    ("a charge in words", _CONVERT, _frame(f"{_LABELLED} charge=plus", *_FORCES), "charge"),
    ("element by number 0", _CONVERT, "open('odd.extxyz', 'w').write('1\\nenergy=1.0 Properties=Z:I:1:pos:R:3\\n0 0 0 0\\n')\n",
     "element|species|Z"),
)  # fmt: skip
#: (name, command, code that makes the file, words): structures
STRUCTURES = (
    ("lattice of three numbers", _RELAX, _frame('Lattice="5 5 5" pbc="T T T"'), "lattice|read"),
    ("lattice of words", _RELAX, _frame('Lattice="a b c d e f g h i"'), "lattice|read"),
    ("lattice without an end", _RELAX, _frame('Lattice="5 0 0 0 5 0 0 0'), "lattice|read|quot"),
    ("two lattices", _RELAX, _frame(f'{_HEADER} Lattice="9 0 0 0 9 0 0 0 9"'), "Lattice|twice"),
    ("periodicity of maybe", _RELAX, _frame('Lattice="5 0 0 0 5 0 0 0 5" pbc="T T maybe"'), "pbc|read"),
    ("positions in two columns", _RELAX,
     "open('odd.extxyz', 'w').write('1\\nProperties=species:S:1:pos:R:2\\nCu 0 0\\n')\n", "pos|read"),
    ("a million blank lines", _RELAX, "open('odd.extxyz', 'w').write('\\n' * 1_000_000)\n", "read|no atoms|empty|number"),
    ("a comment of 50 MB", _RELAX, "open('odd.extxyz', 'w').write('1\\n' + 'x=1 ' * 12_500_000 + '\\nCu 0 0 0\\n')\n",
     "read|long|comment|memory|x"),
    ("a bomb of zeros", f"relax odd.extxyz.gz -m {EMT} -q",
     "import gzip\nwith gzip.open('odd.extxyz.gz', 'wb', 1) as f:\n    for _ in range(300): f.write(bytes(1 << 20))\n",
     "read|text|number|atoms"),
    ("a cell that is NaN in one place", _RELAX, _frame('Lattice="5 0 0 0 nan 0 0 0 5" pbc="T T T"'), "nan"),
    ("a denormal lattice", _RELAX, _frame('Lattice="1e-310 0 0 0 1e-310 0 0 0 1e-310" pbc="T T T"'),
     "span no volume|atoms per"),
    ("a slanted lattice without end", _RELAX, _frame('Lattice="5 0 0 1e7 5 0 0 1e7 5" pbc="T T T"'),
     "atoms per|span|beyond|neighbours|cell"),
    ("a POSCAR of letters for counts", f"relax POSCAR -m {EMT} -q",
     "open('POSCAR', 'w').write('x\\n1.0\\n5 0 0\\n0 5 0\\n0 0 5\\nCu\\nfour\\nDirect\\n0 0 0\\n')\n", "read"),
    ("a POSCAR with a negative atom", f"relax POSCAR -m {EMT} -q",
     "open('POSCAR', 'w').write('x\\n1.0\\n5 0 0\\n0 5 0\\n0 0 5\\nCu Cu\\n2 -1\\nDirect\\n0 0 0\\n')\n", "read"),
    ("a POSCAR that is a folder", f"relax POSCAR -m {EMT} -q", "import os; os.mkdir('POSCAR')\n", "folder|ordinary"),
)  # fmt: skip
#: (name, command, setup, words): outputs
OUTPUTS = (
    ("the output is the input", f"relax cu.extxyz -m {EMT} --steps 1 -q -o cu.extxyz --overwrite",
     f"{_COPY}write('cu.extxyz', atoms)\n", "input|reads|cu.extxyz"),
    ("the output is the input by another spelling", f"relax cu.extxyz -m {EMT} --steps 1 -q -o ./x/../cu.extxyz --overwrite",
     f"{_COPY}write('cu.extxyz', atoms)\nimport os; os.mkdir('x')\n", "input|reads|cu.extxyz"),
    ("two outputs in one file", f"md cu.cif -m {EMT} --steps 1 -q --trajectory out.traj --log ./out.traj", "", "out.traj"),
    ("two outputs, one within the other", f"md cu.cif -m {EMT} --steps 1 -q --trajectory out.traj --log out.traj/log", "",
     "out.traj"),
    ("a dangling link", "data convert frames.extxyz -o out.store --overwrite", "import os; os.symlink('gone', 'out.store')\n",
     "link"),
    ("a store of others", "data convert frames.extxyz -o out.store --overwrite",
     "import os; os.mkdir('out.store'); open('out.store/manifest.json', 'w').write('{}')\n", "did not make|not a store"),
    ("a run into a file", "train good.yaml -q --set run=frames.extxyz", "", "frames.extxyz"),
    ("a run into its data", "finetune tiny cu.store -q --set max_steps=2 -o cu.store --fresh", "", "cu.store"),
    ("a run into its model", "finetune tiny frames.extxyz -q --set max_steps=2 -o tiny --fresh", "", "tiny"),
    ("no such ending", f"relax cu.cif -m {EMT} --steps 1 -q -o out.xyzzy", "", "xyzzy|format|ending"),
    ("dynamics into a CIF", f"md cu.cif -m {EMT} --steps 1 -q --trajectory out.cif", "", "cif|format|ending"),
)  # fmt: skip
#: (name, command, words): options
OPTIONS = (
    ("steps beyond all numbers", f"md cu.cif -m {EMT} -q --steps 99999999999999999999999", "steps"),
    ("a temperature beyond all", f"md cu.cif -m {EMT} -q --steps 1 -T 1e308", "temperature"),
    ("a time step that is denormal", f"md cu.cif -m {EMT} -q --steps 1 --timestep 1e-320", "timestep|time"),
    ("a pressure of infinity", f"relax cu.cif -m {EMT} -q --pressure inf", "pressure"),
    ("the hundredth GPU", "relax cu.cif -m tiny -q --device cuda:99", "cuda|device"),
    ("no such device", "relax cu.cif -m tiny -q --device tpu", "tpu|device"),
    ("half precision", "relax cu.cif -m tiny -q --dtype float16", "float16|dtype"),
    ("no such cell", f"relax cu.cif -m {EMT} -q --cell abc", "cell"),
    ("no such ensemble", f"md cu.cif -m {EMT} -q --ensemble nvt-nose", "ensemble"),
    ("Arabic digits", f"md cu.cif -m {EMT} -q --steps ١٢x", "steps"),
    ("a seed of a fraction", f"md cu.cif -m {EMT} -q --steps 1 --seed 1e3", "seed"),
)  # fmt: skip
#: (name, first command, what changes, second command, words)
RESUMED = (
    ("label after its input has changed", LABEL, "import shutil; shutil.copy('other.extxyz', 'frames.extxyz')\n", LABEL,
     "exists|structures"),
    ("finetune from other weights", TINY,
     "import shutil; shutil.rmtree('tiny'); shutil.copytree('cu.store', 'tiny')\n", TINY, "tiny"),
    ("finetune with another split", TINY, "", f"{TINY} --set data.split.seed=5", "split"),
    ("finetune of moved, other frames", TINY, "import os; os.rename('other.extxyz', 'moved.extxyz')\n",
     TINY.replace("frames.extxyz", "moved.extxyz"), "moved.extxyz"),
)  # fmt: skip


def tries() -> list[Try]:
    """All tries of the second round."""
    found = []
    for group, table in (("labels", LABELS), ("structures", STRUCTURES), ("outputs", OUTPUTS)):
        for name, line, setup, words in table:
            files = ("cu.cif", "tiny", "frames.extxyz", "cu.store", "good.yaml")
            found.append(Try(group, name, words_of(line), words=(words,), files=files, setup=setup))
    for name, line, words in OPTIONS:
        found.append(Try("options", name, words_of(line), words=(words,), files=("cu.cif", "tiny")))
    files = ("cu.cif", "frames.extxyz", "other.extxyz", "tiny", "good.yaml", "cu.store")
    for name, first, change, line, words in RESUMED:
        setup = begun(first) + change
        found.append(Try("resumed runs", name, words_of(line), words=(words,), files=files, setup=setup))
    moved = "import os; os.rename('out', 'moved'); os.rename('frames.extxyz', 'same.extxyz')\n"
    line = TINY.replace("frames.extxyz", "same.extxyz").replace("-o out", "-o moved")
    found.append(
        Try("odd but right", "finetune with all moved", words_of(line), status=(0,), words=("ended",), files=files,
            setup=begun(TINY) + moved, changes=("moved*",))
    )  # fmt: skip
    return found
