#!/usr/bin/env bash
# Fine-tunes ALBERT on a table of your own texts and labels on the GPUs of this machine: trains, evaluates and, with
# TEST_FILE, predicts.
#
#   TRAIN_FILE=tickets.csv ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_own.sh [more flags of albert.run_multigpus_classifier]
#
# Several seeds, learning rates or weight decays are a sweep (docs/sweeps.md), which has a run on GPUS_PER_RUN GPUs for
# each:
#
#   TRAIN_FILE=tickets.csv SEEDS=1,2,3 LR=1e-5,2e-5 ./multi_run_albert_own.sh [more flags of albert.sweep and of its runs]
#
# The recipe (albert/tasks/recipes.py) sets rate, epochs, warm-up, batch over all GPUs, length and save interval.
# Every setting is a variable of the environment; --help lists them.
set -euo pipefail
SEEDS=${SEEDS:-}                     # several seeds with commas: a sweep
TRAIN_FILE=${TRAIN_FILE:-}           # texts and labels: .csv, .tsv, .json or .jsonl; words and tags: also .conll
VALIDATION_FILE=${VALIDATION_FILE:-} # without it, a tenth of TRAIN_FILE is held out
TEST_FILE=${TEST_FILE:-}             # a table to predict
given_predict=${DO_PREDICT:-}
# shellcheck source=scripts/run_common.sh
source "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/scripts/run_common.sh"
# shellcheck source=scripts/sweep.sh
source "$root/scripts/sweep.sh"

if [[ ! $given_predict ]]; then DO_PREDICT=''; fi
DO_PREDICT=${DO_PREDICT:-${TEST_FILE:+true}} # write predictions; default: with TEST_FILE
DO_PREDICT=${DO_PREDICT:-false}
GPUS_PER_RUN=${GPUS_PER_RUN:-1} # of each run in a sweep
# LR: peak learning rate; several with commas: a sweep
# WEIGHT_DECAY: of all weights but biases and layer norms, default: 0.01; several with commas: a sweep
EBS=${EBS:-32}   # per GPU, for evaluation and prediction
EPOCH=${EPOCH:-} # how often each row is seen
WPP=${WPP:-}     # part of the steps that is warm-up
check_number EPOCH "a number of epochs" "3 or 0.5"
check_number WPP "a share of the steps" 0.1
refuse "EPOCH, a number of epochs" TSP
refuse "WPP, a share of the steps" WPSP

flag_variables+=(
  train_file=TRAIN_FILE validation_file=VALIDATION_FILE test_file=TEST_FILE num_train_epochs=EPOCH warmup_proportion=WPP
)

[[ -n $TRAIN_FILE$VALIDATION_FILE$TEST_FILE ]] ||
  complain "TRAIN_FILE is not set: name a table of texts and labels (.csv, .tsv, .json or .jsonl), or words with tags (.conll)."
for variable in TRAIN_FILE VALIDATION_FILE TEST_FILE; do
  [[ -z ${!variable} || -f ${!variable} ]] ||
    complain "no file ${!variable}: set $variable to a table of texts and labels."
done

# The name of a run is that of its file, without what folders are not called. A file that differs from another one in
# its ending alone has that in its name where the other one's folder is there.
data_file=${TRAIN_FILE:-${VALIDATION_FILE:-$TEST_FILE}}
data_file=${data_file##*/}
data_split=train
if [[ ! $TRAIN_FILE ]]; then
  data_split='test'
  if [[ $VALIDATION_FILE ]]; then data_split=dev; fi
fi
name=own_${data_file%.*}
name=${name//[^A-Za-z0-9._-]/_}
# shellcheck disable=SC2034 # for default_output_dir
other_name=own_${data_file//[^A-Za-z0-9._-]/_}

# is_of_other_data FOLDER: whether the log of the run that made FOLDER names another file than data_file.
is_of_other_data() {
  local line file
  line=$(grep -m 1 -E " $data_split: [0-9,]+ of [0-9,]+ rows? of " -- "$1.log" 2>/dev/null) || return 1
  file=${line#* of * row* of }
  [[ $file != "$data_file" && $file != "$data_file":* && $file != */"$data_file" && $file != */"$data_file":* ]]
}

own_flags=(
  ${TRAIN_FILE:+--train_file="$TRAIN_FILE"}
  ${VALIDATION_FILE:+--validation_file="$VALIDATION_FILE"}
  ${TEST_FILE:+--test_file="$TEST_FILE"}
  ${EPOCH:+--num_train_epochs="$EPOCH"}
  ${WPP:+--warmup_proportion="$WPP"}
)
if is_sweep; then
  [[ $TRAIN_FILE ]] || complain "TRAIN_FILE is not set: every run of a sweep trains."
  check_sweep
  part_arguments "$@"
  sweep "$name" '' "${own_flags[@]}"
  exit
fi

read_recipe own

fine_tune run_multigpus_classifier "$name" "${EPOCH:+$(counted "$EPOCH" epoch)}" "${own_flags[@]}" "$@"
