"""An unknown flag leads to ours, in every program that has it. No TensorFlow."""

import pytest
from absl import flags as absl_flags

from albert.cli.export_model import EXPORT
from albert.cli.feature_creation import CREATE_FINETUNING_DATA
from albert.cli.fine_tuning import FINE_TUNING_PROGRAMS
from albert.cli.flags import parse
from albert.cli.launch_workers import LAUNCH
from albert.cli.other_names import OTHER_NAMES, flag_of, similar, suggestions
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
        parse(PROGRAMS[module], [module, argument])
    return str(refused.value)


def test_every_flag_that_is_meant_exists_and_takes_the_value_that_is_named():
    flags = [flag for program in PROGRAMS.values() for flag in program.flags]
    for name, target in ((name, target) for name, targets in OTHER_NAMES.items() for target in targets):
        meant, value = flag_of(target), target.partition("=")[2]
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
        (CLASSIFIER, "--learing_rate=1", "--learning_rate"),
        ("run_multigpus_squad_v2", "--warmup_steps=1", "--warmup_proportion"),
        ("run_multigpus_race", "--epochs=1", "--train_step (in steps)"),
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
        (["--output_dir=a", "--task_name=RTE", "--", "--lr=1"], "no flag --lr: did you mean --learning_rate?"),
        (["--output_dir=a", "--task_name=RTE", "--", "--learnin_rate=1"], "did you mean --learning_rate?"),
        (["--output_dir=a", "--task_name=RTE", "--set", "lr=1,2"], "no flag --lr: did you mean --learning_rate?"),
    ],
)
def test_a_sweep_leads_to_its_own_flags_and_to_those_of_the_runs(arguments, message):
    with pytest.raises(UserError) as refused:
        parse_sweep_flags(["sweep", *arguments])
    assert message in str(refused.value)


def test_absl_still_says_what_is_spelled_alike():
    # The words in which it does are read.
    assert str(absl_flags.UnrecognizedFlagError("a", suggestions=["b", "c"])).endswith("Did you mean: b, c ?")
