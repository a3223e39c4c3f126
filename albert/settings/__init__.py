"""What a run is asked to do: frozen dataclasses, validated together, and the numbers derived from them.

A field declared with `setting` (`albert.settings.fields`) becomes the flag of every program that has it. Command lines
may count sequences of a whole step; settings count per replica and micro-batch.
"""

from albert.settings.pretraining import PretrainingData, PretrainingSettings, PretrainingTrainSettings
from albert.settings.run import (
    DTYPES,
    ONCE_CONSTANT,
    DataSettings,
    ModelSettings,
    ObjectiveSettings,
    Settings,
    SpeedSettings,
    TrainSettings,
    missing_vocabulary,
)

__all__ = [
    "DTYPES",
    "ONCE_CONSTANT",
    "DataSettings",
    "ModelSettings",
    "ObjectiveSettings",
    "PretrainingData",
    "PretrainingSettings",
    "PretrainingTrainSettings",
    "Settings",
    "SpeedSettings",
    "TrainSettings",
    "missing_vocabulary",
]
