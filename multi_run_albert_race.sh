#!/usr/bin/env bash
# Fine-tunes ALBERT on RACE on the GPUs of this machine: trains, evaluates, predicts.
#
#   ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_race.sh [more flags of albert.run_multigpus_race]
#
# The recipe (albert/tasks/recipes.py) sets rate, steps, warm-up, batch over all GPUs, dropout, length and save interval.
# Every setting is a variable of the environment; --help lists them.
set -euo pipefail
# shellcheck source=scripts/run_common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/scripts/run_common.sh"

TASK=RACE
EBS=${EBS:-4}   # questions per GPU, each with four options, for evaluation and prediction
MQL=${MQL:-128} # longest question with option, in tokens
WPSP=${WPSP:-}  # warm-up steps
TSP=${TSP:-}    # training steps
check_whole MQL 1 999999 "a number of tokens"
check_whole WPSP 0 999999999 "a number of steps"
check_whole TSP 1 999999999 "a number of steps"
refuse "TSP, a number of steps" EPOCH
refuse "WPSP, a number of steps" WPP

usual_data='' # for name_cache
if [[ -z ${DATA_DIR:-}${RACE_DIR:-}$MSL && $MQL == 128 ]]; then
  # shellcheck disable=SC2034
  usual_data=true
fi

# The data, and what is made of it.
flag_variables+=(
  data_dir=DATA_DIR train_feature_file=TRAIN_FEATURE_FILE eval_feature_file=EVAL_FEATURE_FILE max_qa_length=MQL
  train_step=TSP warmup_step=WPSP
)

# RACE_DIR: older name of DATA_DIR
DATA_DIR=${DATA_DIR:-${RACE_DIR:-$CURRENT_PWD}}                             # holds RACE/{train,dev,test}/{middle,high}
TRAIN_FEATURE_FILE=${TRAIN_FEATURE_FILE-$(name_cache RACE_train.tf_record)} # cache of the training set
EVAL_FEATURE_FILE=${EVAL_FEATURE_FILE-$(name_cache RACE_eval.tf_record)}    # cache of the dev set

[[ -d $DATA_DIR/RACE || -d $DATA_DIR/train ]] ||
  complain "no folder $DATA_DIR/RACE: run ./download_glue_data.py --tasks=RACE, or set DATA_DIR to the folder that holds it."

read_recipe "$TASK"

fine_tune run_multigpus_race "$TASK" "${TSP:+$(counted "$TSP" step)}" \
  --data_dir="$DATA_DIR" \
  --train_feature_file="$TRAIN_FEATURE_FILE" \
  --eval_feature_file="$EVAL_FEATURE_FILE" \
  --max_qa_length="$MQL" \
  ${TSP:+--train_step="$TSP"} \
  ${WPSP:+--warmup_step="$WPSP"} \
  "$@"
