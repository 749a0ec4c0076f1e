"""Detection of jumps of ions between sites, without knowledge of the sites.

The position of each ion is averaged over time windows, which removes its vibration. A jump is counted when the averaged
position is farther than 0.7 a, with the jump length a, from the reference position of the ion, and the position after
the jump becomes its new reference. With the jump rate Γ of an ion and the mean square jump length <l²>,

    D_jump = Γ <l²> / 6,      f = D_tracer / D_jump                                                            (1)

The correlation factor f is below 1 if ions tend to jump back.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnpot.properties.conductivity.displacements import Displacements
from gnnpot.properties.conductivity.msd import CM2_S

#: displacement that counts as a jump, in units of the jump length
_FAR = 0.7
#: ps, window for averaging positions
_WINDOW = 0.5


@dataclass(frozen=True, slots=True)
class Jumps:
    """Statistics of jumps."""

    count: int  #: number of jumps
    rate: float  #: 1/ps, jump rate of an ion
    residence: float  #: ps, mean time of an ion between jumps
    length: float  #: Å, root mean square jump length
    correlation: float  #: correlation factor f of (1)
    along: tuple[float, float, float]  #: mean squared cosine of the angle to a, b and c; 1/3 if isotropic
    lengths: np.ndarray  #: [count] Å, length of each jump

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
    """Count the jumps in displacements; `tracer` is the tracer diffusion coefficient (cm²/s) of the same run."""
    # at most a tenth of the run
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
