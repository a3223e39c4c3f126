#!/usr/bin/env bash
# Makes an environment for each version of transformers that an exported folder is tested with: .peers/transformers-VERSION.
# The tests that use them (albert/serving/export/transformers_test.py) are skipped where they are not there.
#
#   scripts/peer_environments.sh [4.57.6 5.24.0]   the versions, by default those that the tests know
#   PYTHON=python3.12                              the interpreter (default: that of .venv, otherwise python3)
#   TORCH_INDEX=URL                                where pip finds torch (default: PyTorch's index of builds for CPUs;
#                                                  empty: pip's own)
set -euo pipefail
root=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"

torch=torch==2.13.0
index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
python=${PYTHON:-$root/.venv/bin/python}
command -v "$python" >/dev/null || python=python3
if (($# == 0)); then set -- 4.57.6 5.24.0; fi

for version; do
  [[ $version =~ ^[0-9]+(\.[0-9]+)+$ ]] || die "$version is no version: give numbers as 4.57.6."
  folder=$root/.peers/transformers-$version
  # Written when everything is installed.
  stamp=$folder/peer-stamp
  if [[ -f $stamp ]]; then continue; fi
  "$python" -m venv --clear "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check ${index:+--index-url "$index"} "$torch" numpy
  # sentencepiece and protobuf: transformers 5 reads spiece.model with them.
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    "transformers==$version" "$torch" safetensors sentencepiece protobuf
  touch "$stamp"
  printf '%s\n' "$folder"
done
