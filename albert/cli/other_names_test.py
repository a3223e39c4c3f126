"""An unknown flag leads to ours, in every program that has it. No TensorFlow."""

import pytest

from albert.cli.export_model import EXPORT
from albert.cli.feature_creation import CREATE_FINETUNING_DATA
from albert.cli.fine_tuning import FINE_TUNING_PROGRAMS, parse_classifier_flags
from albert.cli.flags import parse
from albert.cli.launch_workers import LAUNCH
from albert.cli.other_names import OTHER_NAMES, Always, flag_of, similar, suggestions
from albert.cli.predict import PREDICT
from albert.cli.pretraining import PRETRAINING_PROGRAMS
from albert.cli.serve import SERVE
from albert.cli.sweep import SWEEP, parse_sweep_flags
from albert.errors import UserError

PROGRAMS = {
    program.module: program
    for program in (
        *FINE_TUNING_PROGRAMS,
        *PRETRAINING_PROGRAMS,
        *(PREDICT, SERVE, SWEEP, EXPORT, CREATE_FINETUNING_DATA, LAUNCH),
    )
}
FLAGS = {
    module: {flag.name for flag in program.flags} | program.other_names.keys() for module, program in PROGRAMS.items()
}
CLASSIFIER = "run_multigpus_classifier"


def _refusal(module, argument):
    with pytest.raises(UserError) as refused:
        parse(PROGRAMS[module], [module, argument]).check()
    return str(refused.value)


def test_every_flag_that_is_meant_exists_and_takes_the_value_that_is_named():
    flags = [flag for program in PROGRAMS.values() for flag in program.flags]
    for name, target in ((name, target) for name, targets in OTHER_NAMES.items() for target in targets):
        meant, value = flag_of(target), "" if isinstance(target, Always) else target.partition("=")[2]
        having = [flag for flag in flags if flag.name == meant]
        assert having, f"{name}: no program has --{meant}"
        assert not value or all(value in flag.choices for flag in having), f"{name}: --{meant} takes no {value}"


@pytest.mark.parametrize("module", PROGRAMS)
def test_every_name_leads_to_the_first_flag_that_the_program_has(module):
    for name in OTHER_NAMES.keys() - FLAGS[module]:
        targets = [target for target in OTHER_NAMES[name] if flag_of(target) in FLAGS[module]]
        assert suggestions(name, FLAGS[module]) == tuple(targets[:1]), name


def test_every_name_leads_somewhere_and_is_the_flag_of_another_program_at_most():
    for name in OTHER_NAMES:
        assert any(name not in flags and suggestions(name, flags) for flags in FLAGS.values()), name


@pytest.mark.parametrize(
    ("module", "argument", "meant"),
    [
        (CLASSIFIER, "--lr=1", "--learning_rate"),
        (CLASSIFIER, "--num_epochs=1", "--num_train_epochs"),
        (CLASSIFIER, "--batch_size=1", "--train_batch_size"),
        (CLASSIFIER, "--per_device_train_batch_size=1", "--train_batch_size"),
        (CLASSIFIER, "--max_length=1", "--max_seq_length"),
        (CLASSIFIER, "--model_name_or_path=a", "--model_dir"),
        (CLASSIFIER, "--fp16", "--dtype=bfloat16"),
        (CLASSIFIER, "--bf16", "--dtype=bfloat16"),
        (CLASSIFIER, "--gradient_accumulation=2", "--gradient_accumulation_steps"),
        (CLASSIFIER, "--warmup_steps=1", "--warmup_step"),
        (CLASSIFIER, "--output=a", "--output_dir"),
        (CLASSIFIER, "--learning-rate=1", "--learning_rate"),
        (CLASSIFIER, "--no-do-train", "--nodo_train"),
        (CLASSIFIER, "--no_recipe", "--norecipe"),
        (CLASSIFIER, "--learing_rate=1", "--learning_rate"),
        ("run_multigpus_squad_v2", "--warmup_steps=1", "--warmup_proportion"),
        ("run_multigpus_race", "--epochs=1", "--train_step (in steps)"),
        ("run_multigpus_race", "--num_train_epochs=1", "--train_step (in steps)"),
        ("run_pretraining", "--num_train_epochs=1", "--num_train_steps (in steps)"),
        ("run_pretraining", "--warmup_steps=1", "--num_warmup_steps"),
        ("run_pretraining", "--epochs=1", "--num_train_steps (in steps)"),
        ("create_pretraining_data", "--seed=1", "--random_seed"),
        ("predict", "--output=a.csv", "--output_file"),
        ("predict", "--per_device_eval_batch_size=2", "--batch_size"),
        ("serve", "--model=a", "--model_dir"),
    ],
)
def test_names_of_others_and_misspelled_ones_lead_to_ours(module, argument, meant):
    name = argument[2:].partition("=")[0]
    assert _refusal(module, argument) == f"unknown flag --{name}: did you mean {meant}? (--help lists all)"


