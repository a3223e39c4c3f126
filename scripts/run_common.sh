# shellcheck shell=bash
# What the multi_run_albert_*.sh scripts share: the settings that mean the same in all of them, and the call. Sourced at
# the top of such a script, never run. Defaults are below the folder CURRENT_PWD (the checkout); paths that are given
# count from where the script is called. A variable that is not set, or empty, is left to the task's recipe
# (albert/tasks/recipes.py).
root=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"

# shellcheck source=scripts/help.sh
source "$root/scripts/help.sh"
case ${1:-} in
  help | -h | -help | --help)
    show_help "${BASH_SOURCE[-1]}"
    exit 0
    ;;
esac
note_strange_names "${BASH_SOURCE[-1]}"
script_arguments=("$@")
refuse_words "$@"

# shellcheck source=scripts/folders.sh
source "$root/scripts/folders.sh"
# shellcheck source=scripts/follow_flags.sh
source "$root/scripts/follow_flags.sh"

# A script with SEEDS among its variables starts a sweep where there are several seeds, rates or weight decays.
# shellcheck disable=SC2034 # for scripts/sweep.sh, as is given_keep
given_gpus=${NUM_GPUS:-} rates='' decays=''
# shellcheck disable=SC2034
if [[ ${text_of_variable[SEEDS]+set} && ${LR:-} == *,* ]]; then rates=$LR LR=''; fi
# shellcheck disable=SC2034
if [[ ${text_of_variable[SEEDS]+set} && ${WEIGHT_DECAY:-} == *,* ]]; then decays=$WEIGHT_DECAY WEIGHT_DECAY=''; fi

trap 'exit 130' INT # without it, bash goes on if what it runs meanwhile did not get the signal, too

for variable in CURRENT_PWD MODEL_DIR CONFIG SPM_MODEL INIT_CHECKPOINT CACHED_DIR OUTPUT_DIR LOG DATA_DIR GLUE_DIR \
  SQUAD_DIR RACE_DIR TRAIN_FILE VALIDATION_FILE TEST_FILE PREDICT_FILE; do
  expand_home "$variable"
done
while [[ ${OUTPUT_DIR:-} == ?*/ ]]; do OUTPUT_DIR=${OUTPUT_DIR%/}; done # its log is beside it, not in it
if [[ ${OUTPUT_DIR:-} && $(realpath -m -- "$OUTPUT_DIR") == / ]]; then
  complain_of OUTPUT_DIR "is the root of all folders: name one for the results."
fi

# The model
ALBERT_DIR=${ALBERT_DIR:-base} # base, large, xlarge or xxlarge: which of Google's models
VERSION=${VERSION:-2}          # of Google's models, 1 or 2

# Devices and precision
# NUM_GPUS: GPUs to train on; default: all that are visible. With DEVICE=cpu, replicas on the CPU
DEVICE=${DEVICE:-auto} # auto, gpu or cpu
NUM_WORKERS=${NUM_WORKERS:-1} # processes on this machine that train together, each with NUM_GPUS of the GPUs
check_whole NUM_WORKERS 1 64 "a number of workers"
gpus=$(count_gpus)
if ((NUM_WORKERS > 1)); then
  if [[ $DEVICE == cpu ]]; then gpus=0; fi
  if ((gpus > 0 && gpus < NUM_WORKERS)); then
    complain_of NUM_WORKERS "needs as many GPUs, but only $(counted "$gpus" GPU) can be used: use fewer workers, or DEVICE=cpu."
  fi
  if [[ -n ${STRATEGY:-} && $STRATEGY != multi_worker ]]; then
    complain_of STRATEGY "is for one process: use multi_worker, or leave it out, with NUM_WORKERS=$NUM_WORKERS."
  fi
  STRATEGY=multi_worker
  NUM_GPUS=${NUM_GPUS:-$((gpus / NUM_WORKERS))}
fi
NUM_GPUS=${NUM_GPUS:-$gpus}
if [[ $NUM_GPUS == 0 ]]; then NUM_GPUS=1; fi # none: one replica on the CPU
STRATEGY=${STRATEGY:-mirror}  # one or mirror; multi_worker with several workers
DTYPE=${DTYPE:-auto}          # auto: bfloat16 on GPUs that compute in it, otherwise float32
PACK=${PACK:-true}            # several short sequences share a row
RECOMPUTE=${RECOMPUTE:-false} # compute activations twice instead of keeping them: saves memory

