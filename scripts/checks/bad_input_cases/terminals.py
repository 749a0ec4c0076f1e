"""Terminal output: markup and control characters in names, locales other than UTF-8, narrow terminals, help."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.structures import EMT, words_of

#: file names of users and attackers
NAMES = (
    "[/x]",
    "[bold red]x",
    "[link=file:///etc]a",
    "a\x1b[31mb",
    "a\x1b]0;title\x07b",
    "a\nb",
    "a\x9b31mb",
    ":smile:",
    "[]",
)
#: {command: arguments}; NAME is the name of the structure or the output
GOOD = {
    "relax": f"relax NAME.cif -m {EMT} -q --steps 2",
    "md": f"md NAME.cif -m {EMT} -q --steps 2",
    "predict": "predict NAME.cif -m tiny -o NAME.extxyz -q",
    "convert": "data convert frames.extxyz -o NAME3.store",
    "info": "data info NAME.store",
    "split": "data split NAME.store -o NAME.json --by frame --fractions a=0.5,b=0.5",
    "choose": "data choose frames.extxyz -n 2 -o NAME.extxyz -q",
    "check": "check tiny NAME.cif",
    "label": f"label NAME.cif -m {EMT} --distort original -o NAME2.store -q",
    "evaluate": "evaluate tiny frames.extxyz --report NAME",
    "card": "card NAME.model",
    "build": "build 'copper 2x2x2' -o NAME.extxyz",
    "conductivity": f"conductivity NAME.cif -m {EMT} --ion Cu --production 3 --equilibration 0.2 -T 300 -q",
}
BAD = {
    "relax": f"relax NAME.none -m {EMT}",
    "model": "relax frames.extxyz -m NAME",
    "card": "card NAME",
    "info": "data info NAME.none",
    "train": "train NAME.yaml",
    "set": "train good.yaml --set NAME=3",
    "import": "import NAME",
    "output": f"relax frames.extxyz -m {EMT} -o NAME.none",
    "build": "build NAME",
    "element": "check tiny --elements NAME",
    "fraction": "data split cu.store -o out.json --fractions NAME=1",
    "config": "config NAME",
}
LOCALES = ("C", "en_US.ISO-8859-1", "ja_JP.eucJP", "zh_CN.gbk", "POSIX")
ENCODINGS = ("latin-1", "euc-jp", "gbk", "ascii")
LINES = {
    "models": ("models", "gnnpot-1"),
    "card": ("card gnnpot-1", "elements"),
    "card of one's own": ("card tiny", "m3gnet"),
    "help": ("relax --help", "fmax"),
    "convert help": ("data convert --help", "gpa:tension"),
    "relax": (f"relax cu.cif -m {EMT} -q", "energy"),
    "md": (f"md cu.cif -m {EMT} -q --steps 2", "temperature"),
    "error with Å": (f"relax tinycell.extxyz -m {EMT} -q", "atoms per"),
    "config": ("config m3gnet", "model"),
    "train": ("train good.yaml -q", "model:"),
    "info": ("data info cu.store", "frames"),
    "check": ("check tiny cu.cif", "check"),
    "build": ("build 銅の結晶 -o out.extxyz", ""),
}
_STATUS = {"error with Å": (1,), "build": (0, 1), "relax": (0, 3)}
_FILES = ("frames.extxyz", "tiny", "good.yaml", "cu.store", "cu.cif", "tinycell.extxyz")


def _named(name: str) -> str:
    return (
        f"import os, shutil; n = {name!r}\nos.makedirs(os.path.dirname(n) or '.', exist_ok=True)\nshutil.copy('cu.cif', n + '.cif'); shutil.copytree('cu.store', n + '.store');"
        "shutil.copytree('tiny', n + '.model')\n"
    )


def tries() -> list[Try]:
    """All tries with terminals."""
    found = []
    control = ("\x1b", "\x07", "\x9b", "MarkupError")
    for number, name in enumerate(NAMES):
        for k, (command, line) in enumerate(GOOD.items()):
            if (k + number) % 4 and command != "convert":
                continue
            arguments = tuple(word.replace("NAME", name) for word in words_of(line))
            found.append(
                Try(
                    "odd but right",
                    f"{command} of {name!r}",
                    arguments,
                    status=(0, 3),
                    absent=control,
                    files=_FILES,
                    setup=_named(name),
                    changes=("*",),
                )  # fmt: skip
            )
        for k, (command, line) in enumerate(BAD.items()):
            if (k + number) % 3 and command != "relax":
                continue
            arguments = tuple(word.replace("NAME", name) for word in words_of(line))
            found.append(Try("what is shown", f"{command} of {name!r}", arguments, absent=control, files=_FILES))
    for command, (line, words) in LINES.items():
        for number, encoding in enumerate(ENCODINGS):
            if number and (len(command) + number) % 3:
                continue
            found.append(
                Try(
                    "locales",
                    f"{command} in {encoding}",
                    words_of(line),
                    status=_STATUS.get(command, (0,)),
                    words=(words,),
                    absent=("UnicodeEncodeError", "UnicodeDecodeError"),
                    files=_FILES,
                    environment={"BAD_INPUT_ENCODING": encoding},
                    changes=("*",),
                )  # fmt: skip
            )
    for command in ("models", "relax", "card"):
        line, words = LINES[command]
        for name in LOCALES[:3]:
            found.append(
                Try(
                    "locales",
                    f"{command} under {name}, PYTHONUTF8=0",
                    words_of(line),
                    status=_STATUS.get(command, (0,)),
                    words=(words,),
                    files=_FILES,
                    fresh=True,
                    changes=("*",),
                    environment={
                        "LC_ALL": name,
                        "PYTHONUTF8": "0",
                        "PYTHONCOERCECLOCALE": "0",
                        "PYTHONIOENCODING": "latin-1",
                    },
                )  # fmt: skip
            )
    for width in ("1", "20", "40"):
        for line in ("models", "relax --help", "card gnnpot-1", "data info cu.store", f"relax cu.cif -m {EMT} -q"):
            found.append(
                Try(
                    "odd but right",
                    f"{line} in {width} columns",
                    words_of(line),
                    status=(0, 3),
                    files=_FILES,
                    environment={"COLUMNS": width},
                    changes=("*",),
                )  # fmt: skip
            )
    return found
