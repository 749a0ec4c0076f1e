"""Small invalid files as text: structures, labels, configurations. Each has one error, which its name describes."""

from __future__ import annotations

_CELL = 'Lattice="{0} 0 0 0 {1} 0 0 0 {2}" pbc="{3}" Properties=species:S:1:pos:R:3'


def _extxyz(
    rows: list[str], a: object = 3.6, b: object = None, c: object = None, pbc: str = "T T T", more: str = ""
) -> str:
    head = _CELL.format(a, a if b is None else b, a if c is None else c, pbc)
    return f"{len(rows)}\n{head} {more}\n" + "".join(f"{row}\n" for row in rows)


_TWO = ["Cu 0 0 0", "Cu 1.8 1.8 0"]
_LABELS = 'Properties=species:S:1:pos:R:3:forces:R:3 Lattice="4 0 0 0 4 0 0 0 4" pbc="T T T"'


def _labels(
    energy: str = "energy=-1.0", rows: tuple[str, ...] = ("Cu 0 0 0 0 0 0", "Cu 2 2 0 0 0 0.1"), head: str = _LABELS
) -> str:
    return f"{len(rows)}\n{head} {energy}\n" + "".join(f"{row}\n" for row in rows)


def _cif(sites: str, symmetry: str = "P 1") -> str:
    return (
        "data_x\n_cell_length_a 3.6\n_cell_length_b 3.6\n_cell_length_c 3.6\n_cell_angle_alpha 90\n"
        f"_cell_angle_beta 90\n_cell_angle_gamma 90\n_symmetry_space_group_name_H-M '{symmetry}'\nloop_\n"
        "_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        f"_atom_site_occupancy\n{sites}\n"
    )


_POSCAR = "Cu\n{scale}\n3.6 0 0\n0 3.6 0\n0 0 3.6\n{species}\n{counts}\nDirect\n{rows}\n"


def _poscar(scale: str = "1.0", species: str = "Cu", counts: str = "1", rows: str = "0 0 0") -> str:
    return _POSCAR.format(scale=scale, species=species, counts=counts, rows=rows)


STRUCTURES = {
    "empty.cif": "",
    "empty.extxyz": "",
    "prose.cif": "Dear reader,\nthis is a letter, not a crystal.\n",
    "prose.extxyz": "Dear reader,\nthis is a letter, not a crystal.\n",
    "nan.extxyz": _extxyz(["Cu nan 0 0", "Cu 1.8 1.8 0"]),
    "inf.extxyz": _extxyz(["Cu inf 0 0", "Cu 1.8 1.8 0"]),
    "far18.extxyz": _extxyz(["Cu 1e18 0 0", "Cu 1.8 1.8 0"], pbc="F F F"),
    "far300.extxyz": _extxyz(["Cu 1e300 0 0", "Cu 1.8 1.8 0"], pbc="F F F"),
    "nancell.extxyz": _extxyz(_TWO, a="nan"),
    "cell300.extxyz": _extxyz(_TWO, a="1e300"),
    "smallcell.extxyz": _extxyz(["Cu 0 0 0"], a=0.01),
    "tinycell.extxyz": _extxyz(["Cu 0 0 0"], a=1e-3),
    "flatcell.extxyz": _extxyz(["Cu 0 0 0"], c=1e-4),
    "zerocell.extxyz": _extxyz(["Cu 0 0 0"], c=0),
    "dummy.extxyz": _extxyz(["X 0 0 0"]),
    "element.extxyz": _extxyz(["Cx 0 0 0"]),
    "element119.extxyz": _extxyz(["119 0 0 0"]),
    "coincident.extxyz": _extxyz(["Cu 0 0 0", "Cu 0 0 0.001"]),
    "image.extxyz": _extxyz(["Cu 0 0 0", "Cu 3.6 0 0"]),
    "noatoms.extxyz": '0\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3\n',
    "charged.extxyz": _extxyz(_TWO, more="charge=1"),
    "short.extxyz": _extxyz(_TWO).replace("2\n", "8\n", 1),
    "words.extxyz": _extxyz(["Cu zero 0 0", "Cu 1.8 1.8 0"]),
    "count.extxyz": "-3\ncomment\n",
    "hugecount.extxyz": "999999999999\ncomment\nCu 0 0 0\n",
    "alloy.cif": _cif("Fe1 Fe 0 0 0 0.6\nNi1 Ni 0 0 0 0.4"),
    "half.cif": _cif("Li1 Li 0 0 0 0.5\nO1 O 0.5 0.5 0.5 1"),
    "nosites.cif": _cif("").replace("loop_", "#"),
    "badgroup.cif": _cif("Cu1 Cu 0 0 0 1", "Z 99"),
    "badnumber.cif": _cif("Cu1 Cu zero 0 0 1"),
    "scale.poscar": _poscar(scale="1.0 1.0"),
    "scaleword.poscar": _poscar(scale="large"),
    "counts.poscar": _poscar(counts="2 3"),
    "negative.poscar": _poscar(counts="-1"),
    "rows.poscar": _poscar(counts="4"),
    "species.poscar": _poscar(species="Qq"),
    "plutonium.extxyz": _extxyz(["Pu 0 0 0"], a=4.6),
    "oganesson.extxyz": _extxyz(["Og 0 0 0"], a=6.0),
}

