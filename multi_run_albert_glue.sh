#!/usr/bin/env bash
# Fine-tunes ALBERT on one GLUE task on the GPUs of this machine: trains, evaluates, predicts.
#
#   TASK=MRPC ALBERT_DIR=base NUM_GPUS=8 ./multi_run_albert_glue.sh [more flags of albert.run_multigpus_classifier]
#
# Every setting below is a variable that the environment overrides. Defaults are below the folder CURRENT_PWD (this one);
# paths that are given count from where the script is called.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"

TASK=${TASK:-CoLA}
ALBERT_DIR=${ALBERT_DIR:-base} # base, large, xlarge or xxlarge
VERSION=${VERSION:-2}

# The recipe of the ALBERT authors: warm-up steps, peak learning rate, steps, steps between two evaluations, sequences per
# step on all GPUs together, dropout (0.1 where they used it). Their script has no WNLI: this one is ours.
case ${TASK,,} in
  #                folder   warm-up rate steps  save batch dropout
  cola) recipe=(CoLA 320 1e-5 5336 100 16 0) ;;
  sst-2) recipe=(SST-2 1256 1e-5 20935 100 32 0) ;;
  mrpc) recipe=(MRPC 200 2e-5 800 100 32 0) ;;
  sts-b) recipe=(STS-B 214 2e-5 3598 100 16 0) ;;
  qqp) recipe=(QQP 1000 5e-5 14000 100 128 0.1) ;;
  mnli | mismnli) recipe=(MNLI 1000 3e-5 10000 100 128 0) ;;
  qnli) recipe=(QNLI 1986 1e-5 33112 200 32 0) ;;
  rte) recipe=(RTE 200 3e-5 800 100 32 0.1) ;;
  wnli) recipe=(WNLI 250 2e-5 2000 100 16 0.1) ;;
  *) die "TASK=$TASK is not known: use CoLA, SST-2, MRPC, STS-B, QQP, MNLI, misMNLI, QNLI, RTE or WNLI." ;;
esac
read -r folder recipe_warmup recipe_rate recipe_steps recipe_save recipe_batch recipe_dropout <<<"${recipe[*]}"

# Devices and batch. BS is per GPU; its default keeps the recipe's batch on any number of GPUs.
DEVICE=${DEVICE:-auto} # auto, gpu or cpu
NUM_GPUS=${NUM_GPUS:-$(count_gpus)}
if [[ $NUM_GPUS == 0 ]]; then NUM_GPUS=1; fi # none: one replica on the CPU
[[ $NUM_GPUS =~ ^[1-9][0-9]*$ ]] || die "NUM_GPUS=$NUM_GPUS is not a number of GPUs: use 1, 2, ..."
BS=${BS:-$(((recipe_batch + NUM_GPUS - 1) / NUM_GPUS))}
[[ $BS =~ ^[1-9][0-9]*$ ]] || die "BS=$BS is not a batch size per GPU: use 1, 2, ..."
GBS=$((BS * NUM_GPUS))
EBS=${EBS:-32} # per GPU, for evaluation and prediction

# Training
MSL=${MSL:-128}                         # longest sequence, in pieces
LR=${LR:-$recipe_rate}                  # peak learning rate
WPSP=${WPSP:-$recipe_warmup}            # warm-up steps
TSP=${TSP:-$recipe_steps}               # training steps
SAVE=${SAVE:-$recipe_save}              # steps between two checkpoints, each with an evaluation
KEEP=${KEEP:-5}                         # checkpoints that stay, the best apart
ALBERT_DP=${ALBERT_DP:-$recipe_dropout} # dropout of the encoder
OPTIMIZER=${OPTIMIZER:-adamw}           # adamw or lamb
STRATEGY=${STRATEGY:-mirror}            # one or mirror
SEED=${SEED:-42}
DTYPE=${DTYPE:-float32}

# What is done
DO_TRAIN=${DO_TRAIN:-true}
DO_EVAL=${DO_EVAL:-true}
DO_PREDICT=${DO_PREDICT:-true}

# Where things are
CURRENT_PWD=${CURRENT_PWD:-$root}
DATA_DIR=${DATA_DIR:-${GLUE_DIR:-$CURRENT_PWD/glue_data}} # holds one folder per task
MODEL_DIR=${MODEL_DIR:-$CURRENT_PWD/pretrained_model/albert_${ALBERT_DIR}_v${VERSION}}
CONFIG=${CONFIG:-$MODEL_DIR/albert_config.json}
INIT_CHECKPOINT=${INIT_CHECKPOINT-$MODEL_DIR/model.ckpt-best} # empty: random weights
SPM_MODEL=${SPM_MODEL:-$MODEL_DIR/30k-clean.model}
CACHED_DIR=${CACHED_DIR:-$CURRENT_PWD/cached_albert_tfrecord}
OUTPUT_DIR=${OUTPUT_DIR:-$CURRENT_PWD/albert_output/${TASK}_${ALBERT_DIR}_v${VERSION}_${GBS}_${LR}}
LOG=${LOG:-$OUTPUT_DIR.log} # a second run adds to it

[[ -d $DATA_DIR/$folder ]] ||
  die "no folder $DATA_DIR/$folder: run ./download_glue_data.py, or set DATA_DIR to the folder that holds $folder."
for file in "$CONFIG" ${INIT_CHECKPOINT:+"$INIT_CHECKPOINT.index"} "$SPM_MODEL"; do
  [[ -f $file ]] ||
    die "no file $file: run ./download_pretrained_models.sh, or set MODEL_DIR, CONFIG, INIT_CHECKPOINT or SPM_MODEL."
done

"$root/scripts/setup.sh"
mkdir -p "$OUTPUT_DIR" "$(dirname "$LOG")" || die "cannot write to OUTPUT_DIR=$OUTPUT_DIR or LOG=$LOG."
echo "$TASK: $BS examples/replica x $NUM_GPUS replicas = $GBS examples/step, $TSP steps; log in $LOG"

# tee ignores the interrupt that Ctrl-C sends to both, so that the program can still say how it ended.
PYTHONUNBUFFERED=1 "$root/.venv/bin/python" -m albert.run_multigpus_classifier \
  --task_name="$TASK" \
  --do_train="$DO_TRAIN" \
  --do_eval="$DO_EVAL" \
  --do_predict="$DO_PREDICT" \
  --strategy_type="$STRATEGY" \
  --num_gpu_cores="$NUM_GPUS" \
  --device="$DEVICE" \
  --data_dir="$DATA_DIR" \
  --cached_dir="$CACHED_DIR" \
  --output_dir="$OUTPUT_DIR" \
  --albert_config_file="$CONFIG" \
  --init_checkpoint="$INIT_CHECKPOINT" \
  --spm_model_file="$SPM_MODEL" \
  --max_seq_length="$MSL" \
  --train_batch_size="$BS" \
  --eval_batch_size="$EBS" \
  --predict_batch_size="$EBS" \
  --learning_rate="$LR" \
  --train_step="$TSP" \
  --warmup_step="$WPSP" \
  --save_checkpoints_steps="$SAVE" \
  --keep_checkpoint_max="$KEEP" \
  --optimizer="$OPTIMIZER" \
  --albert_dropout_prob="$ALBERT_DP" \
  --seed="$SEED" \
  --dtype="$DTYPE" \
  "$@" 2>&1 | tee -i -a "$LOG"
