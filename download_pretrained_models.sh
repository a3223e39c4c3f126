#!/usr/bin/env bash
# Fetches Google's pretrained models into pretrained_model/albert_<size>_v<version>/, or the Hugging Face hub's.
#
#   ./download_pretrained_models.sh [base large xlarge xxlarge] [--version 1|2] [more flags: --help]
#   ./download_pretrained_models.sh --source=huggingface albert-base-v2
#
# Needs Python 3.11 with requests and tqdm; without them it sets up .venv and goes on there.
set -euo pipefail
root=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"

python=$root/.venv/bin/python
if [[ ! -x $python ]]; then python=${PYTHON:-python3}; fi
command -v "$python" >/dev/null || die "$python is not there: install Python 3.11, 3.12 or 3.13, or set PYTHON to one."
# The package of this checkout, and none that happens to be where the script is called.
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1
exec "$python" -m albert.downloads.start models "$@"
