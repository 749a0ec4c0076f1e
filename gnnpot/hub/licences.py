"""What licences of potentials allow of potentials that are made of them.

Example::

    licence_of("BSD-3-Clause (as the package matgl)").derivatives      # "allowed"

A potential that starts from another's weights is a derived work of it; that one which was trained on another's labels
is one too is not certain in law, and treated the same here. Names are those of SPDX (https://spdx.org/licenses).
"""

import re
from dataclasses import dataclass
from typing import Literal

Derivatives = Literal["allowed", "same licence", "forbidden"]


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence."""

    spdx: str
    #: may what is derived be passed on: under any licence, under the same, or not
    derivatives: Derivatives
    hugging_face: str  #: its name there


_ALLOWED = (
    "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "ISC", "Unlicense",
)  # fmt: skip
_SAME = (
    "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "GPL-2.0", "GPL-3.0", "LGPL-2.1", "LGPL-3.0", "AGPL-3.0",
    "MPL-2.0",
)  # fmt: skip
_FORBIDDEN = ("CC-BY-ND-4.0", "CC-BY-NC-ND-4.0")
#: other spellings
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
    """Names of all licences that are known here."""
    return tuple(licence.spdx for licence in _LICENCES.values())


def licence_of(text: str) -> Licence | None:
    """The licence that a card names, with or without words in brackets after it; `None` for an unknown one."""
    plain = re.sub(r"\(.*\)", "", text).strip().lower()
    plain = re.sub(r"-(only|or-later)$", "", plain)
    plain = _SPELLINGS.get(plain, plain).lower()
    return _LICENCES.get(plain)