# Training. BS x ACCUM x NUM_GPUS x NUM_WORKERS examples are one step; without BS, that is the recipe's batch.
BS=${BS:-}                    # examples per GPU and micro-batch
ACCUM=${ACCUM:-}              # micro-batches per step: a large batch in little memory
MSL=${MSL:-}                  # longest row, in tokens
LR=${LR:-}                    # peak learning rate
SAVE=${SAVE:-}                # steps between two checkpoints, each with an evaluation
ALBERT_DP=${ALBERT_DP:-}      # dropout of the encoder
# shellcheck disable=SC2034
given_keep=${KEEP:-}
KEEP=${KEEP:-5}               # checkpoints that stay, the best apart
OPTIMIZER=${OPTIMIZER:-adamw} # adamw or lamb
WEIGHT_DECAY=${WEIGHT_DECAY:-} # of all weights but biases and layer norms; default: 0.01
SEED=${SEED:-42}              # of the order of the data, dropout and the new layer

# What is done
DO_TRAIN=${DO_TRAIN:-true}     # train
DO_EVAL=${DO_EVAL:-true}       # evaluate on the dev set
DO_PREDICT=${DO_PREDICT:-true} # write predictions

# Where things are
# OUTPUT_DIR: results; default: a folder in albert_output/ named after task, model, batch, rate and seed
# LOG: file that gets what the program says, without its progress bar; default: OUTPUT_DIR.log
# INIT_CHECKPOINT: weights to begin with, in place of those of MODEL_DIR; set to nothing: random ones
CURRENT_PWD=${CURRENT_PWD:-$root} # folder of the defaults of data, models, caches and results; default: the checkout
given_model=${MODEL_DIR:-}
MODEL_NAME=${MODEL_DIR:+$(basename -- "$(realpath -m -- "$MODEL_DIR")")} # in the default name of the output folder
MODEL_NAME=${MODEL_NAME:-${ALBERT_DIR}_v${VERSION}}
MODEL_DIR=${MODEL_DIR:-$CURRENT_PWD/pretrained_model/albert_${ALBERT_DIR}_v${VERSION}} # folder of the model: downloaded, or left by a run
CONFIG=${CONFIG:-}                                            # albert_config.json, in place of that of MODEL_DIR
SPM_MODEL=${SPM_MODEL:-}                                      # vocabulary, in place of that of MODEL_DIR
CACHED_DIR=${CACHED_DIR:-$CURRENT_PWD/cached_albert_tfrecord} # what is made of the data, for the next run

# google_model NAME: sets size and version if it is called like one of Google's models, as on Hugging Face or here.
google_model() {
  [[ $1 =~ ^(albert/)?(albert[-_])?(base|large|xlarge|xxlarge)([-_]v([12]))?$ ]] || return 1
  size=${BASH_REMATCH[3]} version=${BASH_REMATCH[5]:-$VERSION}
  [[ $version =~ ^[12]$ ]]
}

# Both become part of folder names.
if [[ ! -d $MODEL_DIR && ! $ALBERT_DIR =~ ^(base|large|xlarge|xxlarge)$ ]] && google_model "$ALBERT_DIR"; then
  complain_of ALBERT_DIR "is the name of a model: use ALBERT_DIR=$size VERSION=$version."
elif [[ -d $ALBERT_DIR && ! -d $MODEL_DIR && ! $given_model ]]; then
  complain_of ALBERT_DIR "is a folder: use MODEL_DIR=$ALBERT_DIR, or base, large, xlarge or xxlarge."
elif [[ ! $ALBERT_DIR =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]]; then
  complain_of ALBERT_DIR "is not a model size: use base, large, xlarge or xxlarge."
fi
# Images and /etc/os-release have a VERSION, too. It is of no model that is named.
[[ $given_model || $VERSION =~ ^[A-Za-z0-9._-]+$ ]] || complain_of VERSION "is not a version: use 1 or 2."
check_choice DEVICE auto gpu cpu
if is_wrong NUM_WORKERS; then
  check_choice STRATEGY one mirror multi_worker
elif ((NUM_WORKERS == 1)); then
  if [[ $STRATEGY == multi_worker ]]; then
    complain_of STRATEGY "needs NUM_WORKERS=2 or more here; on several machines see docs/several_machines.md."
  else
    check_choice STRATEGY one mirror
  fi
