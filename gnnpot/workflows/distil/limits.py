"""Limits of a distillation: when its rounds end, and the time of each training with `max_minutes`."""

from gnnpot.workflows.distil.config import DistilConfig
from gnnpot.workflows.distil.results import DistilResults

#: prefix of the names of the stages of rounds
ROUNDS = "round "
#: fraction of `max_minutes` for the rounds, and fraction of the rounds' time for training
ROUNDS_SHARE, TRAINING_SHARE = 0.7, 0.75


def reason_to_end(config: DistilConfig, results: DistilResults) -> str:
    """Reason for which the rounds end after those in `results`; empty if there is a further round."""
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
    """Minutes for a student's training in a round, twice as many in round 0; `None`: limited by steps."""
    if config.max_minutes is None:
        return None
    trainings = config.committee * (config.rounds + 2)
    return ROUNDS_SHARE * TRAINING_SHARE * config.max_minutes * (2 if number == 0 else 1) / trainings


def final_minutes(config: DistilConfig, spent: float) -> float | None:
    """Minutes for the final training: those left by the rounds, at least three tenths; `None`: limited by steps."""
    if config.max_minutes is None:
        return None
    return max((1 - ROUNDS_SHARE) * config.max_minutes, config.max_minutes - spent)
