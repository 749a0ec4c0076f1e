"""JSON that any reader accepts."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gnnpot.runs.json_text import to_json


@dataclass(frozen=True)
class Result:
    """A result of all kinds of values."""

    energy: float
    tensor: np.ndarray
    file: Path


def test_numbers_that_json_lacks_become_null():
    text = to_json({"result": Result(float("nan"), np.array([[1.0, np.inf]]), Path("a") / "b"), 600: (True, None, "é")})
    found = json.loads(text, parse_constant=pytest.fail)
    assert found == {
        "result": {"energy": None, "tensor": [[1.0, None]], "file": str(Path("a") / "b")},
        "600": [True, None, "é"],
    }