fi
check_choice DTYPE auto float32 bfloat16
check_choice OPTIMIZER adamw lamb
check_boolean PACK RECOMPUTE DO_TRAIN DO_EVAL DO_PREDICT
check_whole NUM_GPUS 1 9999 "a number of GPUs"
replicas=$((NUM_GPUS * NUM_WORKERS))
if [[ $STRATEGY == one ]]; then replicas=1; fi # one replica, on the first GPU
check_whole ACCUM 1 99999 "a number of micro-batches per step"
check_whole BS 1 999999 "a batch size per GPU"
check_whole MSL 1 999999 "a number of tokens"
check_whole SAVE 1 999999999 "a number of steps"
check_whole KEEP 0 999999999 "a number of checkpoints"
if [[ $SEED =~ ^[0-9]+(,[0-9]+)+$ && ${text_of_variable[SEEDS]+set} ]]; then
  complain_of SEED "is not a seed: use a whole number, or SEEDS=$SEED for a run with each."
elif [[ ! $SEED =~ ^-?[0-9]{1,18}$ ]]; then
  complain_of SEED "is not a seed: use a whole number."
fi
several=''
if [[ ${text_of_variable[SEEDS]+set} ]]; then several=', or several with commas between them'; fi
check_number LR "a learning rate" 2e-5 "$several"
check_number WEIGHT_DECAY "a weight decay" 0.01 "$several"
check_number ALBERT_DP "a dropout probability" 0.1

# The variables that set flags. Messages name them, because nobody wrote the flags. A script adds its own.
flag_variables=(
  model_dir=MODEL_DIR albert_config_file=CONFIG spm_model_file=SPM_MODEL init_checkpoint=INIT_CHECKPOINT
  device=DEVICE num_workers=NUM_WORKERS num_gpu_cores=NUM_GPUS gpus_per_worker=NUM_GPUS strategy_type=STRATEGY
  dtype=DTYPE pack_sequences=PACK recompute_activations=RECOMPUTE
  train_batch_size=BS gradient_accumulation_steps=ACCUM eval_batch_size=EBS predict_batch_size=EBS
  max_seq_length=MSL learning_rate=LR save_checkpoints_steps=SAVE keep_checkpoint_max=KEEP
  albert_dropout_prob=ALBERT_DP optimizer=OPTIMIZER weight_decay=WEIGHT_DECAY seed=SEED
  do_train=DO_TRAIN do_eval=DO_EVAL do_predict=DO_PREDICT cached_dir=CACHED_DIR output_dir=OUTPUT_DIR
)
# refuse OTHER VARIABLE...: complains of a variable that belongs to the other scripts, and names what to set here.
refuse() {
  local other=$1 variable
  shift
  for variable; do
    [[ -z ${!variable:-} ]] || complain_of "$variable" "has no effect on this script: set $other."
  done
}

given_flags=' ' # names of the flags among the script's arguments, with blanks around each

# note_flags ARGUMENT...: adds the flags among them to given_flags: --flag, -flag, --noflag, and as set:flag --set flag=.
note_flags() {
  local argument
  for argument; do
    if [[ $argument =~ ^--?([a-z0-9_]+) ]]; then given_flags+="${BASH_REMATCH[1]} ${BASH_REMATCH[1]#no} "; fi
    if [[ $argument =~ ^(--?set=)?([a-z0-9_]+)= ]]; then given_flags+="set:${BASH_REMATCH[2]} "; fi
  done
}

note_flags ${all_arguments+"${all_arguments[@]}"} # those that are in a file were written as flags, too

