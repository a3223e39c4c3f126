#!/usr/bin/env bash
# The one set-up step: makes .venv and installs the project with the TensorFlow build that fits this machine.
# Safe to run again (a tenth of a second when nothing is to be done), to interrupt, and to run twice at once.
#
# Arguments and variables: scripts/setup.sh --help
set -euo pipefail
root=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"

venv=$root/.venv
venv_python=$venv/bin/python
# Written when everything is installed: "DIGEST cpu|cuda run|dev", and "serving" behind it where that was asked for.
stamp=$venv/albert-setup-stamp

show_help() {
  cat <<'HELP'
usage: scripts/setup.sh [--dev] [--serving]

Makes .venv and installs the project with TensorFlow. Does nothing where that is done.

  --dev      installs what the tests and linters need, too
  --serving  installs tensorflow-text (60 MB), with which exported SavedModels take texts, too

Variables:
  PYTHON=python3.12      the interpreter of a new .venv (default: python3, or the newest that fits)
  ALBERT_BUILD=cpu|cuda  the TensorFlow build (default: cuda where nvidia-smi lists a GPU, otherwise cpu)
HELP
}

say() { printf '%s\n' "$1" >&2; }

# What an installation depends on. The path, because the installation is editable and points to it.
digest() {
  local sums
  sums=$(cd "$root" && sha256sum pyproject.toml requirements.txt)
  printf '%s\n%s\n' "$root" "$sums" | sha256sum | cut -c 1-16
}

# Sets `build` to the wanted TensorFlow build.
choose_build() {
  case ${ALBERT_BUILD:-} in
    cpu | cuda) build=$ALBERT_BUILD ;;
    "")
      # The CUDA build runs on CPUs too: one that is there stays when the GPUs are away for a while.
      if [[ $installed_build == cuda ]] || (($(count_gpus) > 0)); then build=cuda; else build=cpu; fi
      ;;
    *) die "ALBERT_BUILD=$ALBERT_BUILD is not known: use cpu or cuda." ;;
  esac
}

# Sets installed_digest, _build, _kind and _serving from the stamp; empty where there is none.
read_stamp() {
  installed_digest='' installed_build='' installed_kind='' installed_serving=''
  if [[ -f $stamp && -x $venv_python ]]; then
    read -r installed_digest installed_build installed_kind installed_serving <"$stamp" || true
  fi
}

is_complete() {
  [[ $installed_digest == "$wanted_digest" && $installed_build == "$build" ]] &&
    [[ $installed_kind == dev || $kind == run ]] && [[ $installed_serving == serving || -z $serving ]]
}

is_supported_python() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

# Prints the interpreter to make the environment with.
find_python() {
  local candidate candidates=(python3 python3.13 python3.12 python3.11)
  if [[ ${PYTHON:-} ]]; then candidates=("$PYTHON"); fi
  for candidate in "${candidates[@]}"; do
    if is_supported_python "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  candidate=${PYTHON:-python3}
  if ! command -v "$candidate" >/dev/null; then
    die "$candidate is not there: install Python 3.11, 3.12 or 3.13, or set PYTHON to one."
  fi
  die "$candidate is $("$candidate" --version 2>&1), and Python 3.11, 3.12 or 3.13 is needed: set PYTHON to one."
}

# An environment without a working pip is what an interruption here leaves: make it again.
make_environment() {
  if is_supported_python "$venv_python" && "$venv_python" -m pip --version >/dev/null 2>&1; then return; fi
  local python
  python=$(find_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$python has no module venv: install it (Debian, Ubuntu: apt install python3-venv) and run this again."
  say "setup: making .venv with $("$python" --version)"
  "$python" -m venv --clear "$venv" || die "could not make $venv: see the lines above, then run this again."
}

install_packages() {
  local extras=$build other
  if [[ $kind == dev ]]; then extras+=,dev; fi
  # Both builds install the module tensorflow: the other one has to go first.
  if [[ $build == cpu ]]; then other=tensorflow; else other=tensorflow-cpu; fi
  if "$venv_python" -m pip show --quiet "$other" 2>/dev/null; then
    say "setup: replacing $other"
    # Either removal takes files of the other with it, so neither may stay.
    "$venv_python" -m pip uninstall --quiet --yes tensorflow tensorflow-cpu 2>/dev/null ||
      die "pip could not remove $other: delete $venv and run this again."
  fi
  say "setup: installing the $build build of TensorFlow and what goes with it (the first time takes minutes)"
  "$venv_python" -m pip install --disable-pip-version-check --editable "${root}[${extras}]" 2>&1 |
    { grep --line-buffered -v '^Requirement already satisfied' || true; } >&2 ||
    die "pip failed (see the lines above): check the network and the free disk space, then run this again."
}

# Without what it depends on, which is `tensorflow`: its files are also those of tensorflow-cpu.
install_tensorflow_text() {
  local text
  text=$(sed -n 's/^serving = \["\(.*\)"\].*/\1/p' "$root/pyproject.toml")
  say "setup: installing $text"
  "$venv_python" -m pip install --quiet --disable-pip-version-check --no-deps "$text" >&2 ||
    die "pip failed (see the lines above): check the network and the free disk space, then run this again."
}

kind=run serving=''
for argument in "$@"; do
  case $argument in
    --dev) kind=dev ;;
    --serving) serving=serving ;;
    -h | --help)
      show_help
      exit 0
      ;;
    *) die "unknown argument $argument: known are --dev, --serving and --help." ;;
  esac
done

wanted_digest=$(digest)
read_stamp
choose_build
if is_complete; then exit 0; fi

# Whoever comes second waits here and then finds everything done. The lock ends with this process.
command -v flock >/dev/null || die "the command flock is needed: install util-linux."
exec 9>"$root/.setup.lock"
if ! flock --nonblock 9; then
  say "setup: waiting for another set-up of $root"
  flock 9
fi
read_stamp
choose_build
if is_complete; then exit 0; fi
# What a person asked for once stays.
if [[ $installed_kind == dev ]]; then kind=dev; fi
serving=${serving:-$installed_serving}

rm -f "$stamp"
make_environment
install_packages
if [[ -n $serving ]]; then install_tensorflow_text; fi
printf '%s %s %s%s\n' "$wanted_digest" "$build" "$kind" "${serving:+ $serving}" >"$stamp.tmp"
mv "$stamp.tmp" "$stamp"
say "setup: done (.venv, $build build)"
