#!/usr/bin/env bash
# Fine-tunes ALBERT on one GLUE task on the GPUs of this machine: trains, evaluates, predicts.
#
#   TASK=MRPC ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_glue.sh [more flags of albert.run_multigpus_classifier]
#
# Several tasks, seeds, learning rates or weight decays are a sweep (docs/sweeps.md), which has a run on GPUS_PER_RUN
# GPUs for each:
#
#   TASK=all SEEDS=1,2,3 LR=1e-5,2e-5 NUM_GPUS=8 ./multi_run_albert_glue.sh [more flags of albert.sweep and of its runs]
#
# The task's recipe (albert/tasks/recipes.py) sets rate, steps, warm-up, batch over all GPUs, dropout, length and save
# interval. Every setting is a variable of the environment; --help lists them.
set -euo pipefail
SEEDS=${SEEDS:-} # several seeds with commas: a sweep
# shellcheck source=scripts/run_common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/scripts/run_common.sh"
# shellcheck source=scripts/sweep.sh
source "$root/scripts/sweep.sh"

TASK=${TASK:-CoLA}              # a task of GLUE, such as MRPC; several with commas, or all: a sweep
GPUS_PER_RUN=${GPUS_PER_RUN:-1} # of each run in a sweep
# LR: peak learning rate; several with commas: a sweep
# WEIGHT_DECAY: of all weights but biases and layer norms, default: 0.01; several with commas: a sweep
# GLUE_DIR: older name of DATA_DIR
EBS=${EBS:-32}  # per GPU, for evaluation and prediction
WPSP=${WPSP:-}  # warm-up steps
TSP=${TSP:-}    # training steps
check_whole WPSP 0 999999999 "a number of steps"
check_whole TSP 1 999999999 "a number of steps"
refuse "TSP, a number of steps, or add --num_train_epochs=N" EPOCH
refuse "WPSP, a number of steps, or add --warmup_proportion=N" WPP

flag_variables+=(task_name=TASK data_dir=DATA_DIR train_step=TSP warmup_step=WPSP)

DATA_DIR=${DATA_DIR:-${GLUE_DIR:-$CURRENT_PWD/glue_data}} # holds one folder per task; default: glue_data/

if [[ ${TASK,,} == all || $TASK == *,* ]] || is_sweep; then
  check_sweep
  part_arguments "$@"
  sweep "$TASK" "$TASK" --data_dir="$DATA_DIR" ${TSP:+--train_step="$TSP"} ${WPSP:+--warmup_step="$WPSP"}
  exit
fi

folder='' wanted=${TASK,,}
if [[ $wanted == mismnli ]]; then wanted=mnli; fi # the same data, evaluated on another part
for known in CoLA SST-2 MRPC STS-B QQP MNLI QNLI RTE WNLI; do
  if [[ ${known,,} == "$wanted" ]]; then folder=$known; fi
done
if [[ -z $folder ]]; then
  complain_of TASK "is not known: use CoLA, SST-2, MRPC, STS-B, QQP, MNLI, misMNLI, QNLI, RTE or WNLI. Texts and labels of your own are for ./multi_run_albert_own.sh, as TRAIN_FILE=texts.csv."
elif [[ ! -d $DATA_DIR/$folder ]]; then
  complain "no folder $DATA_DIR/$folder: run ./download_glue_data.py --tasks=$folder, or set DATA_DIR to the folder that holds $folder."
fi

read_recipe "$TASK"
# As in the names of folders that are there already: 1e-5 and not Python's 1e-05.
recipe_rate=${recipe_rate/e-0/e-}

fine_tune run_multigpus_classifier "$TASK" "${TSP:+$(counted "$TSP" step)}" \
  --task_name="$TASK" \
  --data_dir="$DATA_DIR" \
  ${TSP:+--train_step="$TSP"} \
  ${WPSP:+--warmup_step="$WPSP"} \
  "$@"
