"""Invalid or too large structures, for every command that reads one; and unusual structures that are valid."""

from __future__ import annotations

from bad_input_cases.attempt import Try

EMT = "ase.calculators.emt:EMT"

#: file -> words of the message
BAD = {
    "nowhere.cif": "no such file",
    "folder.cif": "no ordinary file|folder",
    "fifo.cif": "no ordinary file",
    "link": "no such file",
    "empty.cif": "empty",
    "empty.extxyz": "empty",
    "prose.cif": "can't be read",
    "prose.extxyz": "can't be read",
    "bytes.cif": "can't be read",
    "bytes.extxyz": "can't be read|not a text file",
    "bytes.traj": "can't be read",
    "cut.extxyz.gz": "truncated or damaged",
    "nan.extxyz": "nan or infinite",
    "inf.extxyz": "nan or infinite",
    "far18.extxyz": "beyond 1e+08",
    "far300.extxyz": "beyond 1e+08",
    "nancell.extxyz": "nan or infinite",
    "cell300.extxyz": "beyond 1e+08",
    "smallcell.extxyz": "atoms per Å³",
    "tinycell.extxyz": "atoms per Å³",
    "flatcell.extxyz": "atoms per Å³|span no volume",
    "zerocell.extxyz": "span no volume",
    "dummy.extxyz": "no elements|no chemical element",
    "element.extxyz": "Cx",
    "element119.extxyz": "119",
    "coincident.extxyz": "at one place",
    "image.extxyz": "at one place",
    "noatoms.extxyz": "no atoms|can't be read",
    "charged.extxyz": "charge",
    "short.extxyz": "can't be read",
    "words.extxyz": "can't be read|is no number",
    "count.extxyz": "can't be read|no atoms|a number of atoms",
    "hugecount.extxyz": "can't be read",
    "alloy.cif": "occupied by",
    "half.cif": "occupied by",
    "nosites.cif": "can't be read|no atoms",
    "badgroup.cif": "can't be read",
    "badnumber.cif": "can't be read",
    "scale.poscar as POSCAR": "can't be read",
    "scaleword.poscar as POSCAR": "can't be read",
    "counts.poscar as POSCAR": "can't be read",
    "negative.poscar as POSCAR": "can't be read|no atoms",
    "rows.poscar as POSCAR": "can't be read",
    "species.poscar as POSCAR": "can't be read",
    "dense.extxyz": "atoms per Å³",
    "crowd.extxyz": "at one place",
}
#: command -> arguments; FILE is the structure
COMMANDS = {
    "relax": f"relax FILE -m {EMT} -o out.extxyz --steps 1 -q",
    "md": f"md FILE -m {EMT} --trajectory out.traj --log out.log --steps 1 -q",
    "predict": "predict FILE -o out.extxyz -m tiny -q",
    "check": f"check {EMT} FILE",
    "label": f"label FILE -m {EMT} -o out.store --distort original -q",
    "choose": "data choose FILE -n 1 -o out.extxyz -q",
    "conductivity": f"conductivity FILE -m {EMT} --ion Cu -o out --production 3 --equilibration 0 -q",
    "solve": "functional solve FILE -o out.cube",
    "distil": "distil tiny FILE -o out -q --student hdnnp --minutes 0.1",
}
#: commands that are run with every structure; the others are run with some of them
ALL = ("relax", "predict")
#: structures for every command; unreadable files are handled by common code
EVERYWHERE = (
    "nowhere.cif", "fifo.cif", "nan.extxyz", "tinycell.extxyz", "dummy.extxyz", "charged.extxyz", "alloy.cif",
)  # fmt: skip
#: (name, command line, file, status, words): unusual, but valid
GOOD = (
    ("far molecules", "predict apart.extxyz -o out.extxyz -m gnnpot-1 -q", "apart.extxyz", "2 structures|1 structure"),
    ("far molecules, md", "md apart.extxyz -m gnnpot-1 --steps 2 -q", "apart.extxyz", "2"),
    ("long wire", f"relax wire.extxyz -m {EMT} --steps 1 --cell none -q", "wire.extxyz", "energy"),
    ("long wire, predict", "predict wire.extxyz -o out.extxyz -m tiny -q", "wire.extxyz", "1 structure"),
    ("line of 1e5 Å", "predict line.extxyz -o out.extxyz -m tiny -q", "line.extxyz", "1 structure"),
)
#: (name, command line, files, words): a model without the element, or a model that does not exist
MODELS = (
    ("EMT on NaCl", f"relax nacl.cif -m {EMT} -q", "nacl.cif", "Na|element"),
    ("EMT on NaCl, check", f"check {EMT} nacl.cif", "nacl.cif", "no EMT-potential for Na"),
    ("check --elements of EMT without", f"check {EMT} --elements Na", "cu.cif", "no EMT-potential for Na"),
    ("EMT on NaCl, md", f"md nacl.cif -m {EMT} -q", "nacl.cif", "Na|element"),
    ("check --elements Xx", f"check {EMT} --elements Xx", "cu.cif", "Xx"),
    ("check --elements of nothing", f"check {EMT} --elements ,", "cu.cif", "element"),
    ("check --elements 119", "check tiny --elements 119", "tiny", "119"),
    ("tiny on NaCl", "relax nacl.cif -m tiny -q", "nacl.cif", "Na"),
    ("tiny on NaCl, predict", "predict nacl.cif -o out.extxyz -m tiny -q", "nacl.cif", "Na"),
    ("tiny on NaCl, md", "md nacl.cif -m tiny -q", "nacl.cif", "Na"),
    ("tiny on NaCl, conductivity", "conductivity nacl.cif -m tiny --ion Na -q", "nacl.cif", "Na"),
    ("conductivity without the ion", "conductivity cu.cif -m tiny --ion Li -q", "cu.cif", "Li"),
    ("conductivity of no element", "conductivity cu.cif -m tiny --ion Qq -q", "cu.cif", "Qq"),
    ("plutonium", "relax plutonium.extxyz -m chgnet-nowhere -q", "plutonium.extxyz", "chgnet"),
    ("oganesson", f"relax oganesson.extxyz -m {EMT} -q", "oganesson.extxyz", "Og"),
    ("no such model", "relax cu.cif -m nowhere -q", "cu.cif", "nowhere"),
    ("model is a file", "relax cu.cif -m cu.cif -q", "cu.cif", "cu.cif"),
    ("model is an empty name", "relax cu.cif -m '' -q", "cu.cif", "model|name"),
    ("model is .", "relax cu.cif -m . -q", "cu.cif", "card"),
    ("no calculator", "relax cu.cif -m math:sqrt -q", "cu.cif", "math:sqrt"),
    ("no module", "relax cu.cif -m nomodule:Class -q", "cu.cif", "nomodule"),
    ("calculator that fails to import", "relax cu.cif -m antigravity.nothing:Class -q", "cu.cif", "antigravity"),
    ("relax .", "relax .", "cu.cif", "folder|no ordinary file"),
    ("md .", "md .", "cu.cif", "folder|no ordinary file"),
    ("predict .", "predict . -o out.extxyz", "cu.cif", "folder|no ordinary file|no such file"),
    ("check .", f"check {EMT} .", "cu.cif", "folder|no ordinary file"),
    ("label .", f"label . -m {EMT} -o out.store", "cu.cif", "store|folder|no ordinary file"),
    ("relax nothing", "relax ''", "cu.cif", "structure|folder|no ordinary file"),
    ("index beyond the file", f"relax cu.cif --index 5 -m {EMT}", "cu.cif", "index|5"),
    ("index below the file", f"md cu.cif --index -7 -m {EMT}", "cu.cif", "index|-7"),
    ("functional of copper", "functional solve cu.cif", "cu.cif", "Cu"),
    ("functional plot of copper", "functional plot cu.cif -o out.png", "cu.cif", "Cu"),
    ("functional of no name", "functional solve mg.cif -f nowhere", "mg.cif", "nowhere"),
    ("functional data of copper", "functional data out --structures cu.cif --triples 0", "cu.cif", "Cu"),
    ("functional data of no crystal", "functional data out --crystal Nothing", "cu.cif", "Nothing"),
    ("functional without samples", "functional train . -o out", "cu.cif", "sample"),
    ("functional train nowhere", "functional train nowhere -o out", "cu.cif", "nowhere"),
    ("functional evaluate nowhere", "functional evaluate wt nowhere", "cu.cif", "nowhere"),
    ("functional evaluate of no name", "functional evaluate nowhere .", "cu.cif", "nowhere"),
    ("start density is a structure", "functional solve mg.cif --start cu.cif -f wt", "mg.cif", "cube"),
    ("fix of nothing", f"relax cu.cif --fix Zn -m {EMT}", "cu.cif", "Zn"),
    ("fix beyond", f"relax cu.cif --fix 0-99 -m {EMT}", "cu.cif", "fix|99"),
    ("fix of words", f"md cu.cif --fix 'z<<5' -m {EMT}", "cu.cif", "fix|z<<5"),
    ("fix nothing", f"md cu.cif --fix ',' -m {EMT}", "cu.cif", "fix"),
)


