"""Training: a run's data in three steps (`stores`, `subsets`, `prepare`), loss, fit, evaluation, report.

Workflows that chain several trainings are in `workflows`; files and folders of a run are kept by `runs`.

    potential = train(read_config("train.yaml"))          # run.py, config.py
"""
