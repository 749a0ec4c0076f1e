"""Modes and defaults of PyTorch that a user has set change no result; devices and precisions are names or sentences."""

import contextlib
import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gnnpot.engines.calculator import Calculator
from gnnpot.engines.predict import predict
from gnnpot.errors import ConfigError
from gnnpot.hub.checkpoint import Card, load_checkpoint, save_checkpoint
from gnnpot.torch_modes import default_modes, has_default_modes


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


MODES = {
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "double": lambda: default_dtype(torch.float64),
    "half": lambda: default_dtype(torch.float16),
}


def answers(calculator: Calculator, atoms) -> list[np.ndarray]:
    atoms = atoms.copy()
    atoms.calc = calculator
    found = [atoms.get_forces(), atoms.get_stress()]
    # with the neighbours that are remembered, then with others
    for size in (0.01, 0.5):
        atoms.positions[0] += size
        found += [atoms.get_forces(), np.array(atoms.get_potential_energy())]
    return found


@pytest.mark.parametrize("mode", MODES)
def test_modes_change_no_result(potential, crystal, mode, tmp_path):
    expected = answers(Calculator(potential), crystal)
    folder = save_checkpoint(tmp_path / "model", potential, Card())
    before = Calculator(potential)
    with MODES[mode]():
        made_there, loaded = Calculator(potential), Calculator(load_checkpoint(folder)[0])
        found = [answers(calculator, crystal) for calculator in (before, made_there, loaded)]
        (predicted,) = predict([crystal], potential)
        direct = potential(potential.graph(crystal))
    found += [answers(calculator, crystal) for calculator in (made_there, loaded)]
    for arrays in found:
        for a, b in zip(arrays, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    for forces in (predicted.get_forces(), direct.forces.numpy(force=True)):
        np.testing.assert_allclose(forces, expected[0], rtol=0, atol=1e-12)
    assert has_default_modes()


def test_a_potential_that_was_cast_in_inference_mode(potential, crystal):
    with torch.inference_mode():
        single = copy.deepcopy(potential).to(torch.float32)
    expected = answers(Calculator(potential, dtype=torch.float32), crystal)
    for a, b in zip(answers(Calculator(single), crystal), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_the_usual_modes_end_with_their_block():
    with torch.inference_mode(), torch.device("meta"):
        with default_modes():
            assert has_default_modes() and torch.zeros(1).device.type == "cpu"
        assert torch.is_inference_mode_enabled() and torch.zeros(1).device.type == "meta"


@pytest.mark.parametrize("dtype", ["float64", "torch.float64", torch.float64])
def test_names_of_precisions(potential, dtype):
    assert Calculator(potential, dtype=dtype).dtype == torch.float64


@pytest.mark.parametrize("dtype", ["f64", "double precision", torch.float16, torch.int64, np.float64, 64, ["float64"]])
def test_what_is_no_precision(potential, dtype):
    with pytest.raises(ConfigError, match="models calculate in float32 or float64"):
        Calculator(potential, dtype=dtype)
    with pytest.raises(ConfigError, match="models calculate in float32 or float64"):
        predict([], potential, dtype=dtype)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", "", 99, object()])
def test_devices_that_are_not_there(potential, device):
    with pytest.raises(ConfigError, match="can't be used here"):
        Calculator(potential, device=device)
    with pytest.raises(ConfigError, match="can't be used here"):
        predict([], potential, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none(potential):
    with pytest.raises(ConfigError, match=r"device cuda: can't be used here.*leave it out to use the CPU"):
        Calculator(potential, device="cuda")


def test_a_device_without_float64(potential, monkeypatch):
    """As Apple's MPS, on which float32 works."""
    zeros = torch.zeros

    def of_mps(*size, dtype=None, device=None):
        if dtype is torch.float64 and device is not None:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return zeros(*size, dtype=dtype, device=device)

    monkeypatch.setattr(torch, "zeros", of_mps)
    with pytest.raises(ConfigError, match=r"device cpu: can't be used here \(Cannot convert.*leave it out"):
        Calculator(potential, device="cpu")
