"""Workflows: fine-tuning, distillation, comparison of strategies, and calculations of many structures.

Workflows combine steps of other subpackages: dynamics and selection are in `gnnpot.sampling`, training is in
`gnnpot.training`.

    finetune(read_finetune_config("7net-0", ["frames.extxyz"], run="runs/mine")), distil(config), compare(configure)
"""
