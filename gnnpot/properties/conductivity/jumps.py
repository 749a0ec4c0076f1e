"""Jumps of ions between sites, found without knowing the sites.

Each ion's positions are averaged over a window, which removes its vibration. It has jumped when it is farther than
0.7 a from where it was last seen at rest, a being the length of a jump; there it rests anew. With the rate Γ of jumps
of an ion and their mean square length <l²>,

    D_jump = Γ <l²> / 6,      f = D_tracer / D_jump                                                            (1)

f, the correlation factor, is below 1 where ions jump back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.properties.conductivity.msd import CM2_S

#: share of a jump's length that an ion must have moved
_FAR = 0.7
#: ps over which positions are averaged
_WINDOW = 0.5


@dataclass(frozen=True, slots=True)
class Jumps:
    """Statistics of jumps."""

    count: int
    rate: float  #: 1/ps, of an ion
    residence: float  #: ps, mean time of an ion between jumps
    length: float  #: Å, root mean square
    correlation: float  #: f of (1)
    along: tuple[float, float, float]  #: mean square of the cosine with a, b, c; 1/3 is isotropic
    lengths: np.ndarray  #: [count], Å

    def to_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "rate_1_ps": self.rate,
            "residence_ps": self.residence,
            "length_A": self.length,
            "correlation_factor": self.correlation,
            "cosine_square_abc": list(self.along),
        }


def count_jumps(moved: Displacements, jump_length: float, tracer: float) -> Jumps:
    """The jumps in displacements, for a tracer diffusion coefficient (cm²/s) of the same run."""
    # of a run that is short beside the window, a tenth
    window = max(1, min(round(_WINDOW / moved.frame_time), len(moved.ions) // 10))
    frames = len(moved.ions) // window
    smooth = moved.ions[: frames * window].reshape(frames, window, -1, 3).mean(axis=1)
    rest = smooth[0].copy()
    found = []
    for positions in smooth[1:]:
        step = positions - rest
        gone = np.linalg.norm(step, axis=1) > _FAR * jump_length
        found.append(step[gone])
        rest[gone] = positions[gone]
    steps = np.concatenate(found) if found else np.zeros((0, 3))
    lengths = np.linalg.norm(steps, axis=1)
    if not len(steps):
        nothing = float("nan")
        return Jumps(0, 0.0, float("inf"), nothing, nothing, (nothing, nothing, nothing), lengths)
    time = (frames - 1) * window * moved.frame_time
    rate = len(steps) / moved.ions.shape[1] / time
    square = float(np.square(lengths).mean())
    directions = moved.cell / np.linalg.norm(moved.cell, axis=1, keepdims=True)
    cosines = np.square(steps / lengths[:, None] @ directions.T).mean(axis=0)
    return Jumps(
        count=len(steps),
        rate=float(rate),
        residence=float(1 / rate),
        length=float(np.sqrt(square)),
        correlation=float(tracer / (rate * square / 6 * CM2_S)),
        along=(float(cosines[0]), float(cosines[1]), float(cosines[2])),
        lengths=lengths,
    )
