"""Tries of `scripts/checks/bad_input.py`: tables of command lines with the expected outcome of each.

    for attempt in all_tries(): ...

Each file has the tries of one kind. A try specifies the exit status, the words of the message, and the files that may
change.
"""

from bad_input_cases.attempt import Try

__all__ = ["Try", "all_tries"]


def all_tries() -> list[Try]:
    """Every try, in the order of the tables."""
    from bad_input_cases import calls, configs, hub, labels, options, outputs, resume, second, structures, terminals

    groups = (structures, options, configs, outputs, labels, hub, resume, terminals, calls, second)
    tries = [attempt for group in groups for attempt in group.tries()]
    names = [f"{attempt.group}: {attempt.name}" for attempt in tries]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"two tries are called {sorted(twice)[:3]}"
    return tries
