"""Fine-tuning: adapt a general potential to one system, and measure what it loses for others.

    config = read_finetune_config("7net-0", "frames.extxyz.gz", run="runs/mine")     # config.py
    potential = finetune(config)                                                     # run.py

There are three steps. First, the element references are refitted to the new frames (`refit.py`), which may come from
another code or functional. Second, the weights are trained with a strategy (`strategies.py`), optionally with a
fraction of earlier frames in each batch (`replay.py`). Third, the errors on new and earlier frames are compared with
those of the starting model (`retention.py`). `compare.py` compares several strategies and training from scratch on the
same frames.
"""

from gnnpot.workflows.finetune.config import FineTuneConfig, read_finetune_config
from gnnpot.workflows.finetune.run import finetune

__all__ = ["FineTuneConfig", "finetune", "read_finetune_config"]
