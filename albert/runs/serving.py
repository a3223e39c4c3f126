"""What `albert.serve` does: loads a model, compiles what it needs, and answers requests until it is stopped.

What is wrong with the model's description and the address is told before TensorFlow is imported, which takes seconds.
"""

import asyncio
import contextlib
import gc
import importlib.util
import ipaddress
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from albert.errors import UserError
from albert.serving.batching import Batcher
from albert.serving.description import ModelDescription
from albert.serving.http.body import MAX_RESULTS, BodyReader
from albert.serving.http.computing import Computing
from albert.serving.http.settings import ServeSettings
from albert.serving.model_folder import find_model
from albert.serving.outputs import ReaderGone, StandardOutput
from albert.system.imports import importing_tensorflow
from albert.system.printing import part_of
from albert.system.signals import exit_on_termination
from albert.tasks.base import Labels, MultiLabels, Tags

if TYPE_CHECKING:
    from albert.serving.predictor import Predictor

_LIBRARIES = ("starlette", "uvicorn", "prometheus_client")


def run(settings: ServeSettings) -> None:
    """Serves. Raises UserError for every error the user can fix; returns when it was stopped and all is answered."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f'a server needs {", ".join(missing)}: .venv/bin/pip install -e ".[serve]"')
    from albert.serving.http.server import bind, url_of

    description = find_model(settings.model_dir).description
    reader = BodyReader(settings.model_dir, description, settings.embeddings, settings)
    with exit_on_termination(), bind(settings.host, settings.port) as listener:
        if not _is_loopback(listener.getsockname()[0]):
            logging.warning(
                "%s is not this machine alone: whoever reaches it may use the model. There is no authentication and no "
                "encryption; see docs/serving.md.",
                url_of(listener),
            )
        computing, about = _load(settings, description, reader)
        # What the imports made stays; without it every full collection would search it while requests wait.
        gc.freeze()
        signal_number = asyncio.run(_serve(settings, reader, computing, about, listener))
    if signal_number:
        sys.stderr.flush()
        # Without waiting for the thread that computes what nobody waits for.
        os._exit(128 + signal_number)


def _load(
    settings: ServeSettings, description: ModelDescription | None, reader: BodyReader
) -> tuple[Computing, dict[str, Any]]:
    """The model, with everything compiled that requests may need, and what a client is told of it."""
    # Not at the top: they import TensorFlow.
    with importing_tensorflow():
        from albert.serving.forward import take_process
        from albert.serving.predictor import Predictor

    take_process(settings.device)
    predictor = Predictor(
        settings.model_dir, settings.batch_size, settings.device, settings.dtype, settings.pack_sequences
    )
    if settings.embeddings:
        predictor.encode([""], pooling=settings.embeddings)  # or tells that there is no pooler
    logging.info("Compiling the model for texts of any length.")
    predictor.warm_up(settings.embeddings, is_whole=True)
    return Computing(predictor, settings.embeddings), _about(settings, description, reader, predictor)


def _about(
    settings: ServeSettings, description: ModelDescription | None, reader: BodyReader, predictor: "Predictor"
) -> dict[str, Any]:
    output = predictor.output
    about: dict[str, Any] = {"task": description.task_name if description else None, "gives": reader.use}
    if not settings.embeddings and isinstance(output, Labels | MultiLabels | Tags):
        about["labels"] = list(output.names)
    if settings.embeddings:
        about |= {"pooling": settings.embeddings, "length": predictor.hidden_size}
    about |= {"max_seq_length": predictor.max_seq_length, "dtype": predictor.dtype, "fields": list(reader.fields)}
    names = ("max_texts", "max_text_length", "max_body_bytes", "max_waiting_texts")
    return {**about, "limits": {**{name: getattr(settings, name) for name in names}, "max_results": MAX_RESULTS}}


async def _serve(
    settings: ServeSettings, reader: BodyReader, computing: Computing, about: dict[str, Any], listener: Any
) -> int:
    from albert.serving.http.app import Service
    from albert.serving.http.metrics import Metrics
    from albert.serving.http.notices import Notices
    from albert.serving.http.server import serve, url_of

    metrics = Metrics()
    notices = Notices(computing.predictor, metrics)

    def on_batch(num_texts: int, seconds: float) -> None:
        metrics.count_batch(num_texts, seconds)
        notices.look()

    batcher = Batcher(computing, settings.batch_texts, settings.max_waiting_texts, on_batch)
    metrics.watch_waiting(lambda: batcher.num_waiting)

    def say_where() -> None:
        with contextlib.suppress(ReaderGone):
            StandardOutput().write(f"{url_of(listener)}\n".encode())

    async with batcher:
        service = Service(reader, batcher, metrics, settings, about)
        signal_number = await serve(service, listener, settings, say_where)
    for cuts in computing.predictor.cuts.values():
        cuts.warn("The requests")
    logging.info("Stopped; answered %s.", part_of(service.num_answered, service.num_requests, "request"))
    return signal_number


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
