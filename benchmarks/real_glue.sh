#!/usr/bin/env bash
# Runs every GLUE task whose training file is in DATA_DIR as one sweep of multi_run_albert_glue.sh: a small ALBERT from random
# weights on two CPU replicas, train + evaluate + predict. Shows that the whole way works on real rows; the scores are those
# of a model that was never pretrained. Appends a dated table to benchmarks/results/real_glue.md.
#
#   DATA_DIR=<glue_data> SPM_MODEL=<30k-clean.model> benchmarks/real_glue.sh
set -euo pipefail
root=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
: "${DATA_DIR:?the GLUE folder}" "${SPM_MODEL:?the file 30k-clean.model}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/albert_config.json" <<'JSON'
{"vocab_size": 30000, "embedding_size": 32, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
 "intermediate_size": 256, "max_position_embeddings": 128, "initializer_range": 0.08}
JSON
export DATA_DIR SPM_MODEL CONFIG=$work/albert_config.json INIT_CHECKPOINT="" CACHED_DIR=$work/cache
# The recipes are for pretrained weights: random ones of this size learn at a larger rate, and the budget is small.
export DEVICE=cpu LR=1e-3 TSP=${TSP:-600} SAVE=${SAVE:-200} OUTPUT_DIR=$work/sweep SEEDS=42
export WPSP=$((TSP / 10))

tasks=()
for task in MRPC CoLA RTE SST-2 STS-B WNLI QNLI QQP MNLI; do
  if [[ -f $DATA_DIR/$task/train.tsv ]]; then tasks+=("$task"); fi
done
# One run at a time on all cores, so that its speed is that of the machine; a replica has half of the recipe's batch.
TASK=$(IFS=,; echo "${tasks[*]}") "$root/multi_run_albert_glue.sh" --cpus_per_run="$(nproc)" -- --num_gpu_cores=2
table=$("$root/.venv/bin/python" - "$work/sweep" <<'PYTHON'
import csv, pathlib, sys

folder = pathlib.Path(sys.argv[1])
print("| task | dev metric | at step | examples/s | test rows predicted |\n| --- | --- | ---: | ---: | ---: |")
for row in csv.DictReader((folder / "results.csv").open()):
    predicted = (pathlib.Path(row["folder"]) / "test_results.tsv")
    count = len(predicted.read_text().splitlines()) if predicted.exists() else 0
    figures = (f"{row['metric']} {row['score']}", row["best_step"], row["examples_per_second"], count)
    print(f"| {row['task']} | " + " | ".join(map(str, figures)) + " |")
PYTHON
)
echo "$table"
# shellcheck disable=SC2016 # the backquotes are Markdown's
printf '## %s, %s cores of %s\n\n`DATA_DIR=<glue_data> SPM_MODEL=<30k-clean.model> TSP=%s benchmarks/real_glue.sh`\n\n%s\n\n' \
  "$(date +%F)" "$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$TSP" "$table" \
  >>"$root/benchmarks/results/real_glue.md"
