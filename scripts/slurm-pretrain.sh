#!/usr/bin/env bash
#SBATCH --job-name=pretrain
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
# one process per GPU; nodes and tasks must equal num_nodes and devices of the configuration
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=6
#SBATCH --time=24:00:00
# ten minutes before the time limit all processes get SIGTERM, finish their step and save; the job is then requeued
#SBATCH --signal=TERM@600
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=pretrain-%j.log

# Pretraining under SLURM, requeued until finished: sbatch scripts/slurm-pretrain.sh CONFIG STORE [--set key=value …]
#
# For two nodes: sbatch --nodes=2 scripts/slurm-pretrain.sh CONFIG STORE --set lightning.num_nodes=2
set -euo pipefail
config=${1:?give a configuration, as configs/pretrain-chgnet.yaml}
store=${2:?give a store, as gnnpot data mp makes it}
shift 2
run=runs/$(basename "$config" .yaml)
export OMP_NUM_THREADS=1

before=$(stat -c %Y "$run/last.ckpt" 2>/dev/null || echo 0)
status=0
# if one process fails, all are terminated, since the others would wait for it
srun --kill-on-bad-exit=1 .venv/bin/gnnpot train "$config" \
    --set data.train="$store" --set run="$run" --quiet "$@" || status=$?

if [ -e "$run/model" ]; then
    echo "the potential is in $run/model"
elif [ "$(stat -c %Y "$run/last.ckpt" 2>/dev/null || echo 0)" -gt "$before" ]; then
    # requeue only if the run made progress before it was stopped (time limit, lost node), not if it failed at once
    scontrol requeue "$SLURM_JOB_ID"
else
    exit "$status"
fi