def test_what_nobody_calls_so_leads_nowhere():
    assert _refusal(CLASSIFIER, "--qqqq=1") == "unknown flag --qqqq (--help lists all)"
    assert suggestions("qqqq", FLAGS[CLASSIFIER]) == similar("qqqq", FLAGS[CLASSIFIER]) == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr=1"], "unknown flag --lr: did you mean --learning_rate, which comes behind --?"),
        (["--num_gpus=1"], "unknown flag --num_gpus: did you mean --gpus?"),
        (
            ["--seed=1", "--warmup_step=2", "--lr=3", "--qqqq", "--wd=0", "--min_lr=0", "--weight_decay=0"],
            "--seed is set by the sweep: use --seeds; --warmup_step is a flag of the runs: give it behind --; "
            "unknown flag --lr: did you mean --learning_rate, which comes behind --? (--help lists all); "
            "unknown flag --wd: did you mean --weight_decay, which comes behind --? (--help lists all); "
            "unknown flag --min_lr: leave it out, a rate that falls always falls to 0 (--help lists all); "
            "--weight_decay is a flag of the runs: give it behind --; "
            "unknown flag --qqqq (--help lists all)",
        ),
        (
            ["--output_dir=a", "--task_name=RTE", "--", "--min_lr=1"],
            "the runs have no flag --min_lr: leave it out, a rate that falls always falls to 0",
        ),
        (["--output_dir=a", "--task_name=RTE", "--", "--lr=1"], "no flag --lr: did you mean --learning_rate?"),
        (["--output_dir=a", "--task_name=RTE", "--", "--learnin_rate=1"], "did you mean --learning_rate?"),
        (["--output_dir=a", "--task_name=RTE", "--set", "lr=1,2"], "no flag --lr: did you mean --learning_rate?"),
    ],
)
def test_a_sweep_leads_to_its_own_flags_and_to_those_of_the_runs(arguments, message):
    with pytest.raises(UserError) as refused:
        parse_sweep_flags(["sweep", *arguments])
    assert message in str(refused.value)


