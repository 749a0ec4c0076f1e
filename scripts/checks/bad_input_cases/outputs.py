"""Outputs that must not be written, for every command that writes one. Nothing in the folder may change."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.structures import EMT, words_of

#: name of the output -> words of the message; `{}` in a name is the ending
FILES = {
    # if the ending is checked first, it determines the message
    "mine": "folder|ending|name it|as extended XYZ",
    ".": "name of an output|folder|ending|name it|as extended XYZ",
    "": "name of an output|--output|folder",
    "{long}": "bytes",
    "nowhere/out{}": "does not exist",
    "mine/config.yaml/out{}": "folder|not a",
    "there{}": "exists",
    "link{}": "link",
    "fifo{}": "FIFO",
    "/dev/null": "device|ending|name|format|takes",
    "/proc/out{}": "read-only|can't be|does not exist|written",
}
#: command -> (line, ending of the file)
WRITE_FILES = {
    "relax": (f"relax cu.cif -m {EMT} --steps 1 -q -o OUT", ".extxyz"),
    "relax --trajectory": (f"relax cu.cif -m {EMT} --steps 1 -q --trajectory OUT -o fine.extxyz", ".traj"),
    "md --trajectory": (f"md cu.cif -m {EMT} --steps 1 -q --log fine.log --trajectory OUT", ".traj"),
    "md --log": (f"md cu.cif -m {EMT} --steps 1 -q --trajectory fine.traj --log OUT", ".log"),
    "md zarr": (f"md cu.cif -m {EMT} --steps 1 -q --log fine.log --trajectory OUT", ".zarr"),
    "predict": ("predict cu.cif -m tiny -q -o OUT", ".extxyz"),
    "choose": ("data choose frames.extxyz -n 2 -q -o OUT", ".extxyz"),
    "split": ("data split cu.store -o OUT --by frame --fractions a=0.5,b=0.5", ".json"),
    "build": ("build 'copper 2x2x2' -o OUT", ".extxyz"),
    "build --save-recipe": ("build 'copper 2x2x2' --save-recipe OUT", ".json"),
    "solve": ("functional solve mg.cif -f tf -o OUT", ".cube"),
    "plot": ("functional plot mg.cif -f tf -o OUT", ".png"),
    "functional evaluate": ("functional evaluate tf mine -o OUT", ".json"),
}
#: name of the folder -> words of the message
FOLDERS = {
    ".": "name of an output|folder that you are in|name of|not",
    "": "name|--output|folder",
    "{long}": "bytes|name",
    "mine": "exists|did not make|not made|not a|is no folder|not empty|no part of|no sample",
    "there": "file|exists",
    "link": "link|exists",
    "/proc/out": "can't be made|read-only|can't be written|not curated",
    "there/out": "not a folder|can't be|Not a directory",
}
#: command -> (line, whether it takes --overwrite or --fresh)
WRITE_FOLDERS = {
    "convert": ("data convert frames.extxyz -o OUT", "--overwrite"),
    "label": (f"label cu.cif -m {EMT} --distort original -q -o OUT", "--overwrite"),
    "train": ("train good.yaml -q --set run=OUT", "--fresh"),
    "finetune": ("finetune tiny frames.extxyz -q --set max_steps=2 -o OUT", "--fresh"),
    "distil": ("distil tiny frames.extxyz -q --set rounds=1 -o OUT", "--fresh"),
    "mp": ("data mp --mptrj frames.extxyz -o OUT", "--overwrite"),
    "conductivity": (f"conductivity cu.cif -m {EMT} --ion Cu --production 3 -q -o OUT", ""),
    "conductivity of a trajectory": ("conductivity --trajectory cu.traj --frame-time 1 -T 300 --ion Cu -o OUT", ""),
    "evaluate --report": ("evaluate tiny frames.extxyz --report OUT", ""),
    "data report": ("data report cu.store -o OUT", ""),
    "functional train": ("functional train mine -q -o OUT", ""),
    "functional data": ("functional data OUT --structures mg.cif --triples 0 -q", ""),
}
#: names checked by code common to all commands; each is tried with a third of the commands
RARE = ("", "{long}", "nowhere/out{}", "mine/config.yaml/out{}", "/proc/out{}", "/proc/out", "there/out", "/dev/null")
_LONG = "n" * 300
_FILES = ("cu.cif", "mg.cif", "frames.extxyz", "cu.store", "cu.traj", "tiny", "good.yaml", "mine")
_SETUP = """
import os
open("there", "w").write("mine")
for ending in (".extxyz", ".traj", ".log", ".zarr", ".json", ".cube", ".png"):
    open("there" + ending, "w").write("mine")
    os.symlink("there" + ending, "link" + ending)
    os.mkfifo("fifo" + ending)
