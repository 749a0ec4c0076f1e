"""Invalid labels, names and units that must not be guessed, and VASP outputs without valid labels."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.structures import words_of
from bad_input_cases.vasp import VARIANTS

#: file -> words of the message
BAD = {
    "nan_energy.extxyz": "energy",
    "inf_energy.extxyz": "energy",
    "huge_energy.extxyz": "energy",
    "complex_energy.extxyz": "energy",
    "true_energy.extxyz": "energy",
    "word_energy.extxyz": "energy",
    "two_energies.extxyz": "energy",
    "nan_force.extxyz": "force",
    "star_force.extxyz": "force|read",
    "huge_force.extxyz": "force",
    "short_force.extxyz": "force",
    "ref_forces.extxyz": "REF_forces",
    "ref_energy.extxyz": "REF_energy",
    "tot_energy.extxyz": "TotEnergy",
    "forces_dft.extxyz": "forces_dft",
    "hartree.extxyz": "energy-unit",
    "force_unit.extxyz": "force_unit",
    "stress_gpa.extxyz": "stress-unit",
    "units_late.extxyz": "unit",
    "stress_rows.extxyz": "stress",
    "stress_odd.extxyz": "symmetric|stress",
    "charge_label.extxyz": "charge",
    "total_charge.extxyz": "charge",
    "pos_twice.extxyz": "pos",
    "duplicate_key.extxyz": "twice|energy",
    "late_bad.extxyz": "energy",
    "cut.extxyz": "cut|read|atoms|end",
    "prose_labels.extxyz": "read|number|extxyz|atoms",
    "magmoms_word.extxyz": "magmom",
    "unclosed.extxyz": "quot|comment|closed|read",
    "unknown_pair.extxyz": "Qq|element",
    "empty.extxyz": "empty|frame",
    "bytes.extxyz": "read|UTF-8|encoded|number|not a text file",
    "latin.extxyz": "read|UTF-8|encoded|energy|label|column|not a text file",
    "cut.extxyz.gz": "end|cut|damaged|read",
    "nan.extxyz": "positions",
    "far300.extxyz": "positions|beyond",
    "tinycell.extxyz": "atoms per Å³",
    "flatcell.extxyz": "span no volume|atoms per Å³",
    "coincident.extxyz": "one place",
    "dummy.extxyz": "element",
    "deep.db": "read|database",
    "cut.nc": "format|known|read",
    "input.data": "n2p2|read|lattice",
    "charged.data": "charge",
    "OUTCAR": "ionic step|frame|read",
    "pw.out": "format|known|frame|step",
    "bytes.traj": "read",
    "fifo.cif as fifo.extxyz": "ordinary|FIFO",
    "folder.cif as folder": "folder|store|DeepMD",
    "flipped.store": "damaged|sha256|digest|checksum|is a folder",
    "manifest.store": "manifest|damaged|digest|frames",
}
COMMANDS = {
    "convert": "data convert FILE -o out.store",
    "evaluate": "evaluate tiny FILE",
    "finetune": "finetune tiny FILE -o out -q --set max_steps=2",
    "train": "train good.yaml -q --set data.train=FILE",
}
#: commands that read a store
STORES = {
    "info": "data info FILE",
    "split": "data split FILE -o out.json",
    "choose": "data choose FILE -n 2 -o out.extxyz -q",
    "label": "label FILE -m ase.calculators.emt:EMT -o out.store --distort original -q",
    "distil": "distil tiny FILE -o out -q --student hdnnp --minutes 0.1",
}


def _vasp_path(file: str) -> str:
    """Path with the file name that VASP uses, in a folder named after `file`."""
    return f"{file.partition('.')[0]}/{'vasprun.xml' if file.endswith('.xml') else 'OUTCAR'}"


def _vasp_setup(file: str) -> str:
    name = _vasp_path(file)
    return (
        f"import os\nfrom bad_input_cases.vasp import VARIANTS\nos.makedirs({name.partition('/')[0]!r})\n"
        f"open({name!r}, 'w').write(VARIANTS[{file!r}][0]())\n"
    )


def tries() -> list[Try]:
    """All tries with labels."""
    found = []
    for number, (file, words) in enumerate(BAD.items()):
        name = file.rpartition(" as ")[2]
        lines = STORES | COMMANDS if file.endswith(".store") else {
            "convert": COMMANDS["convert"], **dict([list(COMMANDS.items())[1 + number % 3]])}  # fmt: skip
        for command, line in lines.items():
            # a manifest is verified by every command, a shard only if it is read
            found.append(
                Try(
                    "labels",
                    f"{command} {file}",
                    words_of(line.replace("FILE", name)),
                    words=(words,),
                    files=(file, "tiny", "good.yaml", "frames.extxyz"),
                    changes=("runs*", "out*"),
                )  # fmt: skip
            )
    for file, (_, words) in VARIANTS.items():
        for command in ("convert", "evaluate"):
            line = COMMANDS[command].replace("FILE", _vasp_path(file))
            found.append(
                Try(
                    "labels",
                    f"{command} {file}",
                    words_of(line),
                    words=(words,),
                    files=("tiny",),
                    setup=_vasp_setup(file),
                )
            )
    skip = "data convert bad.extxyz frames.extxyz -o out.store --bad-frames skip"
    for file in ("nan_energy.extxyz", "prose_labels.extxyz", "empty.extxyz", "bytes.extxyz", "unknown_pair.extxyz"):
        found.append(
            Try(
                "odd but right",
                f"convert {file} beside a good file",
                words_of(skip),
                status=(0,),
                words=("12",),
                files=(f"{file} as bad.extxyz", "frames.extxyz"),
                changes=("out.store*",),
            )  # fmt: skip
        )
    found.append(
        Try(
            "odd but right",
            "finetune skips bad frames",
            words_of(
                "finetune tiny mixed.extxyz -q -o out --set data.bad_frames=skip --set max_steps=2 "
                "--set data.split.by=count"
            ),
            status=(0,),
            words=("model:",),
            files=("tiny", "frames.extxyz", "nan_energy.extxyz"),
            changes=("out*",),
            setup="open('mixed.extxyz','w').write(open('frames.extxyz').read() + open('nan_energy.extxyz').read())",
        )  # fmt: skip
    )
    return found
