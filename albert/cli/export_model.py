"""The command line of `albert.export_model`: its flags, and the request they become. No TensorFlow."""

from collections.abc import Sequence

from albert.cli.flags import Program, declared, parse
from albert.serving.export.request import ExportRequest

EXPORT = Program(
    "export_model",
    "Writes a model, trained here or of any format that is read, in another library's format.",
    declared(ExportRequest),
    required=("model_dir", "output_dir", "format"),
    example=("--model_dir=albert_output/mrpc --output_dir=exported/mrpc --format=huggingface",),
    if_stopped="nothing was exported",
    notes="The export is read again and compared with the model; what differs by more than 1e-5 is removed.",
)

_OF_SAVEDMODEL = ("version", "string_input")


def parse_export_flags(argv: Sequence[str]) -> ExportRequest:
    """The request in `argv`, whose first element is the program's name.

    Raises HelpRequested for --help, and UserError for everything that does not go together, at once.
    """
    values = parse(EXPORT, argv)
    if None in (values["model_dir"], values["output_dir"], values["format"]):
        values.check()  # a request cannot be made without
    request = values.make(ExportRequest)
    idle = [name for name in _OF_SAVEDMODEL if name in values.given and request.format != "savedmodel"]
    values.check([*request.problems(), *(f"`{name}` is for `format`=savedmodel: leave it out" for name in idle)])
    return request


def export(request: ExportRequest) -> None:
    """Exports. Imports the parts only now, when the flags are known to be right."""
    from albert.runs.export import run

    run(request)
