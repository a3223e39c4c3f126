"""The readers of outside bytes that are fuzzed: data sets, vocabularies, configurations, archives. No TensorFlow.

Seeds come from the test data of this repository. Rows are counted here by other means than the readers use.
"""

import functools
import gzip
import io
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from albert.albert_config import AlbertConfig
from albert.downloads import archives, mrpc
from albert.downloads.dataset import DownloadError
from albert.settings import DataSettings
from albert.tasks.glue import GlueTask
from albert.tasks.race import RaceTask
from albert.tasks.squad.task import SquadTask
from albert.tokenization import SentencePieceTokenizer, Tokenizer, load_tokenizer
from robustness.fuzz_cases import Reader, Rows, Seed
from robustness.fuzz_flags import FLAGS
from robustness.fuzz_glue import TABLES, glue_seeds, read_glue
from robustness.fuzz_model_json import MODEL_JSON
from robustness.fuzz_mutations import JSON, LINES, Mutator, change_message
from robustness.fuzz_own import ABOUT_THE_WHOLE, change_fields, count_own, json_seeds, read_own, table_seeds
from robustness.fuzz_tags import ABOUT_THE_WHOLE as ABOUT_TAGS
from robustness.fuzz_tags import count_tags, read_tags, tag_seeds

ROOT = Path(__file__).parents[1]
TESTDATA = ROOT / "albert" / "testdata"
SAMPLE_MODEL = ROOT / "albert" / "testdata" / "agreement" / "agreement.model"

_SETTINGS = DataSettings("", Path(), Path(), max_seq_length=64)
_TEXTS = (
    *(
        "In 2010, he won 1,000 games.",
        "",
        " ",
        "a" * 300,
        "\u4eac\u90fd \u00e9t\u00e9 \ufb03 \u0130\u0301",
        "\0\x1b\u200b",
    ),
    "[CLS] <unk> ##ing _ \U0001f600",
)


@functools.cache
def _tokenizer() -> Tokenizer:
    return load_tokenizer(SAMPLE_MODEL, None, do_lower_case=True)


def _num_lines(path: Path) -> int:
    data = path.read_bytes()
    return data.count(b"\n") + (not data.endswith(b"\n") and len(data) > 0)


# --- GLUE -------------------------------------------------------------------------------------------------------------


def _read_glue(folder: Path, messages: Sequence[str], task: GlueTask, split: str) -> Rows:
    rows, examples = read_glue(folder, messages, task, split)
    for example in examples:
        (record,) = task.featurize(example, _tokenizer(), _SETTINGS)
        _check_record(record)
    return rows


def _count_glue(folder: Path, task: GlueTask, split: str) -> int:
    (path,) = task.source_files(split, folder)
    return _num_lines(path) - (task.has_header or split == "test")


def _check_record(record: dict[str, Any]) -> None:
    ids = record["input_ids"]
    assert 2 <= len(ids) <= _SETTINGS.max_seq_length, f"{len(ids)} tokens"
    assert all(0 <= i < _tokenizer().vocab_size for i in ids), ids


# --- SQuAD and RACE ---------------------------------------------------------------------------------------------------


class _Pairs(list):
    """An object of JSON with all its members, those of equal names too."""

    def all(self, name: str) -> Iterator[Any]:
        return (value for key, value in self if key == name)


def _squad_seeds() -> list[Seed]:
    seeds = []
    for name in ("train_v1", "dev_v1", "train_v2", "dev_v2"):
        document = json.loads((TESTDATA / "squad" / f"{name}.json").read_bytes())
        for article in document["data"]:
            article["paragraphs"] = [p for p in article["paragraphs"][:2] if len(p["context"]) < 2000]
            for paragraph in article["paragraphs"]:
                paragraph["qas"] = paragraph["qas"][:3]
        document["data"] = [article for article in document["data"] if article["paragraphs"]][:3]
        split, version = name.split("_v")
        task = SquadTask(version=f"{version}.{int(version) % 2}", max_query_length=16, **{
            "train_file" if split == "train" else "predict_file": Path("squad.json")
        })  # fmt: skip
        seeds.append(Seed({"squad.json": json.dumps(document).encode()}, (task, split)))
    return seeds


