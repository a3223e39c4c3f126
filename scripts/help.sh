# shellcheck shell=bash
# What the multi_run_albert_*.sh scripts say of their variables. Sourced, never run. The one source is the comments in
# the script and in scripts/run_common.sh: `NAME=${NAME:-default} # what it is`, and `# NAME: what it is` for a variable
# that no such line sets.

root=${root:?} # of whoever sources this
declare -A text_of_variable=() # what is said of each variable that the script reads
listed_variables=''            # a line for each of the file that was read last

# read_variables FILE: adds the variables of a script to both.
read_variables() {
  local line name default text
  listed_variables=''
  while IFS= read -r line; do
    # shellcheck disable=SC2016 # the text ${ is meant
    if [[ $line =~ ^([A-Z_]+)='${'([A-Z_]+):?-(.*)'}'\ +'# '(.*)$ && ${BASH_REMATCH[1]} == "${BASH_REMATCH[2]}" ]]; then
      name=${BASH_REMATCH[1]} default=${BASH_REMATCH[3]} text=${BASH_REMATCH[4]}
    elif [[ $line =~ ^'# '([A-Z_]+)': '(.*)$ ]]; then
      name=${BASH_REMATCH[1]} default='' text=${BASH_REMATCH[2]}
    else
      continue
    fi
    if [[ ${text_of_variable[$name]+set} ]]; then continue; fi # the script says it better
    text_of_variable[$name]=$text
    if [[ $default && $default != *'$'* ]]; then name+="=$default"; fi
    printf -v line '  %-26s %s\n' "$name" "$text"
    listed_variables+=$line
  done <"$1"
}

# show_help SCRIPT: prints the comment at its top, with an example, and the variables.
show_help() {
  sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//p}' "$1"
  read_variables "$1"
  printf '\nVariables of this script, with their defaults:\n%s' "$listed_variables"
  read_variables "$root/scripts/run_common.sh"
  printf '\nVariables of all multi_run_albert_*.sh:\n%s' "$listed_variables"
  printf '\nVARIABLE=value goes in front of the name of the script, --flag=value behind it. Flags win over variables.\n'
}

# Names that other programs have for a variable; where there are several, the first one that the script reads is meant.
# What is a flag is named by it: one of flags_of_all in every script, others for own data.
other_names=(
  EPOCHS=EPOCH/TSP NUM_EPOCHS=EPOCH/TSP TRAIN_EPOCHS=EPOCH/TSP NUM_TRAIN_EPOCHS=EPOCH/TSP
  STEPS=TSP/EPOCH NUM_STEPS=TSP/EPOCH MAX_STEPS=TSP/EPOCH TRAIN_STEP=TSP/EPOCH TRAIN_STEPS=TSP/EPOCH
  NUM_TRAIN_STEPS=TSP/EPOCH WARMUP=WPSP/WPP WARMUP_STEP=WPSP/WPP WARMUP_STEPS=WPSP/WPP WARMUP_PROPORTION=WPP/WPSP
  BATCH=BS BATCH_SIZE=BS TRAIN_BATCH_SIZE=BS EVAL_BATCH_SIZE=EBS LEARNING_RATE=LR
  MAX_SEQ_LENGTH=MSL MAX_SEQ_LEN=MSL MAX_LENGTH=MSL MAX_LEN=MSL MAXLEN=MSL SEQ_LENGTH=MSL SEQ_LEN=MSL
  NUM_GPU=NUM_GPUS N_GPU=NUM_GPUS N_GPUS=NUM_GPUS GPUS=NUM_GPUS NUM_GPU_CORES=NUM_GPUS WORKERS=NUM_WORKERS
  SEEDS=SEED TASKS=TASK TASK_NAME=TASK OUTPUT=OUTPUT_DIR MODEL=MODEL_DIR CHECKPOINT=INIT_CHECKPOINT DROPOUT=ALBERT_DP
  SAVE_STEPS=SAVE EVAL_STEPS=SAVE VOCAB=SPM_MODEL LOG_FILE=LOG DATA=DATA_DIR/TRAIN_FILE TRAIN=TRAIN_FILE
  LEARNING_RATES=LR WARMUP_RATIO=WPP/WPSP GRAD_ACCUM=ACCUM GRADIENT_ACCUMULATION_STEPS=ACCUM GPU=NUM_GPUS
  MODELDIR=MODEL_DIR OUTPUTDIR=OUTPUT_DIR TRAINFILE=TRAIN_FILE TESTFILE=TEST_FILE TEST=TEST_FILE
  VALID_FILE=VALIDATION_FILE VAL_FILE=VALIDATION_FILE DEV_FILE=VALIDATION_FILE EVAL_FILE=VALIDATION_FILE
  VALIDATIONFILE=VALIDATION_FILE VALIDATION=VALIDATION_FILE DEV=VALIDATION_FILE
  CLASS_WEIGHTS=--class_weights METRIC=--metric_for_best_model PATIENCE=--early_stopping_patience
  WD=WEIGHT_DECAY WEIGHTDECAY=WEIGHT_DECAY WEIGHT_DECAYS=WEIGHT_DECAY
  MAX_GRAD_NORM=--max_grad_norm LR_SCHEDULER_TYPE=--lr_scheduler_type LR_SCHEDULER=--lr_scheduler_type
  ADAM_EPSILON=--adam_epsilon ADAM_BETA1=--adam_beta1 ADAM_BETA2=--adam_beta2
  LABEL_COLUMN=--label_column_name TEXT_COLUMN=--text_column_names TEXT_COLUMNS=--text_column_names
)

flags_of_all=' --max_grad_norm --lr_scheduler_type --adam_epsilon --adam_beta1 --adam_beta2 '

# warn_of_other_names SCRIPT: says which variables of the environment have such names, where the one that is meant is
# not set. They may be another program's: nothing is refused.
warn_of_other_names() {
  local pair name meant candidates
  read_variables "$1"
  read_variables "$root/scripts/run_common.sh"
  for pair in "${other_names[@]}"; do
    name=${pair%%=*}
    if [[ -z ${!name:-} || ${text_of_variable[$name]+set} ]]; then continue; fi
    IFS=/ read -ra candidates <<<"${pair#*=}"
    for meant in "${candidates[@]}"; do
      if [[ $meant == --* ]] && [[ $flags_of_all == *" $meant "* || ${text_of_variable[VALIDATION_FILE]+set} ]]; then
        printf '%s: %s is ignored: write %s=%s behind the name of the script.\n' "${0##*/}" "$name" "$meant" "${!name}" >&2
        break
      fi
      if [[ ${text_of_variable[$meant]+set} ]]; then
        if [[ -z ${!meant:-} ]]; then
          printf '%s: %s is ignored: did you mean %s? (%s)\n' "${0##*/}" "$name" "$meant" "${text_of_variable[$meant]}" >&2
        fi
        break
      fi
    done
  done
}
