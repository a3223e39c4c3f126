#!/usr/bin/env bash
# Fine-tunes ALBERT on RACE on the GPUs of this machine: trains, evaluates, predicts.
#
#   ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_race.sh [more flags of albert.run_multigpus_race]
#
# Every setting below, and in scripts/run_common.sh, is a variable that the environment overrides.
set -euo pipefail
# shellcheck source=scripts/run_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/scripts/run_common.sh"

TASK=RACE

BS=${BS:-4}               # questions per GPU and micro-batch, each with four options
EBS=${EBS:-4}             # per GPU, for evaluation and prediction
MSL=${MSL:-512}           # longest article with question and option, in pieces
MQL=${MQL:-128}           # longest question with option, in pieces
LR=${LR:-2e-05}           # peak learning rate
WPSP=${WPSP:-1000}        # warm-up steps
TSP=${TSP:-12000}         # training steps
SAVE=${SAVE:-1000}        # steps between two checkpoints, each with an evaluation
ALBERT_DP=${ALBERT_DP:-0} # dropout of the encoder

# The data, and what is made of it. For another model or other lengths set CACHED_DIR, or the names to nothing: caches in
# CACHED_DIR are then told apart by all they depend on.
DATA_DIR=${DATA_DIR:-${RACE_DIR:-$CURRENT_PWD}} # holds RACE/{train,dev,test}/{middle,high}
TRAIN_FEATURE_FILE=${TRAIN_FEATURE_FILE-$CACHED_DIR/RACE_train.tf_record}
EVAL_FEATURE_FILE=${EVAL_FEATURE_FILE-$CACHED_DIR/RACE_eval.tf_record}

[[ -d $DATA_DIR/RACE || -d $DATA_DIR/train ]] ||
  die "no folder $DATA_DIR/RACE: run ./download_glue_data.py --tasks=RACE, or set DATA_DIR to the folder that holds it."

fine_tune run_multigpus_race "$TASK" "$TSP steps" \
  --data_dir="$DATA_DIR" \
  --train_feature_file="$TRAIN_FEATURE_FILE" \
  --eval_feature_file="$EVAL_FEATURE_FILE" \
  --max_qa_length="$MQL" \
  --train_step="$TSP" \
  --warmup_step="$WPSP" \
  "$@"
