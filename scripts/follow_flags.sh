# shellcheck shell=bash
# What the multi_run_albert_*.sh scripts take from flags behind their name. Sourced by scripts/run_common.sh, never run.
# Sets all_arguments, and the variables that are meant.

# Flags behind the script's name that say what a run is of or where its files are: the script follows them, too, in what
# it checks and in the names of folders and logs.
followed_flags=(
  output_dir=OUTPUT_DIR train_file=TRAIN_FILE validation_file=VALIDATION_FILE test_file=TEST_FILE data_dir=DATA_DIR
  predict_file=PREDICT_FILE task_name=TASK seeds=SEEDS seed=SEED learning_rate=LR max_seq_length=MSL model_dir=MODEL_DIR
  albert_config_file=CONFIG spm_model_file=SPM_MODEL init_checkpoint=INIT_CHECKPOINT
)

# The script's arguments, with the lines of files of flags behind the names of these.
all_arguments=()
for argument; do
  all_arguments+=("$argument")
  if [[ $argument == *-flagfile=* && -f ${argument#*=} ]]; then
    mapfile -t lines <"${argument#*=}"
    all_arguments+=(${lines+"${lines[@]}"})
  fi
done

# follow_flags ARGUMENT...: sets the variables of this script that are meant by the flags among them.
follow_flags() {
  local pair flag variable
  while (($#)); do
    for pair in "${followed_flags[@]}"; do
      flag=${pair%%=*} variable=${pair#*=}
      [[ ${text_of_variable[$variable]+set} ]] || continue # not of this script
      if [[ $1 =~ ^--?$flag=(.+)$ ]]; then
        follow "$flag" "$variable" "${BASH_REMATCH[1]}"
      elif [[ $1 =~ ^--?$flag$ && ${2:-} ]]; then
        follow "$flag" "$variable" "$2"
      fi
    done
    shift
  done
}

# follow FLAG VARIABLE VALUE: sets the variable. Several rates are a sweep's, which no run has as a flag.
follow() {
  if [[ $1 == learning_rate && $3 == *,* ]]; then return; fi
  printf -v "$2" '%s' "$3"
  written_as+=("$2=--$1")
}

follow_flags ${all_arguments+"${all_arguments[@]}"}
