"""The programs of pretraining: which flags each has. No TensorFlow.

Names and defaults of `create_pretraining_data` and `run_pretraining` are upstream's.
"""

from albert.cli.flag_tables import Flag, Program, shared

_NUM_WORKERS = Flag("num_workers", int, 0, "Processes; 0 uses one for each processor, up to 8. The output is the same.")
_INPUT = "comma-separated file names, of which each may be a pattern as 'books/*.txt'"
_MAX_PREDICTIONS = Flag("max_predictions_per_seq", int, 20, "Most pieces of a sequence that are masked.")

PREPARE_CORPUS = Program(
    "prepare_corpus",
    (
        Flag("input", str, None, f"Text to split: {_INPUT}. UTF-8; a blank line ends a paragraph, a file a document."),
        Flag("output", str, None, "Where the corpus goes: one sentence a line, a blank line between documents."),
        Flag("language", str, "en", "Language of the text, as ISO 639-1 code: decides how sentences end."),
        _NUM_WORKERS,
    ),
    required=("input", "output"),
)

TRAIN_SENTENCEPIECE = Program(
    "train_sentencepiece",
    (
        Flag("input", str, None, f"Corpus, one sentence a line: {_INPUT}."),
        Flag("model_prefix", str, None, "The vocabulary goes to <prefix>.model and <prefix>.vocab."),
        Flag("vocab_size", int, 30000, "Pieces, the special ones included."),
        Flag("character_coverage", float, 0.99995, "Share of the corpus's characters that get pieces of their own."),
        Flag(
            "input_sentence_size",
            int,
            10_000_000,
            "Sentences drawn from a larger corpus, always the same ones, and held in memory; 0 takes all.",
        ),
        *shared("do_lower_case"),
    ),
    required=("input", "model_prefix"),
    changes={
        "do_lower_case": {"text": "Lower-case the corpus; give create_pretraining_data and fine-tuning the same."},
    },
)

CREATE_PRETRAINING_DATA = Program(
    "create_pretraining_data",
    (
        Flag(
            "input_file",
            str,
            None,
            f"Corpus, one sentence a line; a blank line or a file's end ends a document: {_INPUT}.",
        ),
        Flag(
            "output_file",
            str,
            None,
            "TFRecord files, comma-separated, none of them there yet; records are dealt to them in turn.",
        ),
        *shared("vocab_file", "spm_model_file", "do_lower_case", "max_seq_length"),
        Flag("do_whole_word_mask", bool, True, "Mask all pieces of a word together."),
        Flag("do_permutation", bool, False, "Besides masking, permute as many pieces again, to be predicted too."),
        Flag("favor_shorter_ngram", bool, True, "Mask short n-grams more often than long ones; without, the reverse."),
        Flag(
            "random_next_sentence",
            bool,
            False,
            "Negative pairs get text of another document, not swapped halves.",
        ),
        Flag(
            "noisy_copies",
            bool,
            False,
            "The second text of a pair is a copy of the first, with words left out and moved (label 0), or as noisy a "
            "copy of what follows it (label 1), or anything between: for a last phase, which teaches to compare.",
        ),
        Flag("ngram", int, 3, "Most words that are masked in a row."),
        _MAX_PREDICTIONS,
        Flag("random_seed", int, 12345, "Seed of everything that is drawn."),
        Flag("dupe_factor", int, 40, "How often the corpus is gone through, each time with other masks."),
        Flag("masked_lm_prob", float, 0.15, "Share of the pieces that is masked."),
        Flag(
            "short_seq_prob",
            float,
            0.1,
            "How often a pass through a document makes shorter sequences than max_seq_length.",
        ),
        _NUM_WORKERS,
    ),
    required=("input_file", "output_file"),
    changes={"max_seq_length": {"text": "Length of the records in tokens."}},
)

RUN_PRETRAINING = Program(
    "run_pretraining",
    (
        Flag("input_file", str, None, f"Records of albert.create_pretraining_data to train on: {_INPUT}."),
        Flag("eval_input_file", str, None, f"Records to evaluate on, other than input_file: {_INPUT}."),
        *shared("albert_config_file", "output_dir", "init_checkpoint", "overwrite_output_dir", "max_seq_length"),
        _MAX_PREDICTIONS,
        *shared("do_train", "do_eval", "train_batch_size", "eval_batch_size", "gradient_accumulation_steps"),
        *shared("optimizer", "learning_rate"),
        Flag("poly_power", float, 1.0, "Power of the polynomial by which the learning rate falls."),
        Flag("num_train_steps", int, 125000, "Optimisation steps in all."),
        Flag("num_warmup_steps", int, 3125, "Steps of linear warm-up."),
        Flag("start_warmup_step", int, 0, "Step at which the warm-up begins."),
        *shared("save_checkpoints_steps", "keep_checkpoint_max", "log_steps", "skip_nonfinite_steps"),
        *shared("profile_steps", "seed"),
        Flag("max_eval_steps", int, 100, "Batches of an evaluation at most."),
        Flag("init_from_group0", bool, False, "Start all groups of layers from group 0 of init_checkpoint."),
        Flag("masked_lm_budget", float, 0.0, "Only 0: upstream's masking during training never worked."),
        *shared("strategy_type", "num_gpu_cores", "device", "dtype", "use_xla", "recompute_activations"),
    ),
    required=("input_file", "albert_config_file", "output_dir"),
    changes={
        "do_train": {"default": True},
        "train_batch_size": {
            "default": 4096,
            "text": "Sequences of a step, over all replicas and micro-batches: both must divide it.",
        },
        "eval_batch_size": {"default": 64, "text": "Sequences of an evaluation batch, over all replicas."},
        "gradient_accumulation_steps": {
            "text": "Micro-batches per step on each replica: the memory needed is that of train_batch_size / "
            "(this x num_gpu_cores) sequences."
        },
        "optimizer": {"default": "lamb"},
        "learning_rate": {"default": 0.00176},
        "save_checkpoints_steps": {"default": 5000},
        "max_seq_length": {"text": "Length of the records in tokens."},
        "max_predictions_per_seq": {
            "text": "Predictions that the records have room for: create_pretraining_data's number, or twice that where "
            "they were made with --do_permutation."
        },
        "do_eval": {"text": "Evaluate checkpoints on eval_input_file and keep the best."},
    },
)

PROGRAMS = (PREPARE_CORPUS, TRAIN_SENTENCEPIECE, CREATE_PRETRAINING_DATA, RUN_PRETRAINING)
