"""Tasks of the builder process: build from sentences and recipes, read uploads, write files, read frames of jobs."""

import base64
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import iread, write

from gnnpot.builder import BuildResult, Recipe, execute, explain, load_recipe, read, summary
from gnnpot.builder.text.read import Reading
from gnnpot.errors import DataError
from gnnpot.studio.messages import say
from gnnpot.studio.worker.structures import cell_of, encode, to_atoms, to_payload

#: ASE's names of the formats of downloads
FORMATS = {"cif": "cif", "vasp": "vasp", "extxyz": "extxyz"}
#: patterns of the names of uploaded files (lower case), and a file name from which ASE recognises the format
UPLOADS = (
    (r".*\.cif", "upload.cif"),
    (r".*\.(ext)?xyz", "upload.xyz"),
    (r"(poscar|contcar).*|.*\.(vasp|poscar|contcar)", "POSCAR"),
)
#: sentences that probably change the present structure
CHANGE = re.compile(
    r"\s*(now|then|also|add|remove|delete|replace|substitute|put|fix|move|make it|set|change|increase|decrease|with)\b"
    r"|\s*(さらに|次に|つぎに|それに|そこに|これに|今度は|追加|変更)|.*(に変更|を追加|に変えて|に変える|にして)\s*[。.]?\s*$",
    re.IGNORECASE,
)
#: CIF of a crystal with one atom, read by `prepare_uploads`
EXAMPLE = """data_x
_cell_length_a 3
_cell_length_b 3
_cell_length_c 3
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cu 0 0 0
"""
#: number of frames of a trajectory that the page plays
MAX_FRAMES = 200


def prepare() -> None:
    """Import the modules that build structures, and read the library."""
    execute(load_recipe({"steps": [{"do": "bulk", "formula": "Cu"}, {"do": "slab", "miller": [1, 1, 1]}]}))
    read("rutile TiO2")


def prepare_uploads() -> None:
    """Import the modules that read files, by reading a file."""
    upload("x.cif", base64.b64encode(EXAMPLE.encode()).decode(), "en", 1)


def build(text: str, language: str, base: dict[str, Any] | None, mode: str, max_atoms: int) -> dict[str, Any]:
    """Build the structure of a sentence.

    Args:
        text: The sentence.
        language: Language of messages, `en` or `ja`.
        base: Recipe that the sentence may change.
        mode: `new` (`base` is not used), `change` (the sentence changes `base`), or `auto` (either).
        max_atoms: Largest number of atoms.
    """
    before = load_recipe(base, language) if base is not None else None
    reading = _read(text, language, before, mode)
    if reading.recipe is None:
        spans = [{"start": s.start, "end": s.end, "text": s.text, "near": s.suggestion} for s in reading.spans]
        return {"problem": str(reading.problem), "spans": spans}
    result = execute(reading.recipe, max_atoms=max_atoms)
    return _answer(result, [note.text for note in reading.notes])


def _read(text: str, language: str, before: Recipe | None, mode: str) -> Reading:
    """Return the first reading that gives a recipe; if there is none, the more likely reading with its problem."""
    ways: list[Recipe | None] = [None]
    if before is not None:
        either: list[Recipe | None] = [before, None] if CHANGE.match(text) else [None, before]
        ways = [None] if mode == "new" else [before] if mode == "change" else either
    readings = []
    for base in ways:
        readings.append(read(text, language, base))
        if readings[-1].recipe is not None:
            return readings[-1]
    return readings[0]


def run_recipe(recipe: dict[str, Any], language: str, max_atoms: int) -> dict[str, Any]:
    """Build the structure of a recipe. The recipe can't read files."""
    return _answer(execute(load_recipe(recipe, language), max_atoms=max_atoms), [])


def _answer(result: BuildResult, notes: list[str]) -> dict[str, Any]:
    found = summary(result)
    recipe = result.recipe
    lines = {language: explain(recipe, language).splitlines() for language in ("en", "ja")}
    return {
        "structure": to_payload(result.structure),
        "recipe": recipe.model_dump(mode="json", exclude_none=True),
        "chips": {key: [line.partition(". ")[2] for line in value] for key, value in lines.items()},
        "notes": [*notes, *found["notes"]],
        "warnings": found["warnings"],
    }


def upload(name: str, data: str, language: str, max_atoms: int) -> dict[str, Any]:
    """Read a structure from the content of a file (base64). The name is used only to determine the format."""
    plain = re.split(r"[/\\]", name)[-1]
    known = next((own for pattern, own in UPLOADS if re.fullmatch(pattern, plain.lower())), None)
    if known is None:
        return {"problem": say("upload_format", language, name=plain)}
    content = base64.b64decode(data)
    counted = content[:20].split(b"\n", 1)[0].strip()
    # checked before reading, because ASE would try to read as many atoms as the first line says
    if known == "upload.xyz" and counted.isdigit() and int(counted) > max_atoms:
        return {"problem": say("too_many_atoms", language, atoms=int(counted), limit=max_atoms)}
    from gnnpot.data.structure import check_structure
    from gnnpot.data.structure_files import read_structure

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / known
        path.write_bytes(content)
        try:
            atoms = read_structure(path)
            if len(atoms) > max_atoms:
                return {"problem": say("too_many_atoms", language, atoms=len(atoms), limit=max_atoms)}
            check_structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, plain)
        except DataError as problem:
            reason = re.sub(r"; give a file that ASE knows$", "", str(problem).replace(str(path), plain))
            return {"problem": say("upload_unreadable", language, reason=reason)}
    return {"structure": to_payload(atoms), "recipe": None, "chips": None, "notes": [], "warnings": []}


def export(structure: dict[str, Any], format: str) -> dict[str, Any]:
    """Return the content of a structure file in a format."""
    atoms = to_atoms(structure)
    if format == "vasp" and not atoms.cell.rank:
        atoms.center(vacuum=8.0)
    # POSCAR needs the atoms of an element together
    extra: dict[str, Any] = {"sort": True} if format == "vasp" else {}
    binary = io.BytesIO()
    stream: Any = binary if format == "cif" else io.StringIO()
    write(stream, atoms, format=FORMATS[format], **extra)
    return {"text": binary.getvalue().decode() if format == "cif" else stream.getvalue()}


def frames(path: str) -> dict[str, Any]:
    """Return the frames of a job's trajectory: at most `MAX_FRAMES` evenly spaced frames, and the last one."""
    found = _frames(Path(path))
    stride = max(1, -(-len(found) // MAX_FRAMES))
    kept = [(k, atoms) for k, atoms in enumerate(found) if k % stride == 0 or k == len(found) - 1]
    shown = [{"positions": encode(atoms.positions, "float32"), "cell": cell_of(atoms), "index": k} for k, atoms in kept]
    return {"frames": shown, "count": len(found)}


def frame(path: str, index: int) -> dict[str, Any]:
    """Return a frame of a job's trajectory as a structure."""
    found = _frames(Path(path))
    if not 0 <= index < len(found):
        raise DataError(f"frame {index}: the trajectory has {len(found)} frames")
    return {"structure": to_payload(found[index])}


def trajectory(path: str, target: str) -> dict[str, Any]:
    """Write the frames of a job's trajectory to another file as extended XYZ."""
    write(target, _frames(Path(path)), format="extxyz")
    return {}


def _frames(path: Path) -> list[Atoms]:
    return list(iread(path, index=":", format="traj")) if path.is_file() else []


ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "build": build, "run_recipe": run_recipe, "upload": upload, "export": export, "frames": frames,
    "frame": frame, "trajectory": trajectory,
}  # fmt: skip