os.symlink("mine", "link")
"""
#: (name, line, words): two outputs with the same path, an output that would replace an input, endings
ODD = (
    ("trajectory and log", f"md cu.cif -m {EMT} -q --trajectory x --log x", "both|ending"),
    ("trajectory and log, by another name", f"md cu.cif -m {EMT} -q --trajectory x.traj --log ./x.traj", "both"),
    ("output and trajectory", f"relax cu.cif -m {EMT} -q -o x.traj --trajectory mine/../x.traj", "both"),
    ("output is the structure", f"relax cu.cif -m {EMT} -q -o cu.cif", "exists|input"),
    ("output is the structure, overwritten", f"relax cu.cif -m {EMT} -q --steps 1 -o cu.cif --overwrite", "input|both"),
    ("log is the structure", f"md cu.cif -m {EMT} -q --log cu.cif --overwrite", "input|both"),
    ("predictions replace their input", "predict frames.extxyz -m tiny -q -o frames.extxyz --overwrite", "input|both"),
    ("choice replaces its input", "data choose frames.extxyz -n 2 -q -o frames.extxyz --overwrite", "input|both"),
    ("store replaces its input", "data convert cu.store -o cu.store --overwrite", "input|both|same"),
    ("labels replace their input", f"label cu.store -m {EMT} --distort original -q -o cu.store --overwrite",
     "input|both|same"),
    ("recipe and structure", "build 'copper 2x2x2' -o x.json --save-recipe x.json", "both"),
    ("split replaces the store", "data split cu.store -o cu.store", "folder"),
    ("unknown ending", f"relax cu.cif -m {EMT} -q -o out.nonsense", "ending"),
    ("no ending", f"relax cu.cif -m {EMT} -q -o out", "ending"),
    ("ending that ASE can't write", f"relax cu.cif -m {EMT} -q -o out.OUTCAR", "ending"),
    ("trajectory in another format", f"md cu.cif -m {EMT} -q --trajectory out.pdb", "ending|traj"),
    ("relaxation in another format", f"relax cu.cif -m {EMT} -q --trajectory out.xyz", "traj"),
    ("predictions in another format", "predict cu.cif -m tiny -o out.cif -q", "extxyz"),
    ("a choice in a format of one", "data choose frames.extxyz -n 2 -o out.cube -q", "ending"),
    ("zarr of no element", f"md cu.cif -m {EMT} -q --trajectory out.zarr --elements Zn", "Zn"),
    ("elements of no zarr", f"md cu.cif -m {EMT} -q --trajectory out.traj --elements Cu", "zarr"),
    ("unknown element, overwriting", f"md nacl.cif -m {EMT} -q --trajectory there.traj --log there.log --overwrite",
     "Na|element"),
    ("unknown element, relaxing", f"relax nacl.cif -m {EMT} -q -o there.extxyz --overwrite", "Na|element"),
    ("resume what is no trajectory", f"md cu.cif -m {EMT} -q --trajectory there.traj --log there.log --resume",
     "there.traj"),
    ("relax onto a device", f"relax cu.cif -m {EMT} -q -o /dev/null --overwrite", "ending|device"),
    ("plot as text", "functional plot mg.cif -f tf -o out.txt", "ending|png"),
    ("plot in a folder", "functional plot mg.cif -f tf -o mine --overwrite", "folder"),
    ("train here", "train good.yaml -q --set run=.", "name|folder"),
    ("train here, again", "train good.yaml -q --set run=. --fresh", "name|folder"),
    ("train above", "train good.yaml -q --set run=.. --fresh", "name|folder"),
    ("finetune here, again", "finetune tiny frames.extxyz -q -o . --fresh", "name|folder"),
    ("distil here, again", "distil tiny frames.extxyz -q -o . --fresh", "name|folder"),
    ("train into the model", "finetune tiny frames.extxyz -q -o tiny --fresh", "input|did not make"),
)  # fmt: skip


def tries() -> list[Try]:
    """All tries with outputs."""
    found = []
    for name, words in FILES.items():
        for number, (command, (line, ending)) in enumerate(WRITE_FILES.items()):
            if name in RARE and (number + len(name)) % 3:
                continue
            output = name.replace("{long}", _LONG + ending).replace("{}", ending)
            for more in ([], ["--overwrite"]):
                if more and (
                    name == "there{}" or command == "split" or not name.startswith(("mine", "link", "fifo", "/dev"))
                ):
                    continue
                arguments = tuple(output if w == "OUT" else w for w in words_of(line)) + tuple(more)
                title = f"{command}{' --overwrite' if more else ''} to {name or 'nothing'}"
                found.append(Try("outputs", title, arguments, words=(words,), files=_FILES, setup=_SETUP))
    for name, words in FOLDERS.items():
        for number, (command, (line, again)) in enumerate(WRITE_FOLDERS.items()):
            if name in RARE and (number + len(name)) % 3:
                continue
            output = name.replace("{long}", _LONG)
            for more in ([], [again]) if again else ([],):
                arguments = tuple(w.replace("OUT", output) if w.endswith("OUT") else w for w in words_of(line))
                if not output and command == "functional data":
                    arguments = tuple("" if w == "OUT" else w for w in words_of(line))
                title = f"{command}{f' {again}' if more else ''} into {name or 'nothing'}"
                found.append(Try("outputs", title, (*arguments, *more), words=(words,), files=_FILES, setup=_SETUP))
    for name, line, words in ODD:
        found.append(Try("outputs", name, words_of(line), words=(words,), files=(*_FILES, "nacl.cif"), setup=_SETUP))
    return found
