#!/usr/bin/env bash
# Fine-tunes ALBERT on SQuAD on the GPUs of this machine: trains, answers the dev set, scores the answers.
#
#   SQUAD_VERSION=2.0 ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_squad.sh [more flags of albert.run_multigpus_squad_v2]
#
# Every setting below, and in scripts/run_common.sh, is a variable that the environment overrides.
set -euo pipefail
# shellcheck source=scripts/run_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/scripts/run_common.sh"

SQUAD_VERSION=${SQUAD_VERSION:-2.0}
[[ $SQUAD_VERSION =~ ^(1\.1|2\.0)$ ]] || die "SQUAD_VERSION=$SQUAD_VERSION is not known: use 1.1 or 2.0."
TASK=SQuAD$SQUAD_VERSION

BS=${BS:-16}                  # windows per GPU and micro-batch
EBS=${EBS:-4}                 # per GPU, for evaluation and prediction
MSL=${MSL:-512}               # longest window with its question, in pieces
DOC_STRIDE=${DOC_STRIDE:-128} # pieces from the beginning of one window to that of the next
MQL=${MQL:-64}                # longest question, in pieces
LR=${LR:-5e-05}               # peak learning rate
EPOCH=${EPOCH:-3.0}           # how often each window is seen
WPP=${WPP:-0.1}               # part of the steps that is warm-up
SAVE=${SAVE:-1000}            # steps between two checkpoints, each with an evaluation
ALBERT_DP=${ALBERT_DP:-}      # dropout of the encoder; empty: as the model's configuration says

# The data, and what is made of it. Another length of rows makes other caches; for another model, stride or length of
# questions set CACHED_DIR, or the names to nothing: caches in CACHED_DIR are then told apart by all they depend on.
DATA_DIR=${DATA_DIR:-${SQUAD_DIR:-$CURRENT_PWD/SQuAD}}
TRAIN_FILE=${TRAIN_FILE:-$DATA_DIR/train-v$SQUAD_VERSION.json}
PREDICT_FILE=${PREDICT_FILE:-$DATA_DIR/dev-v$SQUAD_VERSION.json}
TRAIN_FEATURE_FILE=${TRAIN_FEATURE_FILE-$CACHED_DIR/${TASK}_train_$MSL.tf_record}
PREDICT_FEATURE_FILE=${PREDICT_FEATURE_FILE-$CACHED_DIR/${TASK}_dev_$MSL.tf_record}
PREDICT_FEATURE_LEFT_FILE=${PREDICT_FEATURE_LEFT_FILE-$CACHED_DIR/${TASK}_dev_left_$MSL.json}

check_file() {
  [[ -f $2 ]] ||
    die "no file $2: run ./download_glue_data.py --tasks=SQuAD, or set SQUAD_DIR to its folder, or $1."
}
if is_true "$DO_TRAIN"; then check_file TRAIN_FILE "$TRAIN_FILE"; fi
if is_true "$DO_EVAL" || is_true "$DO_PREDICT"; then check_file PREDICT_FILE "$PREDICT_FILE"; fi

fine_tune "run_multigpus_squad_v${SQUAD_VERSION%%.*}" "$TASK" "$EPOCH epochs" \
  --train_file="$TRAIN_FILE" \
  --predict_file="$PREDICT_FILE" \
  --train_feature_file="$TRAIN_FEATURE_FILE" \
  --predict_feature_file="$PREDICT_FEATURE_FILE" \
  --predict_feature_left_file="$PREDICT_FEATURE_LEFT_FILE" \
  --doc_stride="$DOC_STRIDE" \
  --max_query_length="$MQL" \
  --num_train_epochs="$EPOCH" \
  --warmup_proportion="$WPP" \
  "$@"