def _read_squad(folder: Path, messages: Sequence[str], task: SquadTask, split: str) -> Rows:
    paragraphs = list(task.read(split, folder))
    left_out = sum(int(found[1]) for message in messages if (found := re.search(r": (\d+) of .* left out", message)))
    records = []
    for paragraph in paragraphs:
        records += task.featurize(paragraph, _tokenizer(), _SETTINGS)
    for record in records:
        _check_record(record)
    task.check_records(folder / "squad.json", paragraphs, records)
    task.can_score(paragraphs)
    return Rows(sum(len(paragraph.questions) for paragraph in paragraphs), left_out)


def _count_squad(folder: Path, task: SquadTask, split: str) -> int:
    root = json.loads((folder / "squad.json").read_bytes(), object_pairs_hook=_Pairs)
    articles = [article for data in root.all("data") for article in data]
    paragraphs = [paragraph for article in articles for some in article.all("paragraphs") for paragraph in some]
    return sum(len(questions) for paragraph in paragraphs for questions in paragraph.all("qas"))


def _race_seeds() -> list[Seed]:
    middle, high = ((TESTDATA / f"race/RACE/dev/{level}/all.txt").read_bytes() for level in ("middle", "high"))
    articles = middle.splitlines(keepends=True)[:3]
    merged = {"RACE/dev/middle/all.txt": b"".join(articles), "RACE/dev/high/all.txt": high}
    singles = {f"RACE/test/high/{number}.txt": article for number, article in enumerate(articles)}
    return [
        Seed(merged, (RaceTask(max_qa_length=32), "dev")),
        Seed(singles, (RaceTask(max_qa_length=32, high_only=True), "test")),
    ]


def _read_race(folder: Path, messages: Sequence[str], task: RaceTask, split: str) -> Rows:
    examples = list(task.read(split, folder))
    for example in examples:
        for record in task.featurize(example, _tokenizer(), _SETTINGS):
            _check_record(record)
    return Rows(len(examples))


def _count_race(folder: Path, task: RaceTask, split: str) -> int:
    documents = []
    for path in task.source_files(split, folder):
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        documents += [line for line in data.split(b"\n") if line.strip()] if path.name == "all.txt" else [data]
    parsed = [json.loads(document.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=_Pairs) for document in documents]
    return sum(len(questions) for document in parsed for questions in document.all("questions"))


# --- MRPC's sources ---------------------------------------------------------------------------------------------------


def _mrpc_seeds() -> list[Seed]:
    header = b"Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    rows = [b"%d\t%d\t%d\tA cat sat.\tCats sit, %d.\r\n" % (i % 2, i, i + 100, i) for i in range(8)]
    table = header + b"".join(rows)
    return [Seed({mrpc.TRAIN: table, mrpc.TEST: table, mrpc.DEV_IDS: b"2\t102\n5\t105\n"})]


def _read_mrpc(folder: Path, messages: Sequence[str]) -> Rows:
    mrpc.build({name: folder / name for name in (mrpc.TRAIN, mrpc.TEST, mrpc.DEV_IDS)}, folder / "out")
    return Rows(sum(_num_lines(folder / "out" / f"{split}.tsv") - 1 for split in ("train", "dev", "test")))


def _count_mrpc(folder: Path) -> int:
    return sum(_num_lines(folder / name) - 1 for name in (mrpc.TRAIN, mrpc.TEST))


# --- Vocabularies and configurations ----------------------------------------------------------------------------------


def _vocab_seeds() -> list[Seed]:
    return [Seed({"vocab.txt": (TESTDATA / "wordpiece_vocab.txt").read_bytes()})]


def _read_vocab(folder: Path, messages: Sequence[str]) -> Rows:
    tokenizer = load_tokenizer(None, folder / "vocab.txt", do_lower_case=True)
    check_tokenizer(tokenizer)
    return Rows(tokenizer.vocab_size)


