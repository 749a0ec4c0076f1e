"""Licences of potentials, and whether they allow the publication of derived potentials.

Example::

    licence_of("BSD-3-Clause (as the package matgl)").derivatives      # "allowed"

A potential that starts from the weights of another one is a derived work. Whether a potential trained on labels of
another one is also a derived work is legally uncertain; here it is treated as one. Names of licences are those of SPDX
(https://spdx.org/licenses).
"""

import re
from dataclasses import dataclass
from typing import Literal

Derivatives = Literal["allowed", "same licence", "forbidden"]


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence."""

    spdx: str  #: SPDX identifier
    #: whether derived works may be distributed: under any licence, under the same one, or not
    derivatives: Derivatives
    hugging_face: str  #: identifier on the Hugging Face Hub


_ALLOWED = (
    "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "ISC", "Unlicense",
)  # fmt: skip
_SAME = (
    "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "AGPL-3.0",
    "MPL-2.0",
)  # fmt: skip
_FORBIDDEN = ("CC-BY-ND-4.0", "CC-BY-NC-ND-4.0")
#: other spellings -> SPDX identifier
_SPELLINGS = {
    "modified bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "mit license": "MIT",
    "mit licence": "MIT",
}
_GROUPS: tuple[tuple[tuple[str, ...], Derivatives], ...] = (
    (_ALLOWED, "allowed"), (_SAME, "same licence"), (_FORBIDDEN, "forbidden"),
)  # fmt: skip
_LICENCES = {name.lower(): Licence(name, derivatives, name.lower()) for names, derivatives in _GROUPS for name in names}


def known_licences() -> tuple[str, ...]:
    """Return the SPDX identifiers of all known licences."""
    return tuple(licence.spdx for licence in _LICENCES.values())


def licence_of(text: str) -> Licence | None:
    """Return the licence named in a card; text in parentheses is ignored. `None` if it is unknown."""
    plain = re.sub(r"\(.*\)", "", text).strip().lower()
    plain = re.sub(r"-(only|or-later)$", "", plain)
    plain = _SPELLINGS.get(plain, plain).lower()
    return _LICENCES.get(plain)
