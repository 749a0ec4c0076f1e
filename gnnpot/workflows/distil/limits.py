"""How long a distillation lasts: why its rounds end, and what each training may take of `max_minutes`."""

from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.results import DistilResults

#: how the names of the stages of rounds begin
ROUNDS = "round "
#: of `max_minutes`: what the rounds may take, and the share of that which trains students
ROUNDS_SHARE, TRAINING_SHARE = 0.7, 0.75


def reason_to_end(config: DistilConfig, results: DistilResults) -> str:
    """Why no further round is made after those in the results; empty: there is to be one."""
    errors = [result.errors.forces_mae for result in results.rounds]
    best, waited = errors[0], 0
    for error in errors[1:]:
        waited = 0 if error < (1 - config.tolerance) * best else waited + 1
        best = min(best, error)
    if waited >= config.patience:
        return "the error on fresh frames falls no longer"
    if len(errors) >= config.rounds:
        return f"{config.rounds} were asked for"
    last = results.minutes_of(f"round {len(errors)}: ") + (student_minutes(config, len(errors)) or 0) * config.committee
    if config.max_minutes is not None and results.minutes_of(ROUNDS) + last > ROUNDS_SHARE * config.max_minutes:
        return "the time for them is over"
    return ""


def student_minutes(config: DistilConfig, number: int) -> float | None:
    """What a student's training in a round may take; `None`: its steps count. First trainings take twice as long."""
    if config.max_minutes is None:
        return None
    trainings = config.committee * (config.rounds + 2)
    return ROUNDS_SHARE * TRAINING_SHARE * config.max_minutes * (2 if number == 0 else 1) / trainings


def final_minutes(config: DistilConfig, spent: float) -> float | None:
    """What the final training may take: what the rounds have left, at least three tenths of all."""
    if config.max_minutes is None:
        return None
    return max((1 - ROUNDS_SHARE) * config.max_minutes, config.max_minutes - spent)
