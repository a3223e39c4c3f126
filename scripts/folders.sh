# shellcheck shell=bash
# Where the multi_run_albert_*.sh scripts write: the names of the folder and the log of a run, and what stays of one that
# never began. Sourced by scripts/run_common.sh, whose variables these are, never run.

# default_output_dir NAME EXAMPLES RATE: prints where a run goes that names no folder. One of before, when names had
# neither the model nor the seed, is continued where it stands if it is of this model and seed. A script may have an
# other_name for a run whose folder would be that of other data, as its function is_of_other_data says.
default_output_dir() {
  local base=$CURRENT_PWD/albert_output new old start=None
  new=$base/$1_${MODEL_NAME}_$2_$3_seed$SEED
  old=$base/$1_${ALBERT_DIR}_v${VERSION}_$2_$3
  if [[ ${INIT_CHECKPOINT-set} ]]; then start=$(realpath -m -- "${INIT_CHECKPOINT-$MODEL_DIR/model.ckpt-best}"); fi
  if [[ ! -e $new && -f $old/run_settings.json ]] &&
    grep -qF "\"seed\": $SEED," "$old/run_settings.json" &&
    grep -qF "\"init_checkpoint\": \"$start\"" "$old/run_settings.json"; then
    new=$old
  fi
  if [[ ${other_name:-} ]] && is_of_other_data "$new"; then
    new=$base/${other_name}_${MODEL_NAME}_$2_$3_seed$SEED
  fi
  printf '%s\n' "$new"
}

# missing_folders FOLDER...: prints those that are not there, and the folders above them that are not, each with a zero.
missing_folders() {
  local folder
  for folder; do
    while [[ ! -e $folder && ! -L $folder && $folder != . ]]; do
      printf '%s\0' "$folder"
      folder=$(dirname -- "$folder")
    done
  done
}

# remove_unused_folders: after a mistake that was found before the run began, removes what prepare_folders has made and
# nothing was written to but the message, which is on the terminal.
remove_unused_folders() {
  local folder
  [[ $made_output ]] && [[ ! $(find "$made_output" -mindepth 1 ! -samefile "$LOG" -print -quit 2>/dev/null) ]] || return 0
  # Another run of this folder that began meanwhile has its part in the log, too.
  if [[ $made_log && $(grep -c '^=== ' -- "$LOG" 2>/dev/null) == 1 ]]; then rm -f -- "$LOG"; fi
  # The deepest first. One that something else is in stays.
  printf '%s\0' "${made_folders[@]}" | sort -rz | while IFS= read -r -d '' folder; do
    rmdir -- "$folder" 2>/dev/null || true
  done
}

# check_log: dies where LOG, to which a run adds, is a file that no run has written.
check_log() {
  if [[ -s $LOG && -f $LOG ]] && ! grep -qaE '^(=== |([0-9-]{10} )?[0-9]{2}:[0-9]{2}:[0-9]{2} )' -- "$LOG"; then
    die "LOG=$LOG is there and is no log of a run, to which another one adds: choose another name."
  fi
}

# prepare_folders: makes LOG and OUTPUT_DIR, or dies with the reason. made_output is OUTPUT_DIR where it is new, in a form
# that no program takes for a flag, and made_folders are all that are.
prepare_folders() {
  local reason
  made_output='' made_log=''
  if [[ ! -e $OUTPUT_DIR ]]; then made_output=$(realpath -ms -- "$OUTPUT_DIR"); fi
  if [[ ! -e $LOG ]]; then made_log=true; fi
  mapfile -d '' made_folders < <(missing_folders "$OUTPUT_DIR" "$(dirname -- "$LOG")")
  reason=$({ mkdir -p -- "$(dirname -- "$LOG")" && : >>"$LOG" && mkdir -p -- "$OUTPUT_DIR"; } 2>&1) || {
    remove_unused_folders
    die "cannot write to OUTPUT_DIR=$OUTPUT_DIR or LOG=$LOG: ${reason##*: }."
  }
}

# log_of FOLDER: prints the name of the log beside it; "." and ".." have none, so that of the folder that they stand for.
log_of() {
  local folder=$1
  if [[ ${folder##*/} == . || ${folder##*/} == .. ]]; then folder=$(realpath -m -- "$folder"); fi
  printf '%s.log\n' "$folder"
}
