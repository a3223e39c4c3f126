#!/usr/bin/env bash
# Fine-tunes ALBERT on SQuAD on the GPUs of this machine: trains, answers the dev set, scores the answers.
#
#   SQUAD_VERSION=2.0 ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_squad.sh [more flags of albert.run_multigpus_squad_v2]
#
# The recipe (albert/tasks/recipes.py) sets rate, epochs, warm-up, batch over all GPUs, dropout, length and save interval.
# Every setting is a variable of the environment; --help lists them.
set -euo pipefail
# shellcheck source=scripts/run_common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/scripts/run_common.sh"

SQUAD_VERSION=${SQUAD_VERSION:-2.0} # 1.1 or 2.0
[[ $SQUAD_VERSION =~ ^(1\.1|2\.0)$ ]] || complain_of SQUAD_VERSION "is not known: use 1.1 or 2.0."
TASK=SQuAD$SQUAD_VERSION

EBS=${EBS:-4}                 # windows per GPU, for evaluation and prediction
DOC_STRIDE=${DOC_STRIDE:-128} # tokens from the beginning of one window to that of the next
MQL=${MQL:-64}                # longest question, in tokens
EPOCH=${EPOCH:-}              # how often each window is seen
WPP=${WPP:-}                  # part of the steps that is warm-up
check_whole DOC_STRIDE 1 999999 "a number of tokens"
check_whole MQL 1 999999 "a number of tokens"
check_number EPOCH "a number of epochs" "3 or 0.5"
check_number WPP "a share of the steps" 0.1
refuse "EPOCH, a number of epochs" TSP
refuse "WPP, a share of the steps" WPSP

flag_variables+=(
  train_file=TRAIN_FILE predict_file=PREDICT_FILE train_feature_file=TRAIN_FEATURE_FILE
  predict_feature_file=PREDICT_FEATURE_FILE predict_feature_left_file=PREDICT_FEATURE_LEFT_FILE
  doc_stride=DOC_STRIDE max_query_length=MQL num_train_epochs=EPOCH warmup_proportion=WPP
)

usual_data='' # for name_cache
if [[ -z ${DATA_DIR:-}${SQUAD_DIR:-}${TRAIN_FILE:-}${PREDICT_FILE:-} && $DOC_STRIDE == 128 && $MQL == 64 ]]; then
  # shellcheck disable=SC2034
  usual_data=true
fi

# SQUAD_DIR: older name of DATA_DIR
DATA_DIR=${DATA_DIR:-${SQUAD_DIR:-$CURRENT_PWD/SQuAD}}           # folder of both files; default: SQuAD/
TRAIN_FILE=${TRAIN_FILE:-$DATA_DIR/train-v$SQUAD_VERSION.json}   # questions to train on
PREDICT_FILE=${PREDICT_FILE:-$DATA_DIR/dev-v$SQUAD_VERSION.json} # questions to answer

missing='' # a folder, whose files get no line each
check_file() {
  if is_wrong SQUAD_VERSION || [[ -f $2 || $(dirname -- "$2") == "$missing" ]]; then return; fi
  complain "no file $2: run ./download_glue_data.py --tasks=SQuAD, or set SQUAD_DIR to its folder, or $1."
  [[ -d $(dirname -- "$2") ]] || missing=$(dirname -- "$2")
}
if is_true "$DO_TRAIN"; then check_file TRAIN_FILE "$TRAIN_FILE"; fi
if is_true "$DO_EVAL" || is_true "$DO_PREDICT"; then check_file PREDICT_FILE "$PREDICT_FILE"; fi

read_recipe "$TASK"

# What is made of the data.
length=${MSL:-$recipe_length}
TRAIN_FEATURE_FILE=${TRAIN_FEATURE_FILE-$(name_cache "${TASK}_train_$length.tf_record")}         # cache of TRAIN_FILE
PREDICT_FEATURE_FILE=${PREDICT_FEATURE_FILE-$(name_cache "${TASK}_dev_$length.tf_record")}           # cache of PREDICT_FILE
PREDICT_FEATURE_LEFT_FILE=${PREDICT_FEATURE_LEFT_FILE-$(name_cache "${TASK}_dev_left_$length.json")} # its texts

fine_tune "run_multigpus_squad_v${SQUAD_VERSION%%.*}" "$TASK" "${EPOCH:+$(counted "$EPOCH" epoch)}" \
  --train_file="$TRAIN_FILE" \
  --predict_file="$PREDICT_FILE" \
  --train_feature_file="$TRAIN_FEATURE_FILE" \
  --predict_feature_file="$PREDICT_FEATURE_FILE" \
  --predict_feature_left_file="$PREDICT_FEATURE_LEFT_FILE" \
  --doc_stride="$DOC_STRIDE" \
  --max_query_length="$MQL" \
  ${EPOCH:+--num_train_epochs="$EPOCH"} \
  ${WPP:+--warmup_proportion="$WPP"} \
  "$@"
