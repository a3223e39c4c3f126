"""What `albert.serve` answers a second, and how long a request waits, with batches of waiting requests and without.

Two servers of one model run side by side: one puts waiting requests together, the other computes one text at a time.
Clients take turns with them, so that what else the machine does falls on both. Each client sends the next text of
SST-2's dev.tsv when it has the answer to the last one, on a connection that stays open. The model is the bundled one
with a head of two labels and random weights. At the end both are stopped under load.

    python3 -m benchmarks.serving --data_dir=glue_data
"""

import argparse
import asyncio
import itertools
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.prediction import ROOT, prepare
from benchmarks.results_file import append_result

CLIENTS = (1, 8, 64)
TOGETHER, ALONE = "waiting requests together", "one request at a time"
# Outcomes of a request while the server stops.
ANSWERED, REFUSED = "answered", "refused"


def read_sentences(data_dir: Path) -> list[str]:
    """The sentences of SST-2's dev.tsv."""
    lines = (data_dir / "SST-2/dev.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines[1:]]


class Server:
    """`albert.serve` in a process of its own, on the CPU."""

    def __init__(self, model: Path, *flags: str):
        command = [sys.executable, "-m", "albert.serve", f"--model_dir={model}", "--port=0", "--device=cpu", *flags]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout, "a pipe"
        self.url = self._process.stdout.readline().decode().strip()
        self.port = int(self.url.rpartition(":")[2])

    def metrics(self) -> dict[str, float]:
        """Its counters by name."""
        with urllib.request.urlopen(f"{self.url}/metrics") as response:
            lines = response.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def metrics_since(self, before: dict[str, float]) -> dict[str, float]:
        """How much its counters have grown."""
        return {name: value - before.get(name, 0) for name, value in self.metrics().items()}

    def stop(self) -> None:
        """Asks it to."""
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """When it has ended."""
        return self._process.wait()


class Asked(NamedTuple):
    """A text's number, when its request was sent and how many seconds its answer took, with what it says."""

    text: int
    seconds: float
    score: float


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> tuple[dict[str, object], bool]:
    """The result of a text, and whether the server closes the connection."""
    body = json.dumps({"texts": [text]}).encode()
    writer.write(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
    answer = json.loads(await reader.readexactly(length))
    (result,) = answer["results"]
    return result, b"connection: close" in head


async def load(port: int, texts: list[str], num_clients: int, seconds: float) -> tuple[list[Asked], float]:
    """Every request that was answered, and how long all of it took."""
    numbers = itertools.cycle(range(len(texts)))
    answered: list[Asked] = []
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (begin := time.perf_counter()) < end:
            number = next(numbers)
            result, _ = await ask(reader, writer, texts[number])
            score = float(str(result["score"])) if result["label"] == "1" else 1 - float(str(result["score"]))
            answered.append(Asked(number, time.perf_counter() - begin, score))
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(num_clients)))
    return answered, time.perf_counter() - begin


async def stopped_under_load(server: Server, texts: list[str], num_clients: int, seconds: float) -> dict[str, int]:
    """How many requests had which outcome, where the server is stopped after some seconds.

    Each client continues until connections are refused.
    """
    outcomes: dict[str, int] = {}

    async def client() -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            except ConnectionRefusedError:
                outcomes[REFUSED] = outcomes.get(REFUSED, 0) + 1
                return
            closes = False
            while not closes:
                try:
                    _, closes = await ask(reader, writer, texts[0])
                    outcome = ANSWERED
                except (OSError, EOFError) as error:
                    closes, outcome = True, type(error).__name__
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
            writer.close()

    asyncio.get_running_loop().call_later(seconds, server.stop)
    await asyncio.gather(*(client() for _ in range(num_clients)))
    return outcomes


def throughput(servers: dict[str, Server], texts: list[str], seconds: float, rounds: int) -> str:
    """A table, a line for each number of clients and server; and how far their probabilities are apart."""
    lines = [
        "| clients | | requests/s | | p50 | p99 | texts in a batch | processor time a request | |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    scores: dict[str, dict[int, float]] = {name: {} for name in servers}
    for num_clients in CLIENTS:
        rates: dict[str, list[float]] = {name: [] for name in servers}
        latencies: dict[str, list[float]] = {name: [] for name in servers}
        before = {name: server.metrics() for name, server in servers.items()}
        for _ in range(rounds):
            for name, server in servers.items():
                answered, took = asyncio.run(load(server.port, texts, num_clients, seconds))
                rates[name].append(len(answered) / took)
                latencies[name] += [1000 * asked.seconds for asked in answered]
                scores[name] |= {asked.text: asked.score for asked in answered}
        used = {name: server.metrics_since(before[name]) for name, server in servers.items()}
        base_rate, base_time = statistics.median(rates[ALONE]), _milliseconds_a_text(used[ALONE])
        for name, since in used.items():
            rate = statistics.median(rates[name])
            median, slow = np.percentile(latencies[name], (50, 99))
            batch = since["albert_batch_texts_sum"] / since["albert_batch_texts_count"]
            lines.append(
                f"| {num_clients} | {name} | {rate:,.0f} | {rate / base_rate:.2f} | {median:.1f} ms | {slow:.1f} ms | "
                f"{batch:.1f} | {_milliseconds_a_text(since):.1f} ms | {_milliseconds_a_text(since) / base_time:.2f} |"
            )
    both = scores[TOGETHER].keys() & scores[ALONE].keys()
    difference = max(abs(scores[TOGETHER][number] - scores[ALONE][number]) for number in both)
    return "\n".join([*lines, "", f"Probabilities of {len(both)} texts differ by at most {difference:.1e}."])


def _milliseconds_a_text(since: dict[str, float]) -> float:
    """Processor time of the server: unlike the clock's, it does not depend on what else the machine does."""
    return 1000 * since["process_cpu_seconds_total"] / since["albert_batch_texts_sum"]


def stops(servers: dict[str, Server], texts: list[str], num_clients: int) -> str:
    """What became of requests when the servers were stopped, a line for each."""
    lines = []
    for name, server in servers.items():
        outcomes = asyncio.run(stopped_under_load(server, texts, num_clients, 3))
        code = server.exit_code()
        others = {outcome: count for outcome, count in outcomes.items() if outcome not in (ANSWERED, REFUSED)}
        lines.append(
            f"Stopped by SIGTERM under {num_clients} clients ({name}): {outcomes[ANSWERED]:,} requests answered, "
            f"{others or 'none'} lost, then {outcomes[REFUSED]} connections refused; exit code {code}."
        )
    return "\n\n".join(lines)


def main() -> None:
    """Measures, prints and appends to results/serving.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", type=Path, default=ROOT / "glue_data", help="folder that has SST-2")
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    texts = read_sentences(arguments.data_dir)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), texts[:1])
        flags = {TOGETHER: (f"--batch_size={arguments.batch_size}",), ALONE: ("--batch_size=1", "--nopack_sequences")}
        servers = {name: Server(Path(folder) / "model", *given) for name, given in flags.items()}
        for server in servers.values():
            asyncio.run(load(server.port, texts, 8, 2))
        parts = [throughput(servers, texts, arguments.seconds, arguments.rounds), stops(servers, texts, CLIENTS[-1])]
    append_result("serving", "\n\n".join(parts))


if __name__ == "__main__":
    main()
