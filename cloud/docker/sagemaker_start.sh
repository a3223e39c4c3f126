#!/usr/bin/env bash
# The first process of a container on SageMaker: says who the workers are, takes the source that was uploaded, and
# becomes the training program. Its arguments are a module and its flags.
set -euo pipefail

ml=${ML_ROOT:-/opt/ml}  # for tests

# SageMaker's own images set these two; for others it writes them to a file, with the network that joins the machines.
if [[ -z ${SM_HOSTS:-} ]]; then
  said=$(python3 - "$ml/input/config/resourceconfig.json" <<'PYTHON'
import json
import sys

said = json.load(open(sys.argv[1], encoding="utf-8"))
print(json.dumps(said["hosts"]), said["current_host"], said.get("network_interface_name", ""), sep="\n")
PYTHON
  )
  { read -r SM_HOSTS && read -r SM_CURRENT_HOST && { read -r interface || true; }; } <<<"$said"
  export SM_HOSTS SM_CURRENT_HOST
  if [[ -n $interface ]]; then export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-$interface}; fi
fi

# From --source_dir: one archive, which holds the package albert. Python looks into the current folder first.
for archive in "$ml"/input/data/code/*.tar.gz; do
  if [[ -f $archive ]]; then
    source_folder=$(mktemp -d)
    tar -xzf "$archive" -C "$source_folder"
    cd "$source_folder"
    export PYTHONPATH=$source_folder
  fi
done

# SageMaker's SIGTERM, two minutes before a spot instance goes, reaches the program itself.
exec python3 -m "$@"
