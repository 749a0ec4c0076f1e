"""A label is one row of the table: a made-up one goes from a file to a store, a batch, the loss and reports."""

import csv
import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator as AseCalculator
from ase.io import write
from torch_geometric.data import Batch

from gnnpot.config import from_mapping
from gnnpot.data.frame import Frame, FrameError
from gnnpot.data.quantities import QUANTITIES, Quantity
from gnnpot.data.readers import read_frames
from gnnpot.data.readers.records import RecordOptions
from gnnpot.data.store import FrameStore, write_store
from gnnpot.errors import ConfigError
from gnnpot.graphs import build_graph
from gnnpot.potential import Prediction
from gnnpot.training.callbacks import metrics_columns
from gnnpot.training.config import DatasetConfig, LossConfig
from gnnpot.training.evaluate import evaluate_calculator
from gnnpot.training.loss import label_errors, loss_sums, total_loss
from gnnpot.training.report import learning_figure, metrics_html, parity_figure

CHARGES = Quantity(
    name="charges",
    unit="e",
    per="atom",
    shape=(),
    largest=10.0,
    keys=("charges",),
    words=frozenset({"charges"}),
    title="Charges",
    short="charge",
)


@pytest.fixture
def charges(monkeypatch):
    monkeypatch.setitem(QUANTITIES, "charges", CHARGES)
    return CHARGES


def salt(seed: int, labelled: bool) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.05, seed=seed)
    if labelled:
        atoms.arrays["bader"] = np.array([0.8, -0.8]) + 0.01 * seed
    atoms.info["energy"] = -7.0 + seed
    return atoms


@pytest.fixture
def frames(charges, tmp_path):
    """Two with charges, one without; under a name that the user gives."""
    file = tmp_path / "frames.extxyz"
    write(file, [salt(0, True), salt(1, True), salt(2, False)])
    return list(read_frames(file, label_keys={"charges": "bader"}))


def test_a_row_goes_from_a_file_to_a_store(frames, tmp_path):
    assert [sorted(frame.labels) for frame in frames] == [["charges", "energy"], ["charges", "energy"], ["energy"]]
    assert frames[1].others["charges"] == pytest.approx([0.81, -0.79])
    # to ASE's atoms and back
    assert Frame.from_atoms(frames[1].to_atoms()).others["charges"] == pytest.approx([0.81, -0.79])
    store = write_store(frames, tmp_path / "store")
    store = FrameStore(tmp_path / "store")
    assert store.manifest.labels["charges"] == 2 and store.manifest.labels["energy"] == 3
    for frame, stored in zip(frames, store, strict=True):
        assert stored.labels.keys() == frame.labels.keys()
        assert all(np.array_equal(stored.labels[name], frame.labels[name]) for name in frame.labels)


def test_a_row_is_checked_as_every_label(charges):
    fields = {"numbers": [11], "positions": [[0.0, 0.0, 0.0]], "cell": np.zeros((3, 3)), "pbc": False}
    with pytest.raises(FrameError, match=r"charges has shape \(2,\), expected \(1,\)"):
        Frame(**fields, others={"charges": np.zeros(2)})
    with pytest.raises(FrameError, match="charges has a value of 11, which is implausibly large"):
        Frame(**fields, others={"charges": np.array([11.0])})
    with pytest.raises(FrameError, match="label 'charge' is unknown; did you mean 'charges'"):
        Frame(**fields, others={"charge": np.zeros(1)})


def test_a_row_goes_from_a_batch_to_the_loss(frames):
    batch = Batch.from_data_list([build_graph(frame, 4.0) for frame in frames])
    assert batch["charges"].shape == (6,) and int(batch["charges"].isnan().sum()) == 2
    guess = Prediction(torch.zeros(3), torch.zeros(6), others={"charges": batch["charges"].nan_to_num() + 0.5})
    errors = label_errors(guess, batch)
    assert errors["charges"].tolist() == pytest.approx([0.5] * 4)
    config = from_mapping(
        LossConfig, {"kind": "mse", "energy": 0, "forces": 0, "stress": 0, "others": {"charges": 2.0}}
    )
    sums, counts = loss_sums(errors, config)
    assert counts == {"charges": 4} and float(total_loss(sums, counts, config)) == pytest.approx(2.0 * 0.25)
    assert {"train_charges_mae", "train_charges_labels", "validation_charges_rmse"} <= set(metrics_columns())
    assert "charges" in DatasetConfig(train="x", references="shared", labels=("charges",)).labels


class Charged(AseCalculator):
    """Gives every atom the charge 1 e."""

    implemented_properties = ("energy", "forces", "charges")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "charges": np.ones(len(atoms))}


def test_a_row_is_measured_and_reported(frames, tmp_path):
    evaluation = evaluate_calculator(Charged(), frames)
    metrics = evaluation.metrics()
    assert metrics["charges_count"] == 4
    assert metrics["charges_mae"] == pytest.approx(np.mean([0.2, 1.8, 0.19, 1.79]))
    assert "<td>Charges</td><td>e</td>" in metrics_html({"test": evaluation})
    assert [axes.get_title() for axes in parity_figure(evaluation).axes] == ["Energy", "Charges"]
    log = tmp_path / "metrics.csv"
    with log.open("w", newline="") as file:
        writer = csv.DictWriter(file, metrics_columns())
        writer.writeheader()
        writer.writerows({"step": k, "validation_charges_mae": 1 / k} for k in (1, 2))
    assert [axes.get_ylabel() for axes in learning_figure(log).axes] == ["charge MAE, e"]


def test_a_store_from_before_the_row_is_read(tmp_path, monkeypatch):
    atoms = salt(0, False)
    write_store([Frame.from_atoms(atoms).with_labels({"energy": -7.0})], tmp_path / "old")
    monkeypatch.setitem(QUANTITIES, "charges", CHARGES)
    (frame,) = FrameStore(tmp_path / "old")
    assert frame.labels == {"energy": -7.0} and json.loads((tmp_path / "old" / "manifest.json").read_text())


def test_what_is_no_row_is_refused():
    with pytest.raises(ConfigError, match="others: 'charges' is no further label"):
        from_mapping(LossConfig, {"others": {"charges": 1.0}})
    with pytest.raises(ConfigError, match="label_keys: 'chages' is no further label"):
        from_mapping(RecordOptions, {"label_keys": {"chages": "q"}})
    with pytest.raises(ConfigError, match="labels: 'force' is not a choice; did you mean 'forces'"):
        from_mapping(DatasetConfig, {"train": "x", "references": "shared", "labels": ["force"]})
