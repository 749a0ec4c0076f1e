"""Files and lines of each subpackage, and of what reading one architecture takes.

    python scripts/checks/package_size.py                 # this checkout
    python scripts/checks/package_size.py --root other/checkout

Lines are counted as `wc -l` counts them. An architecture is read in the files that its page imports from
`gnnpot/graphs` and `gnnpot/models`, without the compiled copies in `gnnpot/models/fast`, and in `gnnpot/potential.py`.
"""

import argparse
import ast
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
    """The files that one reads for an architecture."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="folder that holds gnnpot/")
    package = parser.parse_args().root / "gnnpot"
    found = sizes(package)
    for name, (files, total) in found.items():
        print(f"{name:28} {files:4d} {total:7d}")
    print(f"{'all':28} {sum(f for f, _ in found.values()):4d} {sum(n for _, n in found.values()):7d}")
    for name in ARCHITECTURES:
        paths = page(package, name)
        if paths[0].is_file() and paths[0].parent.name == "models":
            print(f"{name:28} {len(paths):4d} {sum(map(lines, paths)):7d}   {' '.join(p.name for p in paths)}")


if __name__ == "__main__":
    main()
