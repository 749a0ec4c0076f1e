"""Files are UTF-8 in any locale: no text file is opened in the encoding of the machine."""

import ast
import re
from pathlib import Path

import gnnpot

ROOT = Path(gnnpot.__file__).parent
#: whose `open` is of bytes, or of no file
BINARY = ("archive", "gzip", "lmdb", "model", "ulm", "webbrowser")
#: methods that open text, and at which position they take an encoding
TEXT = {"read_text": 0, "write_text": 1}


def opened_without_encoding(tree):
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(k.arg == "encoding" for k in node.keywords):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in TEXT and isinstance(node.func, ast.Attribute):
            if len(node.args) <= TEXT[name]:
                yield node.lineno
        elif name == "open" and not _binary(node) and not _of_another_kind(node):
            yield node.lineno


def _binary(node):
    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return any(isinstance(text, str) and "b" in text and set(text) <= set("rwxab+") for text in texts)


def _of_another_kind(node):
    """`DIRECTORY.open(config)`, `ulm.open(path)`: not of files, or not of text."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    return isinstance(owner, ast.Name) and (owner.id.isupper() or owner.id[0].isupper() or owner.id in BINARY)


def test_text_files_are_utf_8():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted(ROOT.rglob("*.py"))
        if re.search(r"open\(|read_text|write_text", path.read_text(encoding="utf-8"))
        for line in opened_without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, f"give encoding='utf-8': {found}"
