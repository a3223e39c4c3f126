#!/usr/bin/env bash
# Makes sample_data/albert_tiny, the small pretrained ALBERT that comes with the project, from 76 novels in the public
# domain (one sentence a line, 57 MB); two of them are held out:
#
#   sample_data/make_albert_tiny.sh NOVELS_FOLDER WORK_FOLDER
#
# In three phases (docs/pretraining.md says more of them). Sequences of 32 tokens first, then of 128: attention starts out
# even over all positions, so that in a short sequence the neighbours of a masked token count for more; it begins to work
# after 500 steps of 128 x 32 tokens, and had not after 4,000 steps of 32 x 128. Last, pairs with noisy copies, by which
# it learns what two texts have in common.
#
# Safe to stop and to start again: what is there is kept, and the run resumes from its newest checkpoint.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"
[[ $# == 2 ]] || die "two folders are needed: the novels, and one to work in."
novels=$1 work=$2 target=$root/sample_data/albert_tiny
python=$root/.venv/bin/python
mkdir -p "$work"

is_held_out='lawrence_peacock_1911|trollope_warden_1855'
shopt -s extglob nullglob
train=("$novels"/!(@($is_held_out)).txt)
held_out=("$novels"/@($is_held_out).txt)
comma_separated() { local IFS=,; echo "$*"; }

make_corpus() {
  [[ -f $1 ]] || "$python" -m albert.prepare_corpus --input "$2" --output "$1"
}
# TOKENS: how many of a sequence are predicted at most.
predictions() { echo $(($1 * 5 / 32)); }
# TOKENS PASSES FLAG...: records of both texts. Single tokens are masked, which is easier than runs of up to three.
make_records() {
  local name output passes
  for name in train held_out; do
    output=$work/${name}_$1.tf_record passes=1
    if [[ $name == train ]]; then passes=$2; fi
    [[ -f $output ]] || "$python" -m albert.create_pretraining_data --input_file="$work/$name.txt" \
      --output_file="$output" --spm_model_file="$work/7k.model" --max_seq_length="$1" \
      --max_predictions_per_seq="$(predictions "$1")" --ngram=1 --dupe_factor="$passes" "${@:3}"
  done
}
# TOKENS SEQUENCES STEPS FLAG...
pretrain() {
  "$python" -m albert.run_pretraining --input_file="$work/train_$1.tf_record" \
    --eval_input_file="$work/held_out_$1.tf_record" --do_eval --output_dir="$work/model_$1" \
    --albert_config_file="$target/albert_config.json" --max_seq_length="$1" \
    --max_predictions_per_seq="$(predictions "$1")" --train_batch_size="$2" --eval_batch_size="$2" \
    --num_train_steps="$3" --optimizer=adamw --save_checkpoints_steps=2000 "${@:4}"
}

make_corpus "$work/train.txt" "$(comma_separated "${train[@]}")"
make_corpus "$work/held_out.txt" "$(comma_separated "${held_out[@]}")"
[[ -f $work/7k.model ]] ||
  "$python" -m albert.train_sentencepiece --vocab_size 7000 --model_prefix "$work/7k" --input "$novels/*.txt"
make_records 32 5
make_records 128 2
make_records 64 1 --noisy_copies
pretrain 32 128 12000 --learning_rate=5e-4 --num_warmup_steps=500 --dtype=bfloat16
pretrain 128 32 6000 --learning_rate=3e-4 --num_warmup_steps=200 --dtype=bfloat16 \
  --init_checkpoint="$work/model_32/model.ckpt-best"
pretrain 64 32 6000 --learning_rate=5e-4 --num_warmup_steps=200 --init_checkpoint="$work/model_128/model.ckpt-best"

# Without the optimizer's slots, which are two thirds of the file and of no use to fine-tuning.
"$python" -m sample_data.strip_checkpoint "$work/model_64/model.ckpt-best" "$target/model.ckpt-best"
cp "$work/7k.model" "$target/"
