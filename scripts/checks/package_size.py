"""Count files and lines of each subpackage, and of the code that one has to read for one architecture.

    python scripts/checks/package_size.py                 # this checkout
    python scripts/checks/package_size.py --root other/checkout
    python scripts/checks/package_size.py --page docs/architecture.md     # write to the last column of its tables

Lines are counted as by `wc -l`. The code of an architecture is the module of the architecture, the modules that it
imports from `gnnpot/models`, without those shared by all architectures (`base.py`, `memory.py`) and the compiled
backends in `gnnpot/models/fast`, and `gnnpot/graphs/graph.py` and `gnnpot/potential.py`.
"""

import argparse
import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ARCHITECTURES = ("m3gnet", "chgnet", "sevennet", "nequix", "hdnnp")


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def sizes(package: Path) -> dict[str, tuple[int, int]]:
    """(files, lines) by subpackage."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).parts[0]
        files, total = found.get(name, (0, 0))
        found[name] = files + 1, total + lines(path)
    return found


def page(package: Path, name: str) -> list[Path]:
    """Files with the code of an architecture."""
    waiting, seen = [package / "models" / f"{name}.py"], []
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.append(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gnnpot.models."):
                other = package.joinpath(*node.module.split(".")[1:]).with_suffix(".py")
                if "fast" not in other.parts and other.name not in ("base.py", "memory.py"):
                    waiting.append(other)
    return [*seen, package / "graphs" / "graph.py", package / "potential.py"]


def write_page(path: Path, counted: dict[str, tuple[int, int]]) -> None:
    """Write the numbers to the last column of the rows with these names, below the heading "Size"."""
    before, heading, text = path.read_text().partition("\n## Size\n")
    for name, (files, total) in counted.items():
        row = re.compile(rf"^(\| `?{re.escape(name)}`? \|.*\|)[^|\n]*\|$", re.MULTILINE)
        text, changed = row.subn(rf"\g<1> {files}, {total:,} |", text)
        if changed != 1:
            raise SystemExit(f"{path}: has {changed} rows for {name}; give it one")
    path.write_text(before + heading + text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="folder that contains gnnpot/")
    parser.add_argument("--page", type=Path, help="page whose tables of sizes are updated")
    arguments = parser.parse_args()
    package = arguments.root / "gnnpot"
    counted = sizes(package)
    counted["all"] = sum(f for f, _ in counted.values()), sum(n for _, n in counted.values())
    read = {name: page(package, name) for name in ARCHITECTURES}
    counted |= {
        name: (len(paths), sum(map(lines, paths))) for name, paths in read.items() if paths[0].parent.name == "models"
    }
    for name, (files, total) in counted.items():
        print(f"{name:28} {files:4d} {total:7d}   {' '.join(p.name for p in read.get(name, ()))}".rstrip())
    if arguments.page is not None:
        small = ("__init__.py", "__main__.py")
        write_page(arguments.page, {name: size for name, size in counted.items() if name not in small})


if __name__ == "__main__":
    main()