LABELS = {
    "nan_energy.extxyz": _labels("energy=nan"),
    "inf_energy.extxyz": _labels("energy=inf"),
    "huge_energy.extxyz": _labels("energy=1e308"),
    "complex_energy.extxyz": _labels("energy=1+2j"),
    "true_energy.extxyz": _labels("energy=T"),
    "word_energy.extxyz": _labels("energy=low"),
    "two_energies.extxyz": _labels('energy="1.0 2.0"'),
    "nan_force.extxyz": _labels(rows=("Cu 0 0 0 nan 0 0", "Cu 2 2 0 0 0 0.1")),
    "star_force.extxyz": _labels(rows=("Cu 0 0 0 ***** 0 0", "Cu 2 2 0 0 0 0.1")),
    "huge_force.extxyz": _labels(rows=("Cu 0 0 0 1e300 0 0", "Cu 2 2 0 0 0 0.1")),
    "short_force.extxyz": _labels(head=_LABELS.replace("forces:R:3", "forces:R:2"), rows=("Cu 0 0 0 0 0",) * 1),
    "ref_forces.extxyz": _labels() + _labels(head=_LABELS.replace("forces", "REF_forces")),
    "ref_energy.extxyz": _labels("energy=-1.0 REF_energy=-2.0"),
    "tot_energy.extxyz": _labels("TotEnergy=-1.0"),
    "forces_dft.extxyz": _labels(head=_LABELS.replace("forces", "forces_dft")),
    "hartree.extxyz": _labels("energy=-1.0 energy-unit=hartree"),
    "force_unit.extxyz": _labels("energy=-1.0 force_unit=Ha/bohr"),
    "stress_gpa.extxyz": _labels('energy=-1.0 stress-unit=GPa stress="1 0 0 0 1 0 0 0 1"'),
    "units_late.extxyz": _labels() + _labels("energy=-1.0 units=metal energy_units=Ry"),
    "stress_rows.extxyz": _labels('energy=-1.0 stress="1 2 3"'),
    "stress_odd.extxyz": _labels('energy=-1.0 stress="1 0.5 0 0 1 0 0 0 1"'),
    "charge_label.extxyz": _labels("energy=-1.0 charge=-1"),
    "total_charge.extxyz": _labels("energy=-1.0 total_charge=2.0"),
    "pos_twice.extxyz": _labels(head=_LABELS.replace("forces:R:3", "pos:R:3")),
    "duplicate_key.extxyz": _labels("energy=-1.0 energy=-2.0"),
    "no_labels.extxyz": _extxyz(_TWO),
    "virial_only.extxyz": _labels('virial="1 0 0 0 1 0 0 0 1"'),
    "late_bad.extxyz": _labels() * 3 + _labels("energy=nan"),
    "cut.extxyz": (_labels() * 3)[:-20],
    "prose_labels.extxyz": "hello\n",
    "magmoms_word.extxyz": _labels(head=_LABELS.replace("forces:R:3", "magmoms:S:1"), rows=("Cu 0 0 0 up",) * 1),
    "unclosed.extxyz": _labels('energy=-1.0 comment="never closed'),
    "unknown_pair.extxyz": _labels(rows=("Cu 0 0 0 0 0 0", "Qq 2 2 0 0 0 0.1")),
    "deep.db": b"SQLite format 3\x00" + b"\x00" * 200,
    "cut.nc": b"CDF\x01" + b"\x00" * 40,
    "input.data": "begin\nlattice 1 0\nend\n",
    "charged.data": "begin\natom 0 0 0 H 0 0 0 0 0\nenergy 0\ncharge 1\nend\n",
    "OUTCAR": "vasp.6.4.2\nnothing else\n",
    "pw.out": "Program PWSCF v.7.0\nnothing\n",
}

_MODEL = "model: {architecture: hdnnp, symmetry_set: {kind: chosen, count: 4}, hidden: [4]}\n"
_RUN = "data: {train: frames.extxyz, split: {by: frame, validation: 0.2}}\nrun: runs/one\nmax_steps: 3\n"
GOOD_CONFIG = f"{_MODEL}{_RUN}"
_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

CONFIGS = {
    "good.yaml": GOOD_CONFIG,
    "bomb.yaml": _BOMB,
    "deep.yaml": "model: " + "[" * 3000 + "]" * 3000 + "\n",
    "date.yaml": f"{GOOD_CONFIG}seed: 2024-13-45\n",
    "digits.yaml": f"{GOOD_CONFIG}seed: {'9' * 5000}\n",
    "twice.yaml": f"{GOOD_CONFIG}seed: 1\nseed: 2\n",
    "alias.yaml": "a: &a [*a]\n",
    "tab.yaml": "model:\n\tarchitecture: hdnnp\n",
    "list.yaml": "- 1\n- 2\n",
    "word.yaml": "hello\n",
    "python.yaml": "run: !!python/object/apply:os.system ['touch owned']\n",
    "latin.yaml": b"run: \xe5\n",
    "null.yaml": "model: null\ndata: null\nrun: null\n",
    "loop.yaml": "extends: loop.yaml\n",
    "extends.yaml": "extends: nowhere.yaml\n",
    "extendslist.yaml": "extends: [a, b]\n",
    "binary.yaml": b"\x00\x01\x02\xff",
    "empty.yaml": "",
    "unknown.yaml": f"{GOOD_CONFIG}learning_rate: 1\n",
    "functions.yaml": "model: {architecture: hdnnp, symmetry_set: {kind: behler, radial: 9000, angular: 9000}}\n"
    + _RUN,
}

TEXTS: dict[str, str | bytes] = {**STRUCTURES, **LABELS, **CONFIGS}
