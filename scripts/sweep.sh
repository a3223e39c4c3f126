# shellcheck shell=bash
# What the scripts that sweep share: several seeds, rates, weight decays or tasks are runs side by side. Sourced behind
# scripts/run_common.sh, never run; a script that does has SEEDS among its variables.

root=${root:?} # of whoever sources this
flag_variables+=(seeds=SEEDS gpus=NUM_GPUS gpus_per_run=GPUS_PER_RUN)
if [[ -n $rates ]]; then flag_variables+=(set:learning_rate=LR); fi
# shellcheck disable=SC2154 # scripts/run_common.sh has set decays
if [[ -n $decays ]]; then flag_variables+=(set:weight_decay=WEIGHT_DECAY); fi

# part_arguments ARGUMENT...: sets sweep_flags and run_arguments, in front of -- and behind it. Where there is none, a
# flag belongs to the one that has it.
part_arguments() {
  local argument has_place='' arguments=("$@")
  sweep_flags=() run_arguments=()
  for argument; do
    if [[ $argument == -- ]]; then has_place=true; fi
  done
  if [[ ! $has_place ]] && (($#)); then
    "$root/scripts/setup.sh"
    mapfile -d '' arguments < <(with_python "$root/scripts/sweep_arguments.py" "$@")
    if ((${#arguments[@]} == 0)); then exit 2; fi # it has said why
  fi
  while ((${#arguments[@]})) && [[ ${arguments[0]} != -- ]]; do
    sweep_flags+=("${arguments[0]}")
    arguments=("${arguments[@]:1}")
  done
  run_arguments=("${arguments[@]:1}")
}

# is_sweep: whether there are several seeds, rates or weight decays.
is_sweep() {
  [[ -n $SEEDS || -n $rates || -n $decays ]]
}

# check_sweep: stops if anything is wrong, also what only a sweep does not take.
check_sweep() {
  check_strange_names
  check_whole GPUS_PER_RUN 1 9999 "a number of GPUs"
  check_whole EBS 1 999999 "a batch size per GPU"
  ((NUM_WORKERS == 1)) || complain "NUM_WORKERS=$NUM_WORKERS: a run of a sweep is one process; leave it out."
  is_wrong DO_TRAIN || is_true "$DO_TRAIN" || complain "DO_TRAIN=$DO_TRAIN: every run of a sweep trains; leave it out."
  is_wrong DO_EVAL || is_true "$DO_EVAL" || complain "DO_EVAL=$DO_EVAL: a sweep compares what its runs score; leave it out."
  [[ -z ${LOG:-} ]] || complain "LOG=$LOG: each run of a sweep has a log beside its folder; leave it out."
  stop_if_wrong
}

# sweep NAME TASKS FLAG...: after check_sweep and part_arguments; runs albert.sweep on TASKS, nothing for own data, with
# all seeds, rates and weight decays. FLAG... are of every run, besides those that fine_tune gives. Each run has a log
# beside its folder.
sweep() {
  local name=${1//,/+} tasks=$2 gpu=''
  shift 2
  "$root/scripts/setup.sh"
  case $DEVICE in
    gpu) gpu=gpu ;; # and not the CPU where there is none
    cpu) given_gpus=0 ;;
  esac
  set_run_flags
  # shellcheck disable=SC2154 # that has set run_flags
  become_python -m albert.sweep \
    --output_dir="${OUTPUT_DIR:-$CURRENT_PWD/albert_output/sweep_${name//[^A-Za-z0-9._+-]/_}_$MODEL_NAME}" \
    --do_predict="$DO_PREDICT" \
    ${tasks:+--task_name="$tasks"} \
    --seeds="${SEEDS:-$SEED}" \
    ${rates:+--set=learning_rate="$rates"} \
    ${decays:+--set=weight_decay="$decays"} \
    ${given_gpus:+--gpus="$given_gpus"} \
    --gpus_per_run="$GPUS_PER_RUN" \
    ${sweep_flags+"${sweep_flags[@]}"} \
    -- \
    "${run_flags[@]}" \
    ${gpu:+--device="$gpu"} \
    ${given_keep:+--keep_checkpoint_max="$given_keep"} \
    "$@" \
    ${run_arguments+"${run_arguments[@]}"}
}