def check_tokenizer(tokenizer: Tokenizer) -> None:
    """Ids, special ones too, are of the vocabulary, and as many as pieces."""
    special = (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id)
    for text in _TEXTS:
        ids = tokenizer.encode(text)
        assert all(0 <= i < tokenizer.vocab_size for i in (*ids, *special)), (text, ids, special, tokenizer.vocab_size)
        pieces = tokenizer.tokenize(tokenizer.preprocess(text))
        assert len(pieces) == len(ids), (text, pieces, ids)


def _model_seeds() -> list[Seed]:
    whole = SAMPLE_MODEL.read_bytes()
    small = sentencepiece_model_pb2.ModelProto.FromString(whole)
    small.normalizer_spec.precompiled_charsmap = b""
    return [Seed({"spm.model": data}) for data in (small.SerializeToString(), whole)]


def _change_model(rng: Any, data: bytes, other: bytes) -> bytes:
    model = sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # whatever the parser says of what was damaged before
        return data
    for _ in range(rng.randint(1, 3)):
        change_message(rng, model)
    return model.SerializePartialToString()


def _read_model(folder: Path, messages: Sequence[str]) -> None:
    tokenizer = load_tokenizer(folder / "spm.model", None, do_lower_case=True)
    assert isinstance(tokenizer, SentencePieceTokenizer), tokenizer
    check_tokenizer(tokenizer)


def _config_seeds() -> list[Seed]:
    paths = (TESTDATA / "tiny/albert_config.json", TESTDATA / "tiny_groups/albert_config.json")
    full = AlbertConfig(vocab_size=30000, layers_to_keep=[1, 2], net_structure_type=1).to_json_string().encode()
    return [Seed({"albert_config.json": data}) for data in (*(path.read_bytes() for path in paths), full)]


def _read_config(folder: Path, messages: Sequence[str]) -> None:
    config = AlbertConfig.from_json_file(folder / "albert_config.json")
    again = AlbertConfig.from_dict(json.loads(config.to_json_string()))
    assert again.to_json_string() == config.to_json_string(), "what is written is not what was read"
    # Numbers that a tensor's dimension and a float32 can hold.
    for name, value in config.to_dict().items():
        if isinstance(value, int | float):
            assert abs(value) < 2**31, f"{name} is {value}"


# --- Archives ---------------------------------------------------------------------------------------------------------

