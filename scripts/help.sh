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
  MODEL_NAME=MODEL_DIR MODEL_NAME_OR_PATH=MODEL_DIR PRETRAINED_MODEL=MODEL_DIR MODELS_DIR=MODEL_DIR MODEL_PATH=MODEL_DIR
  DATADIR=DATA_DIR/TRAIN_FILE CACHE_DIR=CACHED_DIR
)

flags_of_all=' --max_grad_norm --lr_scheduler_type --adam_epsilon --adam_beta1 --adam_beta2 '

# Those of them, and names like a variable's, that programs have which train nothing: of these a script only warns.
readonly common_names=' BATCH CACHE_DIR CHECKPOINT CONFIGS DATA DATADIR DEV DEVICES GPU GPUS LOG_FILE METRIC MODEL
  MODELS_DIR MODEL_NAME MODEL_PATH NUM_GPU N_GPU N_GPUS OUTPUT TEST TEST_FILES TRAIN VALIDATION VERSIONS VOCAB WD
  WORKERS version config '
# What not every one of the scripts reads; of the others it has no effect.
readonly of_some_scripts=(TASK TRAIN_FILE VALIDATION_FILE TEST_FILE PREDICT_FILE SQUAD_VERSION DOC_STRIDE MQL GPUS_PER_RUN)

strange_names=() # NAME=MEANT for variables of the environment that this script does not read; MEANT is set nowhere
warnings=''      # lines for the terminal and the log

# is_near ONE OTHER: whether a letter more, fewer or another, or two in the wrong order, make one of the other.
is_near() {
  local one=$1 other=$2
  while [[ $one && ${one:0:1} == "${other:0:1}" ]]; do one=${one:1} other=${other:1}; done
  while [[ $one && $other && ${one: -1} == "${other: -1}" ]]; do one=${one%?} other=${other%?}; done
  ((${#one} <= 1 && ${#other} <= 1)) || [[ ${#one} == 2 && $one == "${other:1}${other:0:1}" ]]
}

# find_meant NAME: sets `meant` to the variable or the flag of this script that NAME seems to mean, '' for none.
find_meant() {
  local pair known candidates upper=${1^^}
  meant=''
  if [[ ${text_of_variable[$upper]+set} ]]; then
    meant=$upper # in small letters
    return
  fi
  for pair in "${other_names[@]}"; do
    [[ ${pair%%=*} == "$upper" ]] || continue
    IFS=/ read -ra candidates <<<"${pair#*=}"
    for known in "${candidates[@]}"; do
      if [[ ${text_of_variable[$known]+set} || $flags_of_all == *" $known "* ]] ||
        [[ $known == --* && ${text_of_variable[VALIDATION_FILE]+set} ]]; then
        meant=$known
        return
      fi
    done
    return
  done
  if [[ ${#1} -lt 5 || " ${of_some_scripts[*]} " == *" $upper "* ]]; then return; fi
  for known in "${!text_of_variable[@]}"; do
    if ((${#known} > 4 && ${#known} - ${#1} < 2 && ${#1} - ${#known} < 2)) && is_near "$upper" "$known"; then
      meant=$known
      return
    fi
  done
}

# note_strange_names SCRIPT: sets strange_names, before defaults are set.
note_strange_names() {
  local name meant
  read_variables "$1"
  read_variables "$root/scripts/run_common.sh"
  while IFS= read -r name; do
    if [[ -z ${!name:-} || ${text_of_variable[$name]+set} ]]; then continue; fi
    find_meant "$name"
    if [[ $meant == --* || $meant && -z ${!meant:-} || " ${of_some_scripts[*]} " == *" $name "* ]]; then
      strange_names+=("$name=$meant")
    fi
  done < <(compgen -e)
}

# check_strange_names: complains of strange_names, or warns of those that may be another program's; of none whose flag
# was given.
# shellcheck disable=SC2154 # scripts/run_common.sh sets flag_variables and given_flags
check_strange_names() {
  local pair name meant flag also before=$problems
  problems='' # these come first: what is missing may be what they mean
  for pair in ${strange_names+"${strange_names[@]}"}; do
    name=${pair%%=*} meant=${pair#*=} also=''
    for flag in "${flag_variables[@]}"; do
      if [[ ${flag#*=} == "$meant" && $given_flags =~ " "(set:)?"${flag%%=*} " ]]; then continue 2; fi
    done
    if [[ $meant == --* ]]; then
      [[ $given_flags != *" ${meant#--} "* ]] || continue
      also="write $meant=$(in_quotes "${!name}") behind the name of the script."
    elif [[ $meant ]]; then
      also="did you mean $meant? (${text_of_variable[$meant]})"
    fi
    if [[ ! $meant ]]; then
      warnings+="${0##*/}: $name has no effect on this script."$'\n'
    elif [[ $common_names =~ [[:space:]]"$name"[[:space:]] ]]; then
      warnings+="${0##*/}: $name is ignored: $also"$'\n'
    else
      complain "$name is not a variable of this script: $also If it is another program's, unset it here: env -u $name $0"
    fi
  done
  problems+=$before
  printf '%s' "$warnings" >&2
}

# refuse_words ARGUMENT...: dies of one that is no flag, which nothing would follow. A word behind a flag without = may be
# that one's value, unless it sets a variable.
refuse_words() {
  local word before='' name meant put
  for word; do
    name=''
    if [[ $word =~ ^([A-Za-z_][A-Za-z0-9_]*)= ]]; then name=${BASH_REMATCH[1]}; fi
    put="put it in front: $(in_quotes "$word") $0"
    if [[ $name && ${text_of_variable[$name]+set} ]]; then
      die "$word stands behind the script's name, where a variable has no effect: $put"
    elif [[ $word != -* && ($before != -* || $before == -- || $before == *=*) ]]; then
      if [[ $name && $name == "${name,,}" ]]; then die "$word is not a flag: write --$(in_quotes "$word")"; fi
      if [[ $name ]]; then find_meant "$name"; else meant=$(variable_for "$word"); fi
      if [[ $meant == --* ]]; then
        put=": write $meant=$(in_quotes "${word#*=}")"
      elif [[ $name && $meant ]]; then
        put=": did you mean $meant, in front of the script's name? (${text_of_variable[$meant]})"
      elif [[ $meant ]]; then
        put=": did you mean $meant=$(in_quotes "$word") in front of the script's name?"
      else
        put=": behind the script's name are flags, --flag=value, in front of it variables (--help lists them)"
      fi
      die "$word is not a flag$put"
    fi
    before=$word
  done
}

# variable_for WORD: prints the variable or the flag of this script that a file, a folder or a task is for.
variable_for() {
  if [[ -f $1 && ${text_of_variable[VALIDATION_FILE]+set} ]]; then
    echo TRAIN_FILE
  elif [[ -d $1 ]]; then
    echo MODEL_DIR
  elif [[ ! -e $1 && ${text_of_variable[TASK]+set} ]]; then
    echo TASK
  fi
}
