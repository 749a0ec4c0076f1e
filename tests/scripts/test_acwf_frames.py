"""scripts/benchmarks/acwf_frames.py: crystals of the published volumes, energies and stresses."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from ase.io import read

from gnnpot.data.readers.base import open_text
from gnnpot.properties.suites import open_suite

ROOT = Path(__file__).parents[2]
#: the first points of some crystals of VASP's results
RESULTS = {
    "eos_data": {
        "Ac-X/BCC": [[43.21029641937318, -3.92326892], [44.12966442829713, -3.93115337]],
        "As-X/Diamond": [[53.6640758549015, -8.70214492]],
        "Al-X/FCC": [[15.500584138516746, -3.73899874]],
        "As-X/SC": [[19.133215112247616, -4.54599577]],
    },
    "stress_data": {
        "As-X/Diamond": [[53.6640758549015, (0.020105532674615845 * np.eye(3)).tolist()]],
        "As-X/SC": [[19.133215112247616, (0.03550422045329599 * np.eye(3)).tolist()]],
    },
}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))
    import acwf_frames

    return acwf_frames


def test_the_suite_reads_what_is_written(script, tmp_path):
    results, output = tmp_path / "vasp.json", tmp_path / "unaries_vasp_pbe_eos.extxyz.gz"
    results.write_text(json.dumps(RESULTS))
    script.main(results, output)
    with open_text(output) as file:
        found = {atoms.info["acwf"]: atoms for atoms in reversed(read(file, ":", format="extxyz"))}
    edge = {name: atoms.cell.array.max() for name, atoms in found.items()}
    expected = {"Ac-X/BCC": 2.2105944978882, "As-X/Diamond": 2.9937662382081, "Al-X/FCC": 1.9789706642799}
    assert edge == pytest.approx({**expected, "As-X/SC": 2.6746234710252})
    diamond = found["As-X/Diamond"]
    assert len(diamond) == 2 and diamond.get_distance(0, 1, mic=True) == pytest.approx(
        3**0.5 / 2 * edge["As-X/Diamond"]
    )
    assert diamond.get_potential_energy() == -8.70214492 and np.abs(diamond.get_forces()).max() == 0
    # compressed: negative with ASE's sign
    np.testing.assert_allclose(diamond.get_stress(), [-0.020105532674615845] * 3 + [0] * 3)
    assert "stress" not in found["Ac-X/BCC"].calc.results
    one = {"min_volume": 20.0, "bulk_modulus_ev_ang3": 1.0}
    average = tmp_path / "results-unaries-verification-PBE-v1-AE-average.json"
    average.write_text(json.dumps({"BM_fit_data": dict.fromkeys(RESULTS["eos_data"], one)}))
    items = {item.key: item.content[0] for item in open_suite("equations-of-state", tmp_path).items()}
    assert {name: len(frames) for name, frames in items.items()} == {n: len(p) for n, p in RESULTS["eos_data"].items()}


def test_results_of_others_are_refused(script, tmp_path):
    path = tmp_path / "results.json"
    for content in ({"eos_data": {"Al-XO": []}}, {"eos_data": {}}, [], {"BM_fit_data": {}}):
        path.write_text(json.dumps(content))
        with pytest.raises(typer.BadParameter, match="has no equations of state of the elements"):
            script.main(path, tmp_path / "out.extxyz.gz")
    assert not (tmp_path / "out.extxyz.gz").exists()


def test_the_published_figures_used_these_structures(script, shared):
    """The file of the published figures has the cells and positions that the volumes give."""
    with open_text(shared / "data" / "acwf" / "unaries_vasp_pbe_eos.extxyz.gz") as file:
        frames = read(file, ":", format="extxyz")
    assert len(frames) == 7 * 384
    for atoms in frames:
        made = script.crystal(atoms.info["acwf"], atoms.get_volume())
        assert (made.numbers == atoms.numbers).all()
        np.testing.assert_allclose(made.cell.array, atoms.cell.array, rtol=0, atol=1e-9)
        np.testing.assert_allclose(made.positions, atoms.positions, rtol=0, atol=1e-7)
