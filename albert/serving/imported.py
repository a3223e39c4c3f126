"""What models of other libraries say of themselves, whichever library it is. No TensorFlow."""

import logging
from pathlib import Path

from albert.errors import UserError
from albert.serving import hugging_face, keras_hub
from albert.serving.description import ModelDescription
from albert.tasks.base import Labels, MultiLabels, Output, Tags


def describe(config_file: Path) -> ModelDescription | None:
    """What a fine-tuned model beside its `config.json` predicts; None for one that was only pretrained.

    Raises UserError, naming the file, for what it should not say.
    """
    return hugging_face.describe(config_file) or keras_hub.describe(config_file)


def check_labels(config_file: Path, output: Output, is_unread: bool) -> None:
    """Raises UserError where the head beside `config_file` has the number of classes of `output`, but not its classes.

    `is_unread`: whether that head is not used at all.
    """
    description = None if is_unread or not config_file.is_file() else describe(config_file)
    if description is None or not isinstance(output, Labels | MultiLabels | Tags):
        return
    comparable = Tags if isinstance(output, Tags) else Labels | MultiLabels
    theirs = getattr(description.output, "names", ()) if isinstance(description.output, comparable) else ()
    if len(theirs) != len(output.names) or [name.casefold() for name in theirs] == [n.casefold() for n in output.names]:
        return  # another number of classes is reported when the weights are read
    said = f"{config_file}: the classes are {', '.join(theirs)}, but here they are {', '.join(output.names)}"
    if theirs == tuple(f"LABEL_{number}" for number in range(len(theirs))):
        logging.warning("%s: their order is taken to be the same.", said)
    else:
        raise UserError(f"{said}. To train a new head, add `discard_classifier_weights`.")
