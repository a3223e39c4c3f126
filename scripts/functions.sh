# shellcheck shell=bash
# What the project's shell scripts share. Sourced, never run.

problems='' # lines of `complain`, each with its end
wrong=' '   # variables of `complain_of`, with blanks around each
written_as=() # VARIABLE=--flag, for what was given as a flag

# complain MESSAGE: one clear line, which `stop_if_wrong` prints together with all others. It names what a person wrote:
# a flag, or an option of ./demo_albert, in place of the variable that is set from it. An option with a colon has another
# number (albert/cli/variables.py), which the demo has checked.
complain() {
  local message=$1 option
  for option in ${written_as+"${written_as[@]}"}; do
    message=${message//"${option%%=*}="/"${option#*=}="}
  done
  for option in ${ALBERT_DEMO_OPTIONS:-}; do
    [[ $option == *:* ]] || message=${message//"${option%%=*}="/"${option#*=} "}
  done
  problems+="${0##*/}: $message"$'\n'
}

# complain_of VARIABLE MESSAGE: complains of its value.
complain_of() {
  complain "$1=${!1} $2"
  wrong+="$1 "
}

# is_wrong VARIABLE...: whether one of them was complained of, so that what follows from its value is worth no line.
is_wrong() {
  local variable
  for variable; do
    if [[ $wrong == *" $variable "* ]]; then return; fi
  done
  return 1
}

# stop_if_wrong: prints what was complained of, and ends with the exit code of a user's mistakes.
stop_if_wrong() {
  [[ $problems ]] || return 0
  printf '%s' "$problems" >&2
  exit 2
}

# die MESSAGE: complains and stops.
die() {
  complain "$1"
  stop_if_wrong
}

# expand_home VARIABLE: puts the home folder in place of a ~ at its beginning, as the programs do with their flags. The
# shell leaves one alone that is in quotes, or comes from a file of variables.
expand_home() {
  local home=~
  if [[ ${!1:-} =~ ^'~'(/|$) ]]; then printf -v "$1" '%s' "$home${!1#'~'}"; fi
}

# in_quotes WORD: prints it for a command line.
in_quotes() {
  if [[ $1 =~ ^[A-Za-z0-9_.,:=/+@%-]+$ ]]; then printf '%s' "$1"; else printf '%s' "${1@Q}"; fi
}

# counted NUMBER NOUN: prints them, as "1 step" or "2 steps".
counted() {
  local plural=s
  if [[ $1 == 1 ]]; then plural=''; fi
  printf '%s %s%s\n' "$1" "$2" "$plural"
}

# check_whole VARIABLE LEAST MOST WHAT: complains if the variable is set to anything but a whole number in that range,
# and sets it to LEAST for arithmetic until the script stops. Without a limit, arithmetic overflows and a batch becomes
# negative.
check_whole() {
  local value=${!1:-}
  if [[ -z $value ]]; then return; fi
  if ! [[ $value =~ ^(0|[1-9][0-9]{0,9})$ ]] || ((value < $2 || value > $3)); then
    complain_of "$1" "is not $4: use a whole number from $2 to $3."
    printf -v "$1" '%s' "$2"
  fi
}

# check_number VARIABLE WHAT EXAMPLE [MORE]: complains if the variable is set to anything but a decimal number of at least 0.
check_number() {
  [[ ${!1:-0} =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$ ]] ||
    complain_of "$1" "is not $2: use a number such as $3${4-}."
}

# check_choice VARIABLE VALUE...: complains unless the variable has one of the values.
check_choice() {
  local variable=$1 value
  shift
  for value in "$@"; do
    if [[ ${!variable} == "$value" ]]; then return; fi
  done
  complain_of "$variable" "is not known: use one of $*."
}

# check_boolean VARIABLE...: complains unless each holds what the programs take for true or false, in any capitals.
check_boolean() {
  local variable
  for variable in "$@"; do
    [[ ${!variable,,} =~ ^(true|t|1|false|f|0)$ ]] ||
      complain_of "$variable" "is not known: use true or false."
  done
}

# is_true VALUE: whether the programs take it for true, in any capitals.
is_true() {
  [[ ${1,,} =~ ^(true|t|1)$ ]]
}

# count_gpus: prints how many NVIDIA GPUs this process may use: those that nvidia-smi lists, no more than
# CUDA_VISIBLE_DEVICES names. Where all are divided (MIG), a process can use one of the parts.
count_gpus() {
  local listed=0 parts=0 is_whole='' line named
  if command -v nvidia-smi >/dev/null 2>&1; then
    while IFS= read -r line; do
      if [[ $line == 'GPU '* ]]; then
        listed=$((listed + 1)) is_whole=true
      elif [[ $line =~ ^' '+MIG' ' ]]; then
        parts=$((parts + 1))
        if [[ $is_whole ]]; then listed=$((listed - 1)) is_whole=''; fi
      fi
    done < <(nvidia-smi -L 2>/dev/null || true)
    if ((listed == 0 && parts > 0)); then listed=1; fi
  fi
  if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
    # CUDA ignores everything from the first -1 on.
    named=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | sed '/^ *-/,$d' | grep -c '[^ ]' || true)
    if ((named < listed)); then listed=$named; fi
  fi
  printf '%s\n' "$listed"
}
