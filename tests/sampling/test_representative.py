"""Frames that stand for others: of frames of known kinds, and of molecular dynamics."""

import numpy as np
import pytest
from ase.build import bulk

from gnnpot.data import Frame
from gnnpot.errors import ConfigError
from gnnpot.sampling import representative
from gnnpot.sampling.representative import choose_frames


def rattled(amplitude: float, seed: int, a: float = 3.6, symbol: str = "Cu") -> Frame:
    atoms = bulk(symbol, "fcc", a=a, cubic=True).repeat((2, 2, 1))
    atoms.rattle(amplitude, seed=seed)
    return Frame.from_atoms(atoms)


def test_each_kind_is_chosen_and_what_differs_most_often():
    # 30 all but equal crystals, 12 compressed ones, 12 disordered ones, each of which is another
    kinds = [("cold", 0.001, 3.6)] * 30 + [("dense", 0.001, 3.3)] * 12 + [("liquid", 0.5, 3.7)] * 12
    frames = [rattled(amplitude, seed, a) for seed, (_, amplitude, a) in enumerate(kinds)]
    choice = choose_frames(frames, 10)
    found = [kinds[k][0] for k in choice.indices]
    assert set(found[:3]) == {"cold", "dense", "liquid"} and found.count("liquid") == 8
    assert len(set(choice.indices)) == 10
    assert all(b <= a for a, b in zip(choice.distances, choice.distances[1:], strict=False))
    assert choice.distances[-1] < 0.5 * choice.distances[0]
    assert choose_frames(frames, 4).indices == choice.indices[:4]


def test_turned_and_renumbered_frames_are_the_same_to_it():
    frames = [rattled(0.05 * (1 + seed % 5), seed) for seed in range(20)]
    rng = np.random.default_rng(0)
    turned = []
    for frame in frames:
        atoms = frame.to_atoms()
        atoms.rotate(40, (1, 2, 3), rotate_cell=True)
        turned.append(Frame.from_atoms(atoms[rng.permutation(len(atoms))]))
    first, second = choose_frames(frames, 6), choose_frames(turned, 6)
    assert first.indices == second.indices
    assert np.allclose(first.distances, second.distances, rtol=1e-4)


def test_elements_are_told_apart():
    frames = [rattled(0.01, seed) for seed in range(8)] + [rattled(0.01, seed, a=4.1, symbol="Ag") for seed in range(3)]
    told = []
    choice = choose_frames(frames, 2, progress=lambda done, total: told.append((done, total)))
    assert sorted(k >= 8 for k in choice.indices) == [False, True] and told[-1] == (11, 11)


def test_sites_of_a_crystal_count_alike_however_many_frames_there_are(monkeypatch):
    # of two sites of copper one moves in half of the frames; atoms are sampled, and their number is that of the frames
    frames = []
    for seed in range(40):
        atoms = rattled(0.001, seed).to_atoms()
        atoms.positions[0] += 0.3 * (seed % 2)
        frames.append(Frame.from_atoms(atoms))
    monkeypatch.setattr(representative, "MAX_TARGETS", len(frames))
    assert sorted(k % 2 for k in choose_frames(frames, 2).indices) == [0, 1]


def test_too_many_atoms_are_refused(monkeypatch):
    monkeypatch.setattr(representative, "MAX_ATOMS", 100)
    with pytest.raises(ConfigError, match="more than 100 atoms in 7 of 9 frames"):
        choose_frames([rattled(0.1, seed) for seed in range(9)], 2)


def test_all_frames_of_all_can_be_chosen_and_no_more():
    frames = [rattled(0.1, seed) for seed in range(3)] * 2
    choice = choose_frames(frames, 6)
    assert sorted(choice.indices) == list(range(6))
    # the second half tells nothing new
    assert {k % 3 for k in choice.indices[:3]} == {0, 1, 2} and choice.distances[2] < 0.01
    for count in (0, 7):
        with pytest.raises(ConfigError, match="can't be chosen of 6 frames; ask for 1 to 6"):
            choose_frames(frames, count)
