"""Converters of published weights of other packages to potentials of gnnpot.

    potential, card = CONVERTERS["m3gnet"]("m3gnet-mp-2021.2.8", {"model.json": Path("…"), "state.pt": Path("…")})

Each family has a module with such a function; its argument `files` maps the names of the published files to their
paths. Converters of multi-fidelity potentials also have the argument `fidelity`. Code in the files is never executed.
"""

from gnnpot.hub.importers import chgnet, m3gnet, nequix, sevennet

CONVERTERS = {
    "chgnet": chgnet.convert,
    "m3gnet": m3gnet.convert,
    "nequix": nequix.convert,
    "sevennet": sevennet.convert,
}
