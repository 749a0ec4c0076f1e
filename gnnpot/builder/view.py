"""Display of structures in notebooks with 3Dmol.js, which is included in gnnpot: nothing is downloaded.

Example::

    html(atoms)                    # a self-contained iframe, which `BuildResult` displays
"""

import html as escaping
import json
from importlib import resources

from ase import Atoms

#: structures with more atoms are drawn as lines
MAX_SPHERES = 3000

_PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8">
<style>html,body,#view{margin:0;width:100%;height:100%}</style>
<script>LIBRARY</script></head><body><div id="view"></div><script>
const data = STRUCTURE;
const viewer = $3Dmol.createViewer("view", {backgroundColor: "white"});
viewer.addModel(data.xyz, "xyz");
viewer.setStyle({}, data.small ? {sphere: {scale: 0.28}, stick: {radius: 0.12}} : {line: {}});
for (const [start, end] of data.edges) {
  const point = p => ({x: p[0], y: p[1], z: p[2]});
  viewer.addLine({start: point(start), end: point(end), color: "gray"});
}
viewer.zoomTo(); viewer.rotate(-80, "x"); viewer.render();
</script></body></html>"""


def library_source() -> str:
    """Return the source code of 3Dmol.js."""
    return resources.files(__package__).joinpath("assets/3Dmol-min.js").read_text(encoding="utf-8")


def html(atoms: Atoms, width: int = 640, height: int = 420) -> str:
    """Return an iframe that shows a structure and its cell.

    Args:
        atoms: The structure.
        width: Width in pixels.
        height: Height in pixels.

    Returns:
        Self-contained HTML.
    """
    lines = [str(len(atoms)), ""]
    lines += [f"{s} {x:.4f} {y:.4f} {z:.4f}" for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)]
    data = {"xyz": "\n".join(lines), "edges": _edges(atoms), "small": len(atoms) <= MAX_SPHERES}
    # a closing tag in the data would end the script
    structure = json.dumps(data).replace("</", "<\\/")
    page = _PAGE.replace("STRUCTURE", structure, 1).replace("LIBRARY", library_source(), 1)
    source = escaping.escape(page, quote=True)
    size = f'width="{width}" height="{height}"'
    return f'<iframe {size} style="border:0" sandbox="allow-scripts" srcdoc="{source}"></iframe>'


def _edges(atoms: Atoms) -> list[list[list[float]]]:
    """The twelve edges of the cell."""
    if atoms.cell.rank < 3:
        return []
    a, b, c = atoms.cell[:]
    edges = []
    for along, first, second in ((a, b, c), (b, a, c), (c, a, b)):
        for i in (0, 1):
            for j in (0, 1):
                start = i * first + j * second
                edges.append([start.round(4).tolist(), (start + along).round(4).tolist()])
    return edges
