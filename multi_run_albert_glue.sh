#!/usr/bin/env bash
# Fine-tunes ALBERT on one GLUE task on the GPUs of this machine: trains, evaluates, predicts.
#
#   TASK=MRPC ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_glue.sh [more flags of albert.run_multigpus_classifier]
#
# Every setting below, and in scripts/run_common.sh, is a variable that the environment overrides.
set -euo pipefail
# shellcheck source=scripts/run_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/scripts/run_common.sh"

TASK=${TASK:-CoLA}

# The recipe of the ALBERT authors: warm-up steps, peak learning rate, steps, steps between two evaluations, sequences per
# step on all GPUs together, dropout (0.1 where they used it). Their script has no WNLI: this one is ours.
case ${TASK,,} in
  #                folder   warm-up rate steps  save batch dropout
  cola) recipe=(CoLA 320 1e-5 5336 100 16 0) ;;
  sst-2) recipe=(SST-2 1256 1e-5 20935 100 32 0) ;;
  mrpc) recipe=(MRPC 200 2e-5 800 100 32 0) ;;
  sts-b) recipe=(STS-B 214 2e-5 3598 100 16 0) ;;
  qqp) recipe=(QQP 1000 5e-5 14000 100 128 0.1) ;;
  mnli | mismnli) recipe=(MNLI 1000 3e-5 10000 100 128 0) ;;
  qnli) recipe=(QNLI 1986 1e-5 33112 200 32 0) ;;
  rte) recipe=(RTE 200 3e-5 800 100 32 0.1) ;;
  wnli) recipe=(WNLI 250 2e-5 2000 100 16 0.1) ;;
  *) die "TASK=$TASK is not known: use CoLA, SST-2, MRPC, STS-B, QQP, MNLI, misMNLI, QNLI, RTE or WNLI." ;;
esac
read -r folder recipe_warmup recipe_rate recipe_steps recipe_save recipe_batch recipe_dropout <<<"${recipe[*]}"

# The default of BS keeps the recipe's batch on any number of GPUs.
BS=${BS:-$(((recipe_batch + ACCUM * NUM_GPUS - 1) / (ACCUM * NUM_GPUS)))} # examples per GPU and micro-batch
EBS=${EBS:-32}                          # per GPU, for evaluation and prediction
MSL=${MSL:-128}                         # longest sequence, in pieces
LR=${LR:-$recipe_rate}                  # peak learning rate
WPSP=${WPSP:-$recipe_warmup}            # warm-up steps
TSP=${TSP:-$recipe_steps}               # training steps
SAVE=${SAVE:-$recipe_save}              # steps between two checkpoints, each with an evaluation
ALBERT_DP=${ALBERT_DP:-$recipe_dropout} # dropout of the encoder

DATA_DIR=${DATA_DIR:-${GLUE_DIR:-$CURRENT_PWD/glue_data}} # holds one folder per task
[[ -d $DATA_DIR/$folder ]] ||
  die "no folder $DATA_DIR/$folder: run ./download_glue_data.py, or set DATA_DIR to the folder that holds $folder."

fine_tune run_multigpus_classifier "$TASK" "$TSP steps" \
  --task_name="$TASK" \
  --data_dir="$DATA_DIR" \
  --train_step="$TSP" \
  --warmup_step="$WPSP" \
  "$@"