# Flags of Hugging Face's run_glue.py with its TrainingArguments, of Google's run_classifier.py, and the arguments of
# simpletransformers, by what the classifier has for them.
MEANT = {
    "did you mean --save_checkpoints_steps (each checkpoint is evaluated)?": """
        eval_strategy evaluation_strategy eval_delay evaluate_during_training save_eval_checkpoints""",
    "did you mean --save_checkpoints_steps (in steps)?": "save_strategy save_model_every_epoch",
    "did you mean --save_checkpoints_steps?": """
        save_steps eval_steps checkpointing_steps evaluate_during_training_steps""",
    "did you mean --keep_checkpoint_max?": "save_total_limit",
    "did you mean --log_steps?": "logging_steps",
    "did you mean --train_batch_size?": "per_device_train_batch_size per_gpu_train_batch_size",
    "did you mean --eval_batch_size?": "per_device_eval_batch_size eval_accumulation_steps",
    "did you mean --train_step?": "max_steps max_train_steps num_train_steps",
    "did you mean --warmup_step?": "warmup_steps num_warmup_steps",
    "did you mean --warmup_proportion?": "warmup_ratio",
    "did you mean --seed?": "data_seed shuffle_seed manual_seed",
    "did you mean --dtype=bfloat16?": "fp16 bf16 fp16_full_eval bf16_full_eval",
    "did you mean --dtype?": "tf32 fp16_opt_level half_precision_backend",
    "did you mean --device=cpu?": "no_cuda use_cpu",
    "did you mean --num_gpu_cores?": "n_gpu",
    "did you mean --strategy_type=multi_worker?": "local_rank ddp_backend",
    "did you mean --use_xla?": "torch_compile jit_mode_eval",
    "did you mean --optimizer?": "optim adafactor",
    "did you mean --recompute_activations?": "gradient_checkpointing",
    "did you mean --deterministic?": "full_determinism",
    "did you mean --pack_sequences?": "group_by_length",
    "did you mean --pack_sequences (false pads to the full length)?": "pad_to_max_length",
    "did you mean --max_seq_length?": "max_length",
    "did you mean --model_dir?": "model_name_or_path albert_hub_module_handle",
    "did you mean --albert_config_file?": "config_name bert_config_file",
    "did you mean --spm_model_file?": "tokenizer_name",
    "did you mean --task_name?": "dataset_name",
    "did you mean --cached_dir?": "cache_dir",
    "did you mean --discard_classifier_weights?": "ignore_mismatched_sizes",
    "did you mean --problem_type=regression?": "do_regression regression",
    "did you mean --metric_for_best_model?": "metric_name early_stopping_metric",
    "did you mean --early_stopping_patience?": "use_early_stopping",
    "did you mean --early_stopping_threshold?": "early_stopping_delta",
    "did you mean --skip_nonfinite_steps?": "logging_nan_inf_filter",
    "did you mean --class_weights?": "weight",
    "did you mean --weight_decay?": "weight_decay_rate wd",
    "did you mean --adam_beta1?": "beta_1",
    "did you mean --adam_beta2?": "beta_2",
    "did you mean --adam_beta1 (and --adam_beta2)?": "adam_betas",
    "did you mean --adam_epsilon?": "epsilon",
    "did you mean --adam_epsilon (and --adam_beta1, --adam_beta2, --weight_decay)?": "optim_args",
    "did you mean --max_grad_norm?": "clip_norm gradient_clip_val global_clipnorm",
    "did you mean --lr_scheduler_type?": "scheduler lr_scheduler",
    "leave it out, the power of a linear fall is always 1": "polynomial_decay_schedule_power",
    "leave it out, a rate that falls always falls to 0": "polynomial_decay_schedule_lr_end min_lr",
    "leave it out, a kind of schedule has no options of its own": "lr_scheduler_kwargs cosine_schedule_num_cycles",
    "leave it out, the best checkpoint is always kept, and used at the end": "load_best_model_at_end save_best_model",
    "leave it out, of each metric it is known whether larger is better": "greater_is_better",
    "leave it out, the same command always resumes what is in its --output_dir": "resume_from_checkpoint",
    "leave it out, TensorBoard's events are always written to --output_dir": """
        report_to logging_dir with_tracking tensorboard_dir""",
    "leave it out, the first step is always logged": "logging_first_step",
    "leave it out, a bar is only shown on a terminal or in a notebook, never in a log": "disable_tqdm silent",
    "leave it out, all processors are always used": "dataloader_num_workers num_proc process_count",
    "leave it out, other columns are always left out": "remove_unused_columns",
    "leave it out, labels are always those of the training data": "label_names num_labels labels_list",
    "leave it out, training examples are always shuffled": "shuffle_train_dataset",
    "leave it out, data that changed are always read again": "overwrite_cache reprocess_input_data",
    "leave it out, there is one tokenizer, which is fast": "use_fast_tokenizer",
    "leave it out, it is about the inner workings of PyTorch or its trainer": """
        torch_compile_mode ddp_find_unused_parameters dataloader_pin_memory accelerator_config debug""",
    "leave it out, each replica always has the whole model": "fsdp deepspeed",
    "leave it out, nothing is ever uploaded; albert.export_model makes a folder for a hub": "push_to_hub hub_model_id",
    "leave it out, a model is always read from a folder, where a download has put it": "model_revision",
    "leave it out, a checkpoint always has all that training resumes with": "save_only_model",
    "leave it out, a run that resumes always goes on with the next examples": "ignore_data_skip",
    "leave it out, a step is always full, and no example is left out of training": "dataloader_drop_last",
    "leave it out, for less memory give more --gradient_accumulation_steps and a smaller batch": "auto_find_batch_size",
    "leave it out, the log always has progress and warnings": "log_level",
    "leave it out, tokens are always counted, in the log and in training_log.jsonl": "include_tokens_per_second",
    "leave it out, the first evaluation is always that of the first checkpoint": "eval_on_start",
    "did you mean --output_dir (whose name TensorBoard shows)?": "run_name",
    "did you mean --stuck_seconds?": "ddp_timeout",
    "leave it out, TPUs are not supported": """
        use_tpu tpu_name tpu_zone gcp_project master num_tpu_cores iterations_per_loop""",
}