_LIMITS = archives.Limits(num_bytes=200_000, num_members=50)
_MEMBERS = {
    "CoLA/train.tsv": b"a\tb\n" * 50,
    "CoLA/dev.tsv": bytes(range(256)) * 4,
    "CoLA/original/raw.tsv": b"",
    "__MACOSX/CoLA/._dev.tsv": b"finder",
}
_BAD_NAMES = (
    "../outside/precious.txt",
    "a/../../../outside/new.txt",
    "/tmp/fuzz-absolute.txt",
    "..",
    "C:\\x",
    "a\\..\\b",
)


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def _tar(members: Mapping[str, bytes | Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, Path):
                info.type, info.linkname = tarfile.SYMTYPE, str(content)
                content = b""
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def _zip_seeds() -> list[Seed]:
    # Good ones several times: most cases should not be refused for a name.
    files = (*(_zip(_MEMBERS), _zip(_MEMBERS, zipfile.ZIP_STORED)) * 3, *(_zip({name: b"x"}) for name in _BAD_NAMES))
    return [Seed({"a.zip": data}) for data in files]


def _tar_seeds() -> list[Seed]:
    link = {"CoLA/link": Path("../../outside"), "CoLA/link/precious.txt": b"x"}
    files = (*(_tar(_MEMBERS), _tar(link)) * 3, *(_tar({name: b"x"}) for name in _BAD_NAMES))
    return [Seed({"a.tar.gz": data}) for data in files]


def _change_inside_gzip(rng: Any, data: bytes, other: bytes) -> bytes:
    """Damages the tar in a .tar.gz, mostly its headers, whose checksums are made good again."""
    try:
        inner = bytearray(gzip.decompress(data))
    except (OSError, EOFError, zlib.error):
        return data
    starts = range(0, max(len(inner) - 511, 0), 512)
    for _ in range(rng.randint(1, 3) if starts else 0):
        start = rng.choice(starts)
        for _ in range(rng.randint(1, 4)):
            inner[start + rng.randrange(512)] = rng.choice(
                (0, 1, 32, 46, 47, 48, 55, 120, 128, 255, rng.randrange(256))
            )
        header = inner[start : start + 512]
        header[148:156] = b" " * 8
        inner[start + 148 : start + 156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(inner), mtime=0)


def _read_archive(name: str) -> Callable[[Path, Sequence[str]], None]:
    def read(folder: Path, messages: Sequence[str]) -> None:
        try:
            archives.unpack(folder / name, name, folder / "out", _LIMITS)
        finally:
            sizes = [path.lstat().st_size for path in (folder / "out").rglob("*") if not path.is_dir()]
            assert sum(sizes) <= _LIMITS.num_bytes, f"{sum(sizes)} bytes unpacked"

    return read


def _mutators(*groups: Sequence[Mutator]) -> tuple[Mutator, ...]:
    return tuple(mutator for group in groups for mutator in group)


READERS: tuple[Reader, ...] = (
    FLAGS,
    Reader(
        name="glue",
        seeds=lambda: glue_seeds(TESTDATA),
        read=_read_glue,
        count=_count_glue,
        mutators=_mutators(LINES, LINES, TABLES, TABLES, TABLES),
        line_based=True,
        about_the_whole=("cannot be read", "is empty", "is UTF-", "have an empty text"),
    ),
    Reader(name="squad", seeds=_squad_seeds, read=_read_squad, count=_count_squad, mutators=_mutators(JSON, JSON)),
    Reader(
        name="race",
        seeds=_race_seeds,
        read=_read_race,
        count=_count_race,
        mutators=_mutators(JSON, LINES),
    ),
    Reader(
        name="mrpc",
        seeds=_mrpc_seeds,
        read=_read_mrpc,
        count=_count_mrpc,
        mutators=_mutators(LINES, LINES),
        refusals=(DownloadError,),
        line_based=True,
        about_the_whole=("cannot be read", "holds no rows", "do not belong together"),
    ),
    Reader(
        name="own_table",
        seeds=table_seeds,
        read=read_own,
        count=count_own,
        mutators=_mutators(LINES, (change_fields,) * 4),
        line_based=True,
        about_the_whole=ABOUT_THE_WHOLE,
    ),
    Reader(
        name="own_json",
        seeds=json_seeds,
        read=read_own,
        count=count_own,
        mutators=_mutators(JSON, LINES),
        line_based=True,
        about_the_whole=ABOUT_THE_WHOLE,
    ),
    Reader(
        name="own_tags",
        seeds=tag_seeds,
        read=read_tags,
        count=count_tags,
        mutators=_mutators(LINES, JSON, (change_fields,) * 2),
        line_based=True,
        about_the_whole=ABOUT_TAGS,
    ),
    MODEL_JSON,
    Reader(name="config", seeds=_config_seeds, read=_read_config, mutators=_mutators(JSON, JSON)),
    Reader(
        name="vocab",
        seeds=_vocab_seeds,
        read=_read_vocab,
        count=lambda folder: _num_lines(folder / "vocab.txt"),
        mutators=_mutators(LINES, LINES),
        line_based=True,
        about_the_whole=("cannot be read", "is empty", "is UTF-", "lacks"),
    ),
    Reader(name="sentencepiece", seeds=_model_seeds, read=_read_model, mutators=(_change_model,) * 10),
    Reader(name="zip", seeds=_zip_seeds, read=_read_archive("a.zip"), refusals=(DownloadError,)),
    Reader(
        name="tar",
        seeds=_tar_seeds,
        read=_read_archive("a.tar.gz"),
        mutators=(_change_inside_gzip,) * 10,
        refusals=(DownloadError,),
    ),
)
