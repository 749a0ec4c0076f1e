"""What a frame refuses."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from gnnpot.data.frame import Frame, FrameError, check_distances

from .conftest import make_frame, same


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"energy": np.nan}, "energy not finite"),
        ({"forces": np.full((2, 3), np.inf)}, "forces not finite"),
        ({"numbers": [11, 0]}, "unknown element"),
        ({"numbers": []}, "positions of a wrong shape"),
        ({"cell": np.diag([4.0, 4.0, 0.0])}, "cell without volume"),
        ({"positions": np.zeros((2, 3))}, "atoms at one place"),
        ({"stress": np.zeros((3, 3))}, "stress of a wrong shape"),
    ],
)
def test_a_bad_frame_is_refused_with_its_reason(changes, reason):
    with pytest.raises(FrameError) as caught:
        make_frame(**changes)
    assert caught.value.reason == reason
    assert str(caught.value).startswith("made [0]: ")


def test_an_atom_and_anothers_image_at_one_place_are_seen():
    cell = np.array([[4.0, 0, 0], [3.9, 1.0, 0], [0.3, 0.2, 5.0]])
    with pytest.raises(FrameError, match="atoms 0 and 1"):
        check_distances(np.array([[0, 0, 0], cell.sum(0) + 0.01]), cell, np.ones(3, bool), "here")
    check_distances(np.array([[0, 0, 0], cell.sum(0) + 0.01]), cell, np.zeros(3, bool), "here")


def test_a_frame_stays_as_it_was_when_the_atoms_move_on():
    """EMT fills one array with the forces of each step."""
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    frames, expected = [], []
    for step in range(3):
        atoms.rattle(0.05, seed=step)
        atoms.set_cell(1.01 * atoms.cell.array, scale_atoms=True)
        forces = atoms.get_forces()
        frames.append(Frame.from_atoms(atoms))
        expected.append((atoms.positions.copy(), atoms.cell.array.copy(), forces))
    for frame, (positions, cell, forces) in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.positions, positions)
        np.testing.assert_array_equal(frame.cell, cell)
        np.testing.assert_array_equal(frame.forces, forces)


def test_a_trusted_frame_is_the_frame():
    frame = make_frame()
    copy = Frame.trusted(**{name: getattr(frame, name) for name in Frame.__slots__})
    assert same(frame, copy)
