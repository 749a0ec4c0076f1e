"""Fine-tuning: a potential that knows many systems becomes good at one, and says what that cost elsewhere.

    config = read_finetune_config("7net-0", "frames.extxyz.gz", run="runs/mine")     # config.py
    potential = finetune(config)                                                     # run.py

It takes three steps. The element references are refitted to the new frames (`refit.py`), so that another code or
functional is no obstacle. Then the weights move, as a strategy says (`strategies.py`), with a share of earlier frames
in every batch if wanted (`replay.py`). At last it is measured what was won and what was lost (`retention.py`).
`compare.py` does so with several strategies, and from scratch, on the same frames.
"""

from gnnpot.workflows.finetune.config import FineTuneConfig, read_finetune_config
from gnnpot.workflows.finetune.run import finetune

__all__ = ["FineTuneConfig", "finetune", "read_finetune_config"]
