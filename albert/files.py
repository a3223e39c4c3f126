"""Writing small files whole or not at all. Knows nothing of what they hold."""

import os
import uuid
from pathlib import Path

from albert.settings import UserError


def write_text(path: Path, text: str) -> None:
    """Puts `text` at `path` by writing a temporary file beside it, flushing it to disk and renaming it.

    Creates the directory. Raises UserError when the disk is full or not writable; what was at `path` is then untouched.
    """
    temporary = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}. Free space or choose another directory.") from error
    finally:
        temporary.unlink(missing_ok=True)
