"""Workflows: fine-tuning, distillation, comparison, committee, many structures; steps of the subpackages below.

New machinery does not belong here: dynamics and selection are in `sampling`, fitting is in `training`.

    finetune(read_finetune_config("7net-0", ["frames.extxyz"], run="runs/mine")), distil(config), compare(configure)
"""
