"""The command line of `albert.serve`: its flags, and the settings they become. No TensorFlow."""

from collections.abc import Sequence

from albert.cli.flags import Program, declared, parse
from albert.serving.http.settings import ServeSettings

SERVE = Program(
    "serve",
    "Answers HTTP requests with a trained model, for a trial: see docs/serving.md.",
    declared(ServeSettings),
    required=("model_dir",),
    example=("--model_dir=albert_output/mrpc --port=8000",),
    if_stopped="",
    notes="SIGINT or SIGTERM stops it when everything that was accepted is answered; a second one stops it at once.",
)


def parse_serve_flags(argv: Sequence[str]) -> ServeSettings:
    """The settings in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that does not go together, at once.
    """
    values = parse(SERVE, argv)
    if values["model_dir"] is None:
        values.check()  # settings cannot be made without
    settings = values.make(ServeSettings)
    values.check(settings.problems())
    return settings


def serve(settings: ServeSettings) -> None:
    """Serves. Imports the parts only now, when the flags are known to be right."""
    from albert.runs.serving import run

    run(settings)