# list_flag_variables: prints flag_variables without given_flags. A variable that ./demo_albert sets from one of its
# options is called as the option.
list_flag_variables() {
  local pair name option
  for pair in "${flag_variables[@]}"; do
    name=${pair#*=}
    for option in ${ALBERT_DEMO_OPTIONS:-}; do
      if [[ ${option%%=*} == "$name" ]]; then name=${option#*=}; fi
    done
    [[ $given_flags == *" ${pair%%=*} "* ]] || printf '%s ' "${pair%%=*}=$name"
  done
}

# become_python ARGUMENT...: goes on as our interpreter, with our package first: another folder called albert where this
# is called from, or on PYTHONPATH, is not ours.
become_python() {
  ALBERT_FLAG_VARIABLES=$(list_flag_variables)
  export ALBERT_FLAG_VARIABLES PYTHONSAFEPATH=1 PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
  exec ${ends_with_script+"${ends_with_script[@]}"} "$root/.venv/bin/python" "$@"
}

# with_python ARGUMENT...: runs our interpreter.
with_python() { (become_python "$@"); }

# Flags behind the script's name with which a cache is of other data, lengths or another vocabulary than its name says.
readonly flags_of_caches=(
  data_dir train_file predict_file max_seq_length doc_stride max_query_length max_qa_length high_only middle_only
  model_dir spm_model_file vocab_file do_lower_case keep_accents
)

# name_cache FILE: prints FILE in CACHED_DIR, the predecessor's name for a cache of the usual data and lengths, by the
# script's usual_data, and of Google's models, which share a vocabulary; for all others nothing. Caches without names are
# told apart by all they depend on, where one with a name could only be refused.
name_cache() {
  local flag
  for flag in "${flags_of_caches[@]}"; do
    if [[ $given_flags == *" $flag "* ]]; then return; fi
  done
  if [[ ${usual_data:-} && $MODEL_NAME == "${ALBERT_DIR}_v$VERSION" && -z $SPM_MODEL ]]; then
    printf '%s\n' "$CACHED_DIR/$1"
  fi
}

# complain_of_model: says that the folder MODEL_DIR is not there, and how to get one: by the size in ALBERT_DIR, or by a
# MODEL_DIR that is called like one of Google's models.
complain_of_model() {
  local size version command=./download_pretrained_models.sh
  if [[ $given_model ]] && google_model "$MODEL_DIR"; then
    size="--version=$version $size and set ALBERT_DIR=$size"
    [[ $version == "$VERSION" ]] || size+=" VERSION=$version"
    complain "no folder $MODEL_DIR: run $command $size in its place."
  elif [[ $given_model ]]; then
    size="$command base, or $command --source=huggingface OWNER/NAME"
    complain "no folder $MODEL_DIR: set MODEL_DIR to the folder of a model. To fetch one, run $size."
  elif google_model "$ALBERT_DIR"; then
    complain "no folder $MODEL_DIR: run $command --version=$version $size, or set MODEL_DIR to the folder of a model."
  elif [[ $ALBERT_DIR =~ ^(base|large|xlarge|xxlarge)$ ]]; then
    complain_of VERSION "is not a version of Google's models: use 1 or 2, or set MODEL_DIR to the folder of a model."
  else
    complain_of ALBERT_DIR \
      "is not a size of Google's models: use base, large, xlarge or xxlarge, or set MODEL_DIR to the folder of a model."
  fi
}

# read_recipe TASK: checks the rest, stops if anything is wrong, sets up, and sets recipe_rate, recipe_batch,
# recipe_accum, recipe_length and recipe_duration, for what is said of a run and the names of its folders.
read_recipe() {
  local file line
  check_strange_names
  check_whole EBS 1 999999 "a batch size per GPU"
  for file in "$CONFIG" "$SPM_MODEL"; do
    [[ -z $file || -f $file ]] ||
      complain "no file $file: set CONFIG or SPM_MODEL to one that is there, or MODEL_DIR."
  done
  if [[ -z $CONFIG || -z $SPM_MODEL || -z ${INIT_CHECKPOINT+set} ]] && ! is_wrong ALBERT_DIR VERSION; then
    [[ -d $MODEL_DIR ]] || complain_of_model
  fi
  stop_if_wrong
  "$root/scripts/setup.sh"
  line=$(with_python "$root/scripts/recipe.py" "$1" "$MODEL_DIR" "$CONFIG" "$SPM_MODEL" "$replicas" "$ACCUM") || exit 2
  # shellcheck disable=SC2034 # recipe_length is for the scripts
  read -r recipe_rate recipe_batch recipe_accum recipe_length recipe_duration <<<"$line"
}

# script_command: prints how this script was called: the variables that it reads, its name, its arguments. All that
# environ has was set by whoever called it; the shell's own values are defaults by now.
script_command() {
  local variable word command=''
  local -A environment=()
  while IFS= read -r -d '' variable; do
    environment[${variable%%=*}]=${variable#*=}
  done 2>/dev/null </proc/$$/environ || true
  for variable in "${!environment[@]}"; do
    if [[ ${text_of_variable[$variable]+set} ]]; then printf '%s\n' "$variable"; fi
  done | sort | while IFS= read -r variable; do
    printf '%s=%s ' "$variable" "$(in_quotes "${environment[$variable]}")"
  done
  for word in "$0" ${script_arguments+"${script_arguments[@]}"}; do
    command+="$(in_quotes "$word") "
  done
  printf '%s\n' "${command% }"
}

# begin_part_of_log: writes a line above this run's part of LOG: when it begins, as which command; a blank line in front
# of all but the first. As albert/system/logged_output.py does for the runs of a sweep.
begin_part_of_log() {
  local blank=''
  if [[ -s $LOG ]]; then blank=$'\n'; fi
  printf '%s=== %(%Y-%m-%d %H:%M:%S %z)T %s\n' "$blank" -1 "$(script_command)" >>"$LOG"
}

# set_run_flags: sets run_flags, what one run and the runs of a sweep are told alike.
set_run_flags() {
  local model_dir=$MODEL_DIR
  # A folder that is not needed need not be there.
  if [[ -n $CONFIG && -n $SPM_MODEL && -n ${INIT_CHECKPOINT+set} ]]; then model_dir=''; fi
  # With BS, only ACCUM divides the batch.
  if [[ -n $BS ]]; then ACCUM=${ACCUM:-1}; fi
  run_flags=(
    --strategy_type="$STRATEGY"
    --dtype="$DTYPE"
    --cached_dir="$CACHED_DIR"
    --model_dir="$model_dir"
    --albert_config_file="$CONFIG"
    --spm_model_file="$SPM_MODEL"
    --eval_batch_size="$EBS"
    --predict_batch_size="$EBS"
    --pack_sequences="$PACK"
    --recompute_activations="$RECOMPUTE"
    --optimizer="$OPTIMIZER"
    ${INIT_CHECKPOINT+--init_checkpoint="$INIT_CHECKPOINT"}
    ${BS:+--train_batch_size="$BS"}
    ${ACCUM:+--gradient_accumulation_steps="$ACCUM"}
    ${MSL:+--max_seq_length="$MSL"}
    ${LR:+--learning_rate="$LR"}
    ${WEIGHT_DECAY:+--weight_decay="$WEIGHT_DECAY"}
    ${SAVE:+--save_checkpoints_steps="$SAVE"}
    ${ALBERT_DP:+--albert_dropout_prob="$ALBERT_DP"}
  )
}

# run_logged ARGUMENT...: runs our interpreter, whose output goes to LOG, too, and returns its exit code. A signal to this
# script goes on to the program, once: that has a process group of its own, so that it gets none of what a terminal sends
# to the script's. A second signal would end it without saving.
run_logged() {
  local log tee keeps_on bar='' size name child='' waiting='' ends_with_script=() code=0 waits=true
  unset ALBERT_PROGRESS_BAR
  # In both cases it can still say how it ended.
  # Where somebody watches, a progress bar for the screen comes through a pipe that the log is not made of. What reads
  # this script's lines from a pipe may show them on the same screen, where they would run into the bar.
  if [[ -t 2 && ! -p /dev/fd/1 ]]; then
    exec {bar}<> <(:) # a pipe without a name, with both of its ends
    exec {log}> >(trap '' INT TERM HUP QUIT && become_python "$root/scripts/show_and_log.py" "$LOG" "$bar")
    tee=$!
    size=$(stty size <&2 2>/dev/null) || size='0 0'
    export ALBERT_PROGRESS_BAR=$bar:${size#* } # albert/system/progress.py
  else
    if tee -p </dev/null >/dev/null 2>&1; then keeps_on=true; fi
    # With -p, where tee has it, the log gets all lines even if `| head` or a pager closes.
    exec {log}> >(trap '' INT TERM HUP QUIT && exec tee -a ${keeps_on+-p} -- "$LOG")
    tee=$!
  fi
  # Where nothing can be passed on, because the script itself was killed.
  if setpriv --pdeathsig TERM true 2>/dev/null; then ends_with_script=(setpriv --pdeathsig TERM); fi
  for name in INT TERM HUP QUIT; do
    # shellcheck disable=SC2064 # the name of now
    trap "pass_on $name" "$name"
  done
  trap pause TSTP
  set -m # the next one gets a process group, and does not ignore SIGINT as those in the background do
  become_python "$@" >&"$log" 2>&1 {log}>&- &
  child=$!
  set +m
  if [[ $bar ]]; then exec {bar}>&-; fi
  if [[ $waiting ]]; then pass_on "$waiting"; fi
  while [[ $waits ]]; do
    waits='' # a signal ends the wait, not the program, and sets it again
    wait "$child" 2>/dev/null && code=0 || code=$?
  done
  trap - INT TERM HUP QUIT TSTP
  exec {log}>&-
  wait "$tee" || code=$((code > 0 ? code : $?))
  return "$code"
}

# pass_on SIGNAL: for run_logged, whose variables these are.
pass_on() {
  waits=true waiting=$1
  if [[ $child ]]; then
    waiting=''
    kill -s "$1" "$child" 2>/dev/null || true
  fi
}

# pause: stops the program together with this script, as Ctrl-Z is meant, and lets both go on together.
pause() {
  waits=true
  if [[ $child ]]; then kill -s STOP -- "-$child" 2>/dev/null || true; fi
  kill -s STOP "$$"
  if [[ $child ]]; then kill -s CONT -- "-$child" 2>/dev/null || true; fi
}

# Flags behind the script's name with which the numbers of describe_run are no longer those of the run: it says less.
readonly changing_flags=(
  recipe do_train train_batch_size gradient_accumulation_steps num_gpu_cores strategy_type
  num_train_epochs train_step early_stopping_patience
)

# describe_run NAME BATCH ACCUM DURATION: prints what is trained, and how, as far as that is known here.
describe_run() {
  local flag said
  said="$1: $(counted "$2" example)/replica"
  if (($3 > 1)); then said+=" x $3 micro-batches"; fi
  said+=" x $(counted "$replicas" replica) = $(counted "$GBS" example)/step, $4"
  is_true "$DO_TRAIN" || said=$1
  for flag in "${changing_flags[@]}"; do
    [[ $given_flags != *" $flag "* ]] || said=$1
  done
  printf '%s\n' "$said"
}

# fine_tune PROGRAM NAME DURATION FLAG...: after read_recipe; says what will be done and runs albert.PROGRAM. NAME says
# what is trained, DURATION how long if not as the recipe says. LOG gets what the program says; a second run adds to it.
fine_tune() {
  local program=$1 name=$2 duration=${3:-$recipe_duration} batch=${BS:-$recipe_batch} accum=${ACCUM:-$recipe_accum} rate=${LR:-$recipe_rate}
  shift 3
  set_run_flags
  if [[ -n $BS ]]; then accum=$ACCUM; fi
  GBS=$((batch * accum * replicas))
  OUTPUT_DIR=${OUTPUT_DIR:-$(default_output_dir "$name" "$GBS" "$rate")}
  if [[ ${LOG:-} ]]; then check_log; fi
  LOG=${LOG:-$(log_of "$OUTPUT_DIR")}
  prepare_folders
  begin_part_of_log
  printf '%s' "$warnings" >>"$LOG"

  echo "$(describe_run "$name" "$batch" "$accum" "$duration"); log in $LOG"

  local start=()
  if ((NUM_WORKERS > 1)); then
    start=(albert.launch_workers --num_workers="$NUM_WORKERS")
    if ((gpus > 0)); then start+=(--gpus_per_worker="$NUM_GPUS"); fi
    start+=(--)
  fi

  local code=0
  run_logged -m "${start[@]}" "albert.$program" \
    --recipe \
    --do_train="$DO_TRAIN" \
    --do_eval="$DO_EVAL" \
    --do_predict="$DO_PREDICT" \
    "${run_flags[@]}" \
    --num_gpu_cores="$NUM_GPUS" \
    --device="$DEVICE" \
    --output_dir="$OUTPUT_DIR" \
    --keep_checkpoint_max="$KEEP" \
    --seed="$SEED" \
    "$@" || code=$?
  if ((code == 137 && NUM_WORKERS == 1)); then # of several workers the launcher says it
    printf '%s: the program was killed, mostly because memory ran out: %s.\n' "${0##*/}" \
      "set a smaller BS, a larger ACCUM, or RECOMPUTE=true" | tee -i -a -- "$LOG" >&2
  fi
  if ((code == 2)); then remove_unused_folders; fi
  return "$code"
}