@pytest.mark.parametrize(("name", "said"), [(name, said) for said, names in MEANT.items() for name in names.split()])
def test_flags_of_other_libraries_are_told_what_is_here(name, said):
    assert _refusal(CLASSIFIER, f"--{name}=1") == f"unknown flag --{name}: {said} (--help lists all)"


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        ("run_pretraining", "polynomial_decay_schedule_power", "did you mean --poly_power?"),
        ("run_pretraining", "metric_for_best_model", "leave it out, the best is always chosen by the task's own "
         "metric"),
        ("create_pretraining_data", "num_proc", "did you mean --num_workers?"),
        ("run_multigpus_squad_v1", "version_2_with_negative", "leave it out, SQuAD 2.0 has a program of its own, "
         "albert.run_multigpus_squad_v2"),
        ("run_multigpus_squad_v2", "version_2_with_negative", "leave it out, this program is always for SQuAD 2.0"),
        ("run_multigpus_squad_v1", "max_train_samples", "leave it out, samples are of own data, in "
         "albert.run_multigpus_classifier; here all rows are used"),
        (CLASSIFIER, "max_val_samples", "did you mean --max_eval_samples?"),
        ("run_multigpus_squad_v2", "stride", "did you mean --doc_stride?"),
    ],
)  # fmt: skip
def test_what_is_here_depends_on_the_program(module, name, said):
    assert _refusal(module, f"--{name}=1") == f"unknown flag --{name}: {said} (--help lists all)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--lr=1", "--epochs", "3", "--min_lr=0.1", "--qqqq", "--lr=2"],
            "unknown flag --lr: did you mean --learning_rate?; "
            "unknown flag --epochs: did you mean --num_train_epochs?; "
            "unknown flag --min_lr: leave it out, a rate that falls always falls to 0; "
            "unknown flag --qqqq (--help lists all)",
        ),
        # With the other problems of the command, but not with what is missing: that may be what is meant.
        (
            ["--output=a", "--seed=x", "--optimizer=sgd", "--model_name_or_path", "b"],
            "unknown flag --output: did you mean --output_dir?; "
            "unknown flag --model_name_or_path: did you mean --model_dir? "
            "(--help lists all); --seed=x is not a whole number; --optimizer=sgd is unknown; known are adamw, lamb",
        ),
        (["--seed=x", "--qqqq", "--seed=x"], "unknown flag --qqqq (--help lists all); --seed=x is not a whole number"),
        (
            ["--do_train", "false", "--lr=1"],
            "--do_train false: a boolean flag has its value behind =. Write --do_train=false or --nodo_train; "
            "unknown flag --lr: did you mean --learning_rate? (--help lists all)",
        ),
        (["--nodo_trian", "--do_train"], "unknown flag --nodo_trian: did you mean --do_train? (--help lists all)"),
    ],
)
def test_all_unknown_flags_are_told_together(arguments, said):
    with pytest.raises(UserError) as refused:
        parse(PROGRAMS[CLASSIFIER], [CLASSIFIER, *arguments]).check()
    assert str(refused.value) == said
    assert "; ".join(refused.value.problems) == said  # each a line of the terminal


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--fp16=False", "did you mean --dtype=float32?"),
        ("--bf16=true", "did you mean --dtype=bfloat16?"),
        ("--use_cpu=false", "leave it out, nothing is so without --device=cpu"),
        ("--do_regression=0", "leave it out, nothing is so without --problem_type=regression"),
        ("--gradient_checkpointing=false", "did you mean --recompute_activations?"),
    ],
)
def test_what_is_turned_off_is_not_answered_with_how_to_turn_it_on(argument, said):
    assert _refusal(CLASSIFIER, argument) == f"unknown flag {argument.partition('=')[0]}: {said} (--help lists all)"


def test_no_more_than_some_unknown_flags_are_listed():
    with pytest.raises(UserError) as refused:
        parse(PROGRAMS[CLASSIFIER], [CLASSIFIER, *(f"--zz{number}=1" for number in range(2000))]).check()
    assert len(refused.value.problems) == 21
    assert refused.value.problems[-1] == "and 1,980 more unknown flags (--help lists all)"


def test_a_program_of_texts_takes_those_behind_two_dashes_for_no_flags():
    assert parse(PREDICT, ["predict", "--model_dir=a", "one", "--", "--two", "-"]).arguments == ("one", "--two", "-")
    with pytest.raises(UserError, match=r"^unexpected argument '--two'"):
        parse(PROGRAMS[CLASSIFIER], [CLASSIFIER, "--", "--two"]).check()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        # Unknown, unread, out of its bounds, and what does not go together: all at once.
        (
            ["--qqqq=1", "--seed=x", "--log_steps=0", "--train_step=5", "--warmup_step=9"],
            [
                "unknown flag --qqqq",
                "--seed=x is not",
                "--log_steps=0 must",
                "--warmup_step=9 is more than --train_step=5",
            ],
        ),
        # Nothing of what is missing, which may be what is meant, and nothing that follows from it.
        (["--qqqq=1", "--early_stopping_threshold=1"], ["unknown flag --qqqq"]),
        (
            ["--warmup_stpe=1", "--train_step=5", "--warmup_step=9"],
            ["unknown flag --warmup_stpe: did you"],
        ),
        (
            ["--early_stoping_patience=1", "--early_stopping_threshold=1"],
            ["unknown flag --early_stoping_patience: did"],
        ),
        # A value that cannot be read is wrong whatever is meant.
        (["--sed=1", "--seed=x"], ["unknown flag --sed: did you mean --seed?", "--seed=x is not a whole number"]),
    ],
)
def test_all_that_is_wrong_with_flags_is_told_in_one_round(flags, said):
    with pytest.raises(UserError) as refused:
        parse_classifier_flags(["program", *flags])
    assert len(refused.value.problems) == len(said), refused.value.problems
    assert all(problem.startswith(part) for problem, part in zip(refused.value.problems, said, strict=True))
