"""Training: preparing the data of a run (`stores`, `subsets`, `prepare`), loss, fit, evaluation, report.

Workflows that chain several trainings are in `gnnpot.workflows`; `gnnpot.runs` handles files and folders of a run.

    potential = train(read_config("train.yaml"))          # run.py, config.py
"""
