"""What `albert.serve` is asked for: the model, the address and the limits. No TensorFlow."""

import dataclasses

from albert.serving.request import ModelUse
from albert.settings.fields import LIMITS, SPEED, WHAT, at_least, problems_of, setting

_LARGEST_PORT = 65_535
_TEXTS_OF_A_ROW = 4
# More than a minute is a client that does nothing.
_A_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client may ask for. Every limit bounds memory or time that a client could otherwise take from others."""

    max_texts: int = setting("Texts, or questions, of a request.", LIMITS, default=256, bounds=at_least(1, 65_536))
    max_text_length: int = setting(
        "Characters of a text; those behind the model's longest row count for nothing in any case.",
        LIMITS,
        default=20_000,
        bounds=at_least(1, 1 << 24),
    )
    max_body_bytes: int = setting("Bytes of a request's body.", LIMITS, default=1 << 20, bounds=at_least(1024, 1 << 28))
    max_waiting_texts: int = setting(
        "Texts that may wait for their batch. A request that would be too many has status 503.",
        LIMITS,
        default=1024,
        bounds=at_least(1, 1 << 20),
    )
    max_connections: int = setting(
        "Connections that are open at a time; further ones have status 503.",
        LIMITS,
        default=256,
        bounds=at_least(1, 10_000),
    )
    read_seconds: int = setting(
        "Within so many seconds a request must have arrived, from its first byte to its last.",
        LIMITS,
        default=10,
        bounds=at_least(1, _A_DAY),
    )
    idle_seconds: int = setting(
        "A connection without a request is closed after so many seconds.",
        LIMITS,
        default=30,
        bounds=at_least(1, _A_DAY),
    )
    stop_seconds: int = setting(
        "How long a stop, by SIGINT or SIGTERM, may wait for what was accepted to be answered.",
        LIMITS,
        default=30,
        bounds=at_least(0, _A_DAY),
    )


@dataclasses.dataclass(frozen=True)
class ServeSettings(Limits, ModelUse):
    """One call of the program."""

    batch_size: int = setting(
        "Rows of tokens that are computed at once. Packed, a row takes up to four texts on average, of one request or "
        "of several.",
        SPEED,
        default=8,
        bounds=at_least(1, 65_536),
    )
    host: str = setting(
        "Address to listen on. Anything but this machine's own (127.0.0.1, ::1) lets others in: there is no "
        "authentication.",
        WHAT,
        default="127.0.0.1",
    )
    port: int = setting(
        "Port to listen on; 0: any free one. The URL is printed as one line when the model is ready.",
        WHAT,
        default=8000,
        bounds=at_least(0, _LARGEST_PORT),
    )

    @property
    def batch_texts(self) -> int:
        """How many texts become one batch. More would not be computed faster each, but wait for each other."""
        return self.batch_size * (_TEXTS_OF_A_ROW if self.pack_sequences else 1)

    def problems(self) -> list[str]:
        """What cannot work, each as one phrase."""
        found = problems_of(self)
        if self.max_waiting_texts < self.max_texts:
            found.append(f"`max_waiting_texts`={self.max_waiting_texts} is less than `max_texts`={self.max_texts}")
        return found
