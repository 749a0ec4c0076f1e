"""The loss by hand: masks, counts, equation (3)."""

import math

import pytest
import torch
from torch_geometric.data import Batch

from gnnpot.config import from_mapping
from gnnpot.data import ElementReferences
from gnnpot.models import HDNNPConfig, build_model
from gnnpot.potential import Potential, Prediction
from gnnpot.training.config import LossConfig
from gnnpot.training.loss import label_errors, loss_sums, pointwise, total_loss


@pytest.fixture
def potential(hdnnp):
    model = build_model(from_mapping(HDNNPConfig, {**hdnnp, "elements": ["Cu", "Ni"]}))
    return Potential(model, ElementReferences.from_mapping({"energies": {"Cu": -1.0, "Ni": -2.0}}))


def test_pointwise_values():
    x = torch.tensor([0.0, 0.1, -0.1, 0.5, -2.0])
    huber = pointwise(x, LossConfig(kind="huber", delta=0.2))
    torch.testing.assert_close(huber, torch.tensor([0.0, 0.005, 0.005, 0.2 * (0.5 - 0.1), 0.2 * (2.0 - 0.1)]))
    torch.testing.assert_close(huber, torch.nn.functional.huber_loss(x, 0 * x, reduction="none", delta=0.2))
    torch.testing.assert_close(pointwise(x, LossConfig(kind="mse")), x**2)
    torch.testing.assert_close(pointwise(x, LossConfig(kind="mae")), x.abs())


def test_total_is_the_weighted_sum_of_means():
    config = LossConfig(kind="mse", energy=2.0, forces=3.0, stress=0.0)
    errors = {"energy": torch.tensor([0.5]), "forces": torch.tensor([1.0, 2.0]), "stress": torch.tensor([9.0])}
    sums, counts = loss_sums(errors, config)
    assert counts == {"energy": 1, "forces": 2}
    assert total_loss(sums, counts, config).item() == pytest.approx(2 * 0.25 + 3 * (1 + 4) / 2)


def test_no_label_adds_nothing():
    config = LossConfig(kind="mse", stress=1.0)
    errors = {"energy": torch.tensor([2.0]), "forces": torch.zeros(0), "stress": torch.zeros(0)}
    sums, counts = loss_sums(errors, config)
    assert total_loss(sums, counts, config).item() == pytest.approx(4.0)
    with pytest.raises(ValueError, match="none of the labels"):
        total_loss({}, {}, config)


def test_missing_labels_are_masked_and_counted(potential, frames):
    whole = [f.replace() for f in frames[:4]]
    holes = [whole[0].replace(energy=None), whole[1].replace(forces=None), whole[2].replace(stress=None), whole[3]]
    full, partial = (
        Batch.from_data_list([potential.graph(f, labels=True) for f in frames_]) for frames_ in (whole, holes)
    )
    prediction = potential(full)
    errors, known = label_errors(prediction, full), label_errors(prediction, partial)
    assert {q: x.numel() for q, x in known.items()} == {"energy": 3, "forces": 36, "stress": 18}
    torch.testing.assert_close(known["energy"], errors["energy"][1:], rtol=0, atol=0)
    torch.testing.assert_close(
        known["forces"], torch.cat([errors["forces"][:12], errors["forces"][24:]]), rtol=0, atol=0
    )
    frame = whole[1]
    assert errors["energy"][1].item() == pytest.approx((prediction.energy[1].item() - frame.energy) / 4, abs=1e-12)
    torch.testing.assert_close(errors["stress"][6:12], prediction.stress[1].double() - torch.tensor(frame.stress))


def test_gradients_do_not_depend_on_frames_without_labels(potential, frames):
    bare = frames[1].replace(energy=None, forces=None, stress=None)
    config = LossConfig(stress=1.0)
    gradients = []
    for chosen in ([frames[0]], [frames[0], bare]):
        potential.zero_grad()
        batch = Batch.from_data_list([potential.graph(f, labels=True) for f in chosen])
        total_loss(*loss_sums(label_errors(potential(batch, training=True), batch), config), config).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in potential.parameters()]))
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_a_prediction_that_is_not_finite_is_no_missing_label(potential, frames):
    graph = potential.graph(frames[0], labels=True)
    prediction = potential(graph)
    broken = Prediction(energy=prediction.energy * math.nan, energies=prediction.energies, forces=prediction.forces)
    assert torch.isnan(label_errors(broken, graph)["energy"]).all()
    assert "stress" not in label_errors(broken, graph)


def test_no_volume_no_stress(potential, frames):
    molecule = frames[0].replace(pbc=False, cell=frames[0].cell * 0)
    graph = potential.graph(molecule, labels=True)
    assert label_errors(potential(graph), graph)["stress"].numel() == 0


def test_moments_count_without_their_sign(potential, frames):
    graph = potential.graph(frames[0].replace(magmoms=[1.0, -1.0, 0.5, 0.0]), labels=True)
    prediction = potential(graph)
    moments = torch.tensor([-1.0, 1.5, 0.5, 0.25])
    guess = Prediction(energy=prediction.energy, energies=prediction.energies, magmoms=moments)
    assert label_errors(guess, graph)["magmoms"].tolist() == [0.0, 0.5, 0.0, 0.25]
