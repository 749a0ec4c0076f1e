"""Cards with a right checksum and odd contents: each is opened as it should be, or refused in one sentence."""

import copy
import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from gnnpot.errors import CheckpointError
from gnnpot.hub.card import CARD, card_digest
from gnnpot.hub.checkpoint import load_checkpoint

CHECKPOINTS = sorted((Path(__file__).parents[1] / "frozen" / "checkpoints").iterdir())
TRIES = 200

ODD = [
    None, True, False, 0, -1, 1, 2, 3, 1.5, -0.0, 1e-300, 1e300, -1e300, 10**30, -(10**30), 10**400, float("nan"),
    float("inf"), -float("inf"), "", "1", "x" * 10_000, "Na", "Xx", "\x00", "\ud800", "nan", "m3gnet", "hdnnp",
    "sevennet", "é",
    [], [[]], {}, {"": {}}, [0], [1, 2, 3], ["Na", "Na"], ["Na", "Cl", "K"], [None], {"architecture": "nequix"},
    [1] * 10_000, {"a": 1}, 4096, 100, 10_000, 1_000_000, 119, [[1e300] * 3] * 3,
]  # fmt: skip


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths to all values within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, v in inner for place in places(v, (*path, key)))]


def mutated(content: dict, rng: random.Random) -> dict:
    """A copy in which one to three values are replaced, removed, added, doubled or nested."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice([p for p in places(content) if p and p != ("card_sha256",)])
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        change, key = rng.randrange(7), path[-1]
        if change == 0:
            del holder[key]
        elif change == 1:
            nested: Any = holder[key]
            for _ in range(rng.choice((1, 3, 100))):
                nested = [nested]
            holder[key] = nested
        elif change == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif change == 3 and isinstance(holder, dict):
            holder[rng.choice(("unknown", "", "elements", "cutoff", "architecture"))] = rng.choice(ODD)
        elif change == 4 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = holder[key] * rng.choice((-1, 2, 1000, 10**12))
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD))
    return content


@pytest.fixture
def in_time():
    """No card takes longer than ten seconds of the processor."""

    def end(*_args):
        raise TimeoutError("a card took longer than ten seconds of the processor")

    before = signal.signal(signal.SIGPROF, end)
    yield lambda: signal.setitimer(signal.ITIMER_PROF, 10)
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, before)


@pytest.mark.parametrize("checkpoint", CHECKPOINTS, ids=lambda p: p.name)
def test_odd_cards(checkpoint, tmp_path, in_time):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    content = json.loads((folder / CARD).read_text())
    rng = random.Random(checkpoint.name)
    opened = 0
    for number in range(TRIES):
        odd = mutated(content, rng)
        odd["card_sha256"] = card_digest(odd)
        (folder / CARD).write_text(json.dumps(odd))
        in_time()
        try:
            load_checkpoint(folder)
            opened += 1
        except CheckpointError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000, number
    # words, metrics and references of elements may be anything
    assert 0 < opened < TRIES / 2


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format_version": ' + "9" * 5000 + "}", "[1e999]", "[NaN]", "\xff"])
def test_cards_that_are_no_json(text, tmp_path):
    (tmp_path / CARD).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path)


def test_a_card_without_end(tmp_path):
    (tmp_path / CARD).symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="no ordinary file"):
        load_checkpoint(tmp_path)
