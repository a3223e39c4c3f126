# shellcheck shell=bash
# What the multi_run_albert_*.sh scripts share: the settings that mean the same in all of them, and the call. Sourced at
# the top of such a script, never run. Defaults are below the folder CURRENT_PWD (the checkout); paths that are given
# count from where the script is called.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/functions.sh
source "$root/scripts/functions.sh"

# The model
ALBERT_DIR=${ALBERT_DIR:-base} # base, large, xlarge or xxlarge
VERSION=${VERSION:-2}

# Devices and precision
DEVICE=${DEVICE:-auto} # auto, gpu or cpu
NUM_GPUS=${NUM_GPUS:-$(count_gpus)}
if [[ $NUM_GPUS == 0 ]]; then NUM_GPUS=1; fi # none: one replica on the CPU
check_positive NUM_GPUS "a number of GPUs"
STRATEGY=${STRATEGY:-mirror}  # one or mirror
DTYPE=${DTYPE:-auto}          # auto: bfloat16 on GPUs that compute in it, otherwise float32
ACCUM=${ACCUM:-1}             # micro-batches per step: BS x ACCUM x NUM_GPUS examples are one step
check_positive ACCUM "a number of micro-batches per step"
PACK=${PACK:-true}            # several short sequences share a row
RECOMPUTE=${RECOMPUTE:-false} # compute activations twice instead of keeping them: saves memory

# Training
KEEP=${KEEP:-5}               # checkpoints that stay, the best apart
OPTIMIZER=${OPTIMIZER:-adamw} # adamw or lamb
SEED=${SEED:-42}

# What is done
DO_TRAIN=${DO_TRAIN:-true}
DO_EVAL=${DO_EVAL:-true}
DO_PREDICT=${DO_PREDICT:-true}

# Where things are
CURRENT_PWD=${CURRENT_PWD:-$root}
MODEL_DIR=${MODEL_DIR:-$CURRENT_PWD/pretrained_model/albert_${ALBERT_DIR}_v${VERSION}}
CONFIG=${CONFIG:-$MODEL_DIR/albert_config.json}
INIT_CHECKPOINT=${INIT_CHECKPOINT-$MODEL_DIR/model.ckpt-best} # empty: random weights
SPM_MODEL=${SPM_MODEL:-$MODEL_DIR/30k-clean.model}
CACHED_DIR=${CACHED_DIR:-$CURRENT_PWD/cached_albert_tfrecord}

# fine_tune PROGRAM NAME DURATION FLAG...: checks what is not yet checked, sets up, says what will be done and runs
# albert.PROGRAM. NAME says what is trained, DURATION how long. LOG gets what the program says; a second run adds to it.
fine_tune() {
  local program=$1 name=$2 duration=$3 file batch
  shift 3
  check_positive BS "a batch size per GPU"
  check_positive EBS "a batch size per GPU"
  for file in "$CONFIG" ${INIT_CHECKPOINT:+"$INIT_CHECKPOINT.index"} "$SPM_MODEL"; do
    [[ -f $file ]] ||
      die "no file $file: run ./download_pretrained_models.sh, or set MODEL_DIR, CONFIG, INIT_CHECKPOINT or SPM_MODEL."
  done
  GBS=$((BS * ACCUM * NUM_GPUS))
  OUTPUT_DIR=${OUTPUT_DIR:-$CURRENT_PWD/albert_output/${name}_${ALBERT_DIR}_v${VERSION}_${GBS}_${LR}}
  LOG=${LOG:-$OUTPUT_DIR.log}

  "$root/scripts/setup.sh"
  mkdir -p "$OUTPUT_DIR" "$(dirname "$LOG")" || die "cannot write to OUTPUT_DIR=$OUTPUT_DIR or LOG=$LOG."
  batch="$BS examples/replica"
  if ((ACCUM > 1)); then batch+=" x $ACCUM micro-batches"; fi
  echo "$name: $batch x $NUM_GPUS replicas = $GBS examples/step, $duration; log in $LOG"

  # tee ignores the interrupt that Ctrl-C sends to both, so that the program can still say how it ended.
  # A folder called albert where this is called from is not ours: safe path.
  PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 "$root/.venv/bin/python" -m "albert.$program" \
    --do_train="$DO_TRAIN" \
    --do_eval="$DO_EVAL" \
    --do_predict="$DO_PREDICT" \
    --strategy_type="$STRATEGY" \
    --num_gpu_cores="$NUM_GPUS" \
    --device="$DEVICE" \
    --dtype="$DTYPE" \
    --cached_dir="$CACHED_DIR" \
    --output_dir="$OUTPUT_DIR" \
    --albert_config_file="$CONFIG" \
    --init_checkpoint="$INIT_CHECKPOINT" \
    --spm_model_file="$SPM_MODEL" \
    --max_seq_length="$MSL" \
    --train_batch_size="$BS" \
    --gradient_accumulation_steps="$ACCUM" \
    --eval_batch_size="$EBS" \
    --predict_batch_size="$EBS" \
    --pack_sequences="$PACK" \
    --recompute_activations="$RECOMPUTE" \
    --learning_rate="$LR" \
    --save_checkpoints_steps="$SAVE" \
    --keep_checkpoint_max="$KEEP" \
    --optimizer="$OPTIMIZER" \
    ${ALBERT_DP:+--albert_dropout_prob="$ALBERT_DP"} \
    --seed="$SEED" \
    "$@" 2>&1 | tee -i -a "$LOG"
}
