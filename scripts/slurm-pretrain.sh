#!/usr/bin/env bash
#SBATCH --job-name=pretrain
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
# one process for each GPU: nodes and tasks are also the configuration's num_nodes and devices
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=6
#SBATCH --time=24:00:00
# ten minutes before the end every process is asked to stop; it ends its step, saves, and the job is queued again
#SBATCH --signal=TERM@600
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=pretrain-%j.log

# Pretraining under SLURM, requeued until it has ended: sbatch scripts/slurm-pretrain.sh CONFIG STORE [--set key=value …]
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
# a process that fails takes the others with it, which would wait for it
srun --kill-on-bad-exit=1 .venv/bin/gnnpot train "$config" \
    --set data.train="$store" --set run="$run" --quiet "$@" || status=$?

if [ -e "$run/model" ]; then
    echo "the potential is in $run/model"
elif [ "$(stat -c %Y "$run/last.ckpt" 2>/dev/null || echo 0)" -gt "$before" ]; then
    # it got on, and was stopped by time or a lost node; what fails at once is not tried again
    scontrol requeue "$SLURM_JOB_ID"
else
    exit "$status"
fi
