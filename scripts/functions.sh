# shellcheck shell=bash
# What the project's shell scripts share. Sourced, never run.

# die MESSAGE: one clear line, and the exit code of a user's mistake.
die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 2
}

# check_positive VARIABLE WHAT: dies unless the variable, which is WHAT, holds a whole number of at least 1.
check_positive() {
  [[ ${!1} =~ ^[1-9][0-9]*$ ]] || die "$1=${!1} is not $2: use 1, 2, ..."
}

# is_true VALUE: whether the programs take it for true, in any capitals.
is_true() {
  [[ ${1,,} =~ ^(true|t|1)$ ]]
}

# count_gpus: prints how many NVIDIA GPUs this process may use: those that nvidia-smi lists, no more than
# CUDA_VISIBLE_DEVICES names.
count_gpus() {
  local listed=0 named
  if command -v nvidia-smi >/dev/null 2>&1; then
    listed=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ' || true)
  fi
  if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
    # CUDA ignores everything from the first -1 on.
    named=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | sed '/^ *-/,$d' | grep -c '[^ ]' || true)
    if ((named < listed)); then listed=$named; fi
  fi
  printf '%s\n' "$listed"
}
