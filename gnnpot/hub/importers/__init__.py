"""Published weights of other packages, read from their files and turned into potentials of ours.

    potential, card = CONVERTERS["m3gnet"]("m3gnet-mp-2021.2.8", {"model.json": Path("…"), "state.pt": Path("…")})

Each family has a module with such a function; `files` maps the plain names of the published files to where they lie.
Families with multi-fidelity potentials take `fidelity` too. Nothing in the files is executed.
"""

from gnnpot.hub.importers import chgnet, m3gnet, nequix, sevennet

CONVERTERS = {
    "chgnet": chgnet.convert,
    "m3gnet": m3gnet.convert,
    "nequix": nequix.convert,
    "sevennet": sevennet.convert,
}
