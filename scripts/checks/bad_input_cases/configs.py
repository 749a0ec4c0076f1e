"""Malformed YAML files, for every command that reads one."""

from __future__ import annotations

from bad_input_cases.attempt import Try
from bad_input_cases.structures import EMT, words_of

#: file -> words of the message
BAD = {
    "bomb.yaml": "values",
    "deep.yaml": "levels",
    "date.yaml": "seed|twice|unknown option",
    "digits.yaml": "digits|can't be read|seed",
    "twice.yaml": "twice",
    "alias.yaml": "alias",
    "tab.yaml": "YAML",
    "list.yaml": "mapping",
    "word.yaml": "mapping",
    "python.yaml": "YAML",
    "latin.yaml": "UTF-8",
    "null.yaml": "null|none|expected|missing|unknown",
    "loop.yaml": "extends",
    "extends.yaml": "nowhere.yaml",
    "extendslist.yaml": "extends",
    "binary.yaml": "YAML|UTF-8",
    "unknown.yaml": "learning_rate|unknown option",
    "fifo.yaml": "no ordinary file",
    "nowhere.yaml": "nowhere.yaml",
    "mine": "no ordinary file|directory",
}
COMMANDS = {
    "train": "train FILE -q",
    "finetune": "finetune tiny frames.extxyz --config FILE -o out -q",
    "distil": "distil tiny frames.extxyz --config FILE -o out -q",
    "label": f"label cu.cif -m {EMT} --config FILE -o out.store -q",
    "mp": "data mp --mptrj frames.extxyz --config FILE -o out.store",
    "functional": "functional train mine --config FILE -o out -q",
}


def tries() -> list[Try]:
    """All tries with configurations."""
    found = []
    for file, words in BAD.items():
        for number, (command, line) in enumerate(COMMANDS.items()):
            if number > 1 and (number + len(file)) % 2:
                continue
            files = (
                "tiny",
                "frames.extxyz",
                "cu.cif",
                "mine",
                *((file,) if file not in ("nowhere.yaml", "mine") else ()),
            )
            found.append(
                Try(
                    "configurations",
                    f"{command} {file}",
                    words_of(line.replace("FILE", file)),
                    words=(words,),
                    files=files,
                )
            )
    files = ("frames.extxyz", "functions.yaml")
    found.append(
        Try(
            "configurations",
            "18,000 symmetry functions",
            words_of("train functions.yaml -q"),
            words=("function",),
            files=files,
        )
    )
    found.append(
        Try("configurations", "an empty file", words_of("train empty.yaml"), words=("missing",), files=("empty.yaml",))
    )
    return found
