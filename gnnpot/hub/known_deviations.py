"""Known violations of physical laws by published potentials, with reasons; `gnnpot check` reports them as known.

    for known in known_deviations(card, potential):
        print(known.check, known.quantity, known.largest, known.reason)

Deviations of an architecture, or of the form in which its weights were published, are defined here; deviations of a
single potential are in `known_deviations` of its card.
"""

from gnnpot.hub.card import Card, KnownDeviation
from gnnpot.models import M3GNetConfig, SevenNetConfig
from gnnpot.potential import Potential

_EVEN = (
    "in SevenNet's published form, which this potential has, all features count as even under inversion, so that a "
    "structure and its mirror image differ"
)
_MATGL = (
    "matgl's weights were trained with a radial basis that does not vanish at the cutoff, so that forces jump where an "
    "atom passes it"
)
#: largest force jump, eV/Å; m3gnet-mp-2021.2.8 has 0.59 for Na-Cl (`physics.json`)
_MATGL_JUMP = 0.7


def known_deviations(card: Card | None, potential: Potential) -> tuple[KnownDeviation, ...]:
    """Return the known deviations of a potential: those of its architecture, then those of its card."""
    config = getattr(potential.model, "config", None)
    found: tuple[KnownDeviation, ...] = ()
    if isinstance(config, SevenNetConfig):
        bounds = {"energy": 5e-4, "forces": 1e-2, "stress": 1e-4}
        found = tuple(KnownDeviation("reflection", name, largest, _EVEN) for name, largest in bounds.items())
    elif isinstance(config, M3GNetConfig) and config.radial_basis == "spherical_bessel":
        checks = ("smooth dimer", "smooth cluster")
        found = tuple(KnownDeviation(check, "force jump", _MATGL_JUMP, _MATGL) for check in checks)
    return (*found, *(card.known_deviations if card is not None else ()))
