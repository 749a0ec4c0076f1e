"""Small frames and files that the tests of `gnnpot.data` share."""

import numpy as np
import pytest

from gnnpot.data.frame import Frame, Provenance


def make_frame(symbols=(11, 17), seed=0, material="", source="made", source_id="0", **changes) -> Frame:
    """A random periodic frame with all labels, atoms well apart."""
    rng = np.random.default_rng(seed)
    numbers = np.array(symbols)
    n = len(numbers)
    cell = 4.0 * n ** (1 / 3) * np.eye(3) + rng.normal(0, 0.1, (3, 3))
    grid = np.stack(np.meshgrid(*[np.arange(np.ceil(n ** (1 / 3)))] * 3), -1).reshape(-1, 3)[:n]
    labels = {
        "energy": float(rng.normal()),
        "forces": rng.normal(size=(n, 3)),
        "stress": rng.normal(size=6) * 0.01,
        "magmoms": rng.normal(size=n),
    }
    provenance = Provenance(source, source_id, material, "VASP 5.4", "PBE", {"Fe": 5.3}, "PBE_52", "relax")
    frame = Frame(
        numbers=numbers, positions=3.5 * grid + rng.normal(0, 0.1, (n, 3)), cell=cell, pbc=True, provenance=provenance,
        **labels,
    )  # fmt: skip
    return frame.replace(**changes) if changes else frame


def same(a: Frame, b: Frame) -> bool:
    """Whether two frames are equal to the last bit, types included."""
    for name in ("numbers", "positions", "cell", "pbc", "forces", "stress", "magmoms"):
        x, y = getattr(a, name), getattr(b, name)
        if (x is None) != (y is None) or (x is not None and (x.dtype != y.dtype or not np.array_equal(x, y))):
            return False
    return a.energy == b.energy and a.provenance == b.provenance


@pytest.fixture
def frames() -> list[Frame]:
    """Twelve frames of four materials; some lack labels."""
    made = []
    for k in range(12):
        symbols = [(11, 17), (3, 9), (14,) * 3, (26, 8, 8)][k % 4]
        made.append(make_frame(symbols, seed=k, material=f"mp-{k % 4}", source_id=str(k)))
    made[1] = made[1].replace(energy=None, forces=None, stress=None, magmoms=None, provenance=Provenance())
    made[2] = made[2].replace(stress=None, pbc=False, cell=np.zeros((3, 3)))
    made[3] = made[3].replace(pbc=[True, True, False])
    return made
