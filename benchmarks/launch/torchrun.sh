#!/usr/bin/env bash
# Evaluate (or fine-tune) on several devices of one machine:
#
#   benchmarks/launch/torchrun.sh 8 NAME --pretrained --suite k400 --data /data/k400 --workers 8
#
# The first word is the number of devices, the others are those of `zoo eval`. For several machines give torchrun its
# own options by TORCHRUN_OPTIONS ("--nnodes 2 --node-rank 0 --rdzv-endpoint host:29500") and pass --num-nodes 2.
# Without torchrun, `zoo eval ... --devices 8` starts the processes itself; this file is for launchers that expect it.
set -euo pipefail

devices=${1:?number of devices}
shift
# shellcheck disable=SC2086  # several options in one variable
exec "${PYTHON:-python}" -m torch.distributed.run ${TORCHRUN_OPTIONS:---standalone} --nproc-per-node "$devices" \
    -m benchmarks.cli eval "$@" --devices "$devices" --strategy ddp
