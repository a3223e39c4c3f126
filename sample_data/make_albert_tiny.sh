#!/usr/bin/env bash
# Makes sample_data/albert_tiny, the small pretrained ALBERT that comes with the project, from 76 novels in the public
# domain (one sentence a line, 57 MB), of which two are held out:
#
#   sample_data/make_albert_tiny.sh NOVELS_FOLDER WORK_FOLDER
#
# Safe to stop and to start again: what is there is kept, and the run goes on from its newest checkpoint.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"
[[ $# == 2 ]] || die "two folders are needed: the novels, and one to work in."
novels=$1 work=$2 target=$root/sample_data/albert_tiny
python=$root/.venv/bin/python
steps=8000
mkdir -p "$work"

is_held_out='lawrence_peacock_1911|trollope_warden_1855'
shopt -s extglob nullglob
train=("$novels"/!(@($is_held_out)).txt)
held_out=("$novels"/@($is_held_out).txt)
comma_separated() { local IFS=,; echo "$*"; }

make_corpus() {
  [[ -f $1 ]] || "$python" -m albert.prepare_corpus --input "$2" --output "$1"
}
make_records() {
  [[ -f $1 ]] || "$python" -m albert.create_pretraining_data --output_file="$1" "${@:2}" \
    --spm_model_file="$work/7k.model" --max_seq_length=128 --max_predictions_per_seq=20
}

make_corpus "$work/train.txt" "$(comma_separated "${train[@]}")"
make_corpus "$work/held_out.txt" "$(comma_separated "${held_out[@]}")"
[[ -f $work/7k.model ]] ||
  "$python" -m albert.train_sentencepiece --vocab_size 7000 --model_prefix "$work/7k" --input "$novels/*.txt"
make_records "$work/train.tf_record" --input_file="$work/train.txt" --dupe_factor=6
make_records "$work/held_out.tf_record" --input_file="$work/held_out.txt" --dupe_factor=1
"$python" -m albert.run_pretraining --input_file="$work/train.tf_record" \
  --eval_input_file="$work/held_out.tf_record" --do_eval \
  --albert_config_file="$target/albert_config.json" --output_dir="$work/model" --max_seq_length=128 \
  --train_batch_size=64 --eval_batch_size=64 --dtype=bfloat16 --optimizer=adamw --learning_rate=1e-3 \
  --num_train_steps="$steps" --num_warmup_steps=400 --save_checkpoints_steps=1000

# Without the optimizer's slots, which are two thirds of the file and of no use to fine-tuning.
"$python" -m sample_data.strip_checkpoint "$work/model/model.ckpt-best" "$target/model.ckpt-best"
cp "$work/7k.model" "$target/"