def words_of(line: str) -> tuple[str, ...]:
    """The arguments of a command line."""
    import shlex

    return tuple(shlex.split(line))


def tries() -> list[Try]:
    """All tries with structures."""
    found = []
    for number, (file, words) in enumerate(BAD.items()):
        others = [name for name in COMMANDS if name not in ALL]
        chosen = list(COMMANDS) if file in EVERYWHERE else [*ALL, others[number % len(others)]]
        for command in chosen:
            name = file.rpartition(" as ")[2]
            line = COMMANDS[command].replace("FILE", name)
            files = ("tiny",) if file == "nowhere.cif" else (file, "tiny")
            found.append(Try("structures", f"{command} {file}", words_of(line), words=(words,), files=files))
    for name, line, file, words in MODELS:
        found.append(
            Try(
                "structures", name, words_of(line), words=(words,), files=tuple(dict.fromkeys((file, "tiny", "cu.cif")))
            )
        )
    # finished results are kept, so that the same command can continue
    label = words_of(f"label nacl.cif -m {EMT} -o out.store -q")
    kept = ("out.store.labelling*",)
    found.append(Try("structures", "EMT on NaCl, label", label, words=("no frame",), files=("nacl.cif",), changes=kept))
    for name, line, file, words in GOOD:
        files, changes = (file, "tiny"), ("out.extxyz", f"{file.partition('.')[0]}-*")
        good = Try("odd but right", name, words_of(line), status=(0, 3), words=(words,), files=files, changes=changes)
        found.append(good)
    return found
