"""A small potential of each architecture, with random weights that give forces of about an eV/Å."""

import torch

from gnnpot.data.references import ElementReferences
from gnnpot.models import build_model, find_architecture
from gnnpot.models.hdnnp import HDNNPConfig
from gnnpot.models.symmetry_sets import BehlerSet
from gnnpot.models.zbl import ZBL, ZBLConfig
from gnnpot.potential import Potential

ELEMENTS = ("Na", "Cl")
SMALL = {
    "m3gnet": {"units": 8, "blocks": 2, "cutoff": 4.0, "three_body_cutoff": 3.5},
    "chgnet": {"units": 8, "convolutions": 3, "cutoff": 4.0, "bond_cutoff": 3.2},
    "sevennet": {"channels": (4, 3), "layers": 2, "radial_hidden": (6,), "cutoff": 4.0, "cutoff_on": 3.5},
    "nequix": {"channels": (4, 3), "layers": 2, "radial_hidden": (6,), "cutoff": 4.0},
}


NAMES = ("hdnnp", *SMALL)


def make(name: str) -> Potential:
    """A potential with repulsion of nuclei and energies of elements, in float64."""
    torch.manual_seed(2)
    if name == "hdnnp":
        model, scale = build_model(HDNNPConfig(elements=ELEMENTS, symmetry_set=BehlerSet(), hidden=(8,))), 50.0
    else:
        model, scale = build_model(find_architecture(name).config(elements=ELEMENTS, **SMALL[name])), 5.0
    if name == "m3gnet":
        with torch.no_grad():
            for parameter in model.parameters():
                # fresh weights say nearly nothing
                parameter.mul_(2)
    if name in ("sevennet", "nequix"):
        for layer in model.layers:
            layer.convolution.denominator.fill_(4.0)
    references = ElementReferences.from_mapping({"energies": {"Na": -1.3, "Cl": -1.8}})
    terms = [ZBL(ZBLConfig(elements=ELEMENTS))]
    return Potential(model.double(), references, energy_scale=scale, terms=terms)
