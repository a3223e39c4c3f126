import itertools
import json
import pickle
import subprocess
import sys
import unicodedata

import numpy as np
import pytest

from albert.errors import UserError
from albert.settings import DataSettings
from albert.tasks.squad.files import Paragraph, Question
from albert.tasks.squad.task import (
    SquadTask,
    all_questions,
    log_dropped_and_truncated,
    questions_without_windows,
    windows_by_question,
)
from albert.tasks.squad.windows import split_into_windows
from albert.testing import squad_document, write_squad
from albert.tokenization import WordPieceTokenizer, load_tokenizer

CASINGS = {"": True, "_cased": False}

# File, max_seq_length, doc_stride, max_query_length, casing; features_<file>_<length>_<stride>[_cased|_query8].npz.
GOLDEN = [
    *((file, 384, 128, 64, "") for file in ("train_v1", "train_v2", "dev_v1", "dev_v2")),
    *((file, 96, 32, 64, "") for file in ("train_v1", "train_v2", "dev_v1", "dev_v2")),
    ("dev_v2", 96, 32, 64, "_cased"),
    ("dev_v2", 96, 16, 8, ""),
]


@pytest.fixture(scope="module")
def tokenizers(testdata):
    """By casing, "" and "_cased"."""
    return {casing: load_tokenizer(testdata / "30k-clean.model", None, lower) for casing, lower in CASINGS.items()}


@pytest.fixture
def tokenizer(tokenizers):
    return tokenizers[""]


def _settings(folder, max_seq_length=384):
    return DataSettings("squad", folder, folder, max_seq_length)


def _golden_path(testdata, file, length, stride, query, casing):
    name = f"features_{file}_{length}_{stride}{casing}" + f"_query{query}" * (query != 64)
    return testdata / "squad" / f"{name}.npz"


def _golden_records(testdata, tokenizers, file, length, stride, query, casing):
    """The paragraphs and their records."""
    folder = testdata / "squad"
    split = file.split("_")[0]
    names = {f"{flag}_file": f"{file}.json" for flag in ("train", "predict")}
    task = SquadTask(version="2.0", doc_stride=stride, max_query_length=query, **names)
    paragraphs = list(task.read(split, folder))
    settings = _settings(folder, length)
    return paragraphs, [
        record for paragraph in paragraphs for record in task.featurize(paragraph, tokenizers[casing], settings)
    ]


def _padded(records, name, length, fill):
    return np.array([list(record[name]) + [fill] * (length - len(record[name])) for record in records])


def _scalars(records, name):
    return np.concatenate([record[name] for record in records])


# --- Equal to the original -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "length", "stride", "query", "casing"), GOLDEN)
def test_features_equal_the_original(testdata, tokenizers, file, length, stride, query, casing):
    # squad/features_*.npz: every array of the original's features. None is recorded as -1.
    golden = dict(np.load(_golden_path(testdata, file, length, stride, query, casing)))
    paragraphs, records = _golden_records(testdata, tokenizers, file, length, stride, query, casing)
    contexts = [paragraph.context for paragraph in paragraphs for _ in paragraph.questions]
    # Differs: the original drops a context of Hangul, which it takes apart.
    (dropped,) = {record["question_index"][0] for record in records if contexts[record["question_index"][0]][0] == "가"}
    records = [record for record in records if record["question_index"] != [dropped]]
    # Differs: the original ends a token before the combining mark of its last letter.
    ends = golden["tok_end_to_orig_index"]
    for row, record in enumerate(records):
        context = contexts[record["question_index"][0]]
        for token in range(golden["n_doc_tokens"][row]):
            if unicodedata.combining(context[ends[row, token] + 1 :][:1] or " "):
                assert context.startswith("北京市"), "of the golden contexts one has a combining mark"
                ends[row, token] += 1
    is_training = file.startswith("train")
    unknown = np.full(len(records), -1)
    found = {
        "input_ids": _padded(records, "input_ids", length, 0),
        "input_mask": np.array([[n < len(r["input_ids"]) for n in range(length)] for r in records]),
        "segment_ids": _padded(records, "segment_ids", length, 0),
        "p_mask": _padded(records, "p_mask", length, 1),
        "tok_start_to_orig_index": _padded(records, "tok_start_to_orig_index", length, -1),
        "tok_end_to_orig_index": _padded(records, "tok_end_to_orig_index", length, -1),
        "n_doc_tokens": np.array([len(record["tok_start_to_orig_index"]) for record in records]),
        "token_is_max_context": _padded(records, "token_is_max_context", length, -1),
        "paragraph_len": _scalars(records, "paragraph_len"),
        "unique_id": 1_000_000_000 + np.arange(len(records)),
        "doc_span_index": _scalars(records, "doc_span_index"),
        "is_impossible": _scalars(records, "is_impossible"),
        # The original notes the question only for prediction, and positions only for training.
        "example_index": unknown if is_training else _scalars(records, "question_index"),
        "start_position": _scalars(records, "start_positions") if is_training else unknown,
        "end_position": _scalars(records, "end_positions") if is_training else unknown,
    }
    assert found.keys() == golden.keys()
    for name, expected in golden.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_every_recorded_feature_file_is_compared(testdata):
    recorded = set((testdata / "squad").glob("features_*.npz"))
    assert recorded == {_golden_path(testdata, *case) for case in GOLDEN}


@pytest.mark.parametrize(("file", "skipped"), [("dev_v2", 199), ("train_v2", 199), ("dev_v1", 98), ("train_v1", 98)])
def test_question_that_the_original_drops_has_a_window(testdata, tokenizers, caplog, file, skipped):
    # The numbers are those of the golden files' description: Hangul, which preprocessing takes apart.
    paragraphs, records = _golden_records(testdata, tokenizers, file, 384, 128, 64, "")
    assert questions_without_windows(paragraphs, records) == []
    (record,) = [record for record in records if record["question_index"] == [skipped]]
    paragraph = next(p for p in paragraphs if p.first_question == skipped)
    if file.startswith("train"):
        _check_answer(record, paragraph.questions[0], paragraph.context)
    log_dropped_and_truncated(testdata / "squad" / f"{file}.json", paragraphs, records, max_query_length=64)
    assert not any("without features" in message for message in caplog.messages)


def test_windows_of_a_question_are_found_in_order(testdata, tokenizers):
    paragraphs, records = _golden_records(testdata, tokenizers, "dev_v2", 96, 16, 8, "")
    windows = windows_by_question(len(all_questions(paragraphs)), records)
    assert sorted(itertools.chain.from_iterable(windows)) == list(range(len(records)))
    for number, rows in enumerate(windows):
        assert [records[row]["doc_span_index"] for row in rows] == [[index] for index in range(len(rows))]
        assert all(records[row]["question_index"] == [number] for row in rows)


# --- What a record holds ---------------------------------------------------------------------------------------------


def _task(version="2.0", **options):
    return SquadTask(version=version, train_file="squad.json", predict_file="squad.json", **options)


def _features(folder, tokenizer, split="train", max_seq_length=384, **options):
    task = _task(**options)
    paragraphs = list(task.read(split, folder))
    settings = _settings(folder, max_seq_length)
    return paragraphs, [record for p in paragraphs for record in task.featurize(p, tokenizer, settings)]


def test_record_has_the_columns_of_the_spec(tmp_path, tokenizer):
    (record,) = _features(write_squad(tmp_path, squad_document()), tokenizer)[1]
    assert record.keys() == SquadTask.feature_spec.keys()
    for name, column in SquadTask.feature_spec.items():
        assert column.dtype == "int32"
        assert all(type(value) is int for value in record[name]), name
        assert column.kind != "tokens" or len(record[name]) == len(record["input_ids"])
        assert column.kind != "scalar" or len(record[name]) == 1


def test_answer_is_marked_by_its_tokens(tmp_path, tokenizer):
    (record,) = _features(write_squad(tmp_path, squad_document()), tokenizer)[1]
    start, end = record["start_positions"][0], record["end_positions"][0]
    assert record["input_ids"][start : end + 1] == tokenizer.encode("dog")
    assert record["is_impossible"] == [0]


def test_impossible_question_points_at_the_first_token(tmp_path, tokenizer):
    document = squad_document(is_impossible=True, answers=[])
    (record,) = _features(write_squad(tmp_path, document), tokenizer)[1]
    assert (record["start_positions"], record["end_positions"], record["is_impossible"]) == ([0], [0], [1])


def test_answers_of_a_file_to_predict_do_not_reach_the_records(tmp_path, tokenizer):
    with_answer = _features(write_squad(tmp_path, squad_document()), tokenizer, "dev")[1]
    without = _features(write_squad(tmp_path, squad_document(answers=[])), tokenizer, "dev")[1]
    assert with_answer == without
    assert with_answer[0]["start_positions"] == with_answer[0]["is_impossible"] == [0]


@pytest.mark.parametrize(
    ("tokens", "room", "stride"), [(700, 371, 128), (600, 400, 350), (5, 5, 3), (50, 7, 2), (50, 7, 9), (9, 1, 1)]
)
def test_every_token_has_its_most_context_in_one_window(tokens, room, stride):
    # By the original's rule: the smaller of left and right, plus 0.01 a token of the window; the first of equals.
    windows = split_into_windows(tokens, room, stride)
    assert windows[0].start == 0
    assert [window.stop - window.start for window in windows[:-1]] == [room] * (len(windows) - 1)
    assert {after.start - window.start for window, after in itertools.pairwise(windows)} <= {min(stride, room)}
    assert windows[-1].stop == tokens
    for token in range(tokens):
        scores = {
            number: min(token - window.start, window.stop - 1 - token) + 0.01 * (window.stop - window.start)
            for number, window in enumerate(windows)
            if window.start <= token < window.stop
        }
        best = max(scores, key=scores.get)
        marked = {number: windows[number].is_max_context[token - windows[number].start] for number in scores}
        assert marked == {number: int(number == best) for number in scores}


def test_long_query_is_cut_and_counted_once(tmp_path, tokenizer, caplog):
    document = squad_document(question="Which one " * 10, context="A cat sat. A dog ran. " * 8)
    paragraphs, records = _features(write_squad(tmp_path, document), tokenizer, max_seq_length=32, max_query_length=8)
    assert len(records) > 1
    for record in records:
        assert record["input_ids"][1:10] == [*tokenizer.encode("Which one " * 4), tokenizer.sep_id]
        assert record["query_len"] == [20]
    log_dropped_and_truncated(tmp_path / "squad.json", paragraphs, records, max_query_length=8)
    assert caplog.messages == [f"{tmp_path}/squad.json: 1 of 1 question cut to max_query_length=8 tokens: q"]


def test_answer_that_vanishes_between_tokens_leaves_the_question_out(tmp_path, tokenizer):
    # SentencePiece drops the control character; it would begin in the token after it and end in the one before it.
    document = squad_document(context="one.\u0001two", answers=[{"text": "\u0001", "answer_start": 4}])
    paragraphs, records = _features(write_squad(tmp_path, document), tokenizer)
    assert records == []
    assert questions_without_windows(paragraphs, records) == all_questions(paragraphs)
    assert len(_features(tmp_path, tokenizer, "dev")[1]) == 1


def test_context_without_any_token_has_no_windows(tmp_path, tokenizer):
    document = squad_document(context="\u0301\u0302", answers=[])
    paragraphs, records = _features(write_squad(tmp_path, document), tokenizer, "dev")
    assert records == []
    assert len(questions_without_windows(paragraphs, records)) == 1


def test_featurizing_can_be_sent_to_another_process(tmp_path, tokenizer):
    task = _task()
    (paragraph,) = task.read("train", write_squad(tmp_path, squad_document()))
    featurize = pickle.loads(pickle.dumps(task.featurize))
    settings = _settings(tmp_path)
    assert featurize(paragraph, tokenizer, settings) == task.featurize(paragraph, tokenizer, settings)


def test_reading_and_featurizing_import_no_tensorflow(testdata):
    # In a process of its own: other tests may have imported it into this one.
    code = (
        "import sys; from albert.tasks.squad.task import SquadTask; "
        f"list(SquadTask(version='1.1', predict_file='dev_v1.json').read('dev', {str(testdata / 'squad')!r})); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=testdata.parent.parent)


def test_scoring_holds_what_is_not_the_default():
    assert SquadTask(version="2.0", doc_stride=64, n_best_size=5).scoring() == {}
    chosen = {"max_answer_length": 10, "score_language": "zh", "null_score_diff_threshold": 0.0}
    assert SquadTask(version="2.0", **chosen).scoring() == chosen


def test_identity_holds_the_options_that_change_records():
    plain = json.dumps(_task().identity())
    assert plain == json.dumps(_task("1.1").identity())
    assert len({plain, *(json.dumps(_task(**{o: 7}).identity()) for o in ("doc_stride", "max_query_length"))}) == 3


def test_splits_are_those_with_a_file(tmp_path):
    assert _task().splits == ("train", "dev")
    task = SquadTask(version="1.1", predict_file="squad.json")
    assert (task.name, task.splits) == ("squad1.1", ("dev",))
    write_squad(tmp_path, squad_document())
    assert task.source_files("dev", tmp_path) == task.source_files("test", tmp_path) == (tmp_path / "squad.json",)
    absolute = SquadTask(version="1.1", predict_file=str(tmp_path / "squad.json"))
    assert absolute.source_files("dev", "elsewhere") == (tmp_path / "squad.json",)


def test_word_pieces_have_windows_with_offsets(testdata, tmp_path):
    # squad/word_pieces.json: ids and offsets of the tokenizers library, here put together by hand.
    recorded = json.loads((testdata / "squad" / "word_pieces.json").read_text())
    for case in recorded["cases"]:
        tokenizer = WordPieceTokenizer("\n".join(recorded["vocab"]).encode(), case["lower"])
        start = case["context"].index(case["answer"])
        answers = [{"text": case["answer"], "answer_start": start}]
        document = squad_document(context=case["context"], question=case["question"], answers=answers)
        paragraphs, (record,) = _features(write_squad(tmp_path, document), tokenizer)
        query = case["question_ids"]
        cls, sep = tokenizer.cls_id, tokenizer.sep_id
        assert record["input_ids"] == [cls, *query, sep, *case["ids"], sep]
        assert record["tok_start_to_orig_index"] == [first for first, _ in case["offsets"]]
        assert record["tok_end_to_orig_index"] == [stop - 1 for _, stop in case["offsets"]]
        end = start + len(case["answer"])
        inside = [token for token, (first, stop) in enumerate(case["offsets"]) if stop > start and first < end]
        assert record["start_positions"] == [inside[0] + len(query) + 2]
        assert record["end_positions"] == [inside[-1] + len(query) + 2]
        _check_answer(record, paragraphs[0].questions[0], case["context"])


@pytest.mark.parametrize("name", ["korean", "layout_whitespace"])
def test_inputs_that_were_dropped_have_windows(testdata, tokenizer, name):
    path = testdata / "cases" / "squad" / f"{name}.json"
    task = SquadTask(version="1.1", train_file=path.name, predict_file=path.name)
    for split in ("train", "dev"):
        paragraphs = list(task.read(split, path.parent))
        settings = _settings(path.parent, 128)
        records = [record for p in paragraphs for record in task.featurize(p, tokenizer, settings)]
        assert questions_without_windows(paragraphs, records) == []
        if split == "train":
            questions = [(question, p.context) for p in paragraphs for question in p.questions]
            for record in records:
                _check_answer(record, *questions[record["question_index"][0]])


def test_split_without_any_window_is_refused(tmp_path, tokenizer):
    document = squad_document(context="\u0301\u0302", answers=[])
    paragraphs, records = _features(write_squad(tmp_path, document), tokenizer, "dev")
    with pytest.raises(UserError, match=r"squad\.json: of its 1 question none has features"):
        _task().check_records(tmp_path / "squad.json", paragraphs, records)


def test_questions_to_predict_that_are_trained_on_are_reported(tmp_path, caplog):
    write_squad(tmp_path, squad_document())
    list(_task().read("train", tmp_path))
    assert not caplog.messages
    list(_task().read("dev", tmp_path))
    assert caplog.messages == [
        f"{tmp_path}/squad.json is also the training file: its scores do not tell how other questions fare."
    ]


def test_answers_without_spaces_are_reported(tmp_path, tokenizer, caplog):
    document = squad_document(context="他住在上海市。", answers=[{"text": "上海市", "answer_start": 3}])
    write_squad(tmp_path, document)
    for language, warnings in (("en", 1), ("zh", 0)):
        caplog.clear()
        task = SquadTask(version="1.1", predict_file="squad.json", score_language=language)
        paragraphs = list(task.read("dev", tmp_path))
        records = [r for p in paragraphs for r in task.featurize(p, tokenizer, _settings(tmp_path))]
        task.check_records(tmp_path / "squad.json", paragraphs, records)
        found = [message for message in caplog.messages if "without spaces" in message]
        assert len(found) == warnings
        assert all("1 of 1 answer " in message and "`score_language`=zh" in message for message in found)
    with pytest.raises(UserError, match="`score_language`=xx is unknown; known are en, ar"):
        _features(tmp_path, tokenizer, "dev", score_language="xx")


# --- Several questions, and what is refused --------------------------------------------------------------------------


def test_first_of_several_answers_is_trained_on(tmp_path, tokenizer):
    cat, dog = {"text": "cat", "answer_start": 2}, {"text": "dog", "answer_start": 13}
    several = _features(write_squad(tmp_path, squad_document(answers=[cat, dog])), tokenizer)[1]
    assert several == _features(write_squad(tmp_path, squad_document(answers=[cat])), tokenizer)[1]
    assert several != _features(write_squad(tmp_path, squad_document(answers=[dog])), tokenizer)[1]


def test_questions_are_numbered_through_all_paragraphs(tmp_path, tokenizer):
    document = squad_document()
    (paragraph,) = document["data"][0]["paragraphs"]
    (question,) = paragraph["qas"]
    misplaced = [{"text": "dog", "answer_start": 14}]

    def paragraph_with(*ids):
        answers = {"bad": misplaced}
        qas = [{**question, "id": id_, "answers": answers.get(id_, question["answers"])} for id_ in ids]
        return {**paragraph, "qas": qas}

    document["data"][0]["paragraphs"] = [paragraph_with("a", "bad", "b"), paragraph_with(), paragraph_with("c", "d")]
    paragraphs, records = _features(write_squad(tmp_path, document), tokenizer)
    assert [paragraph.first_question for paragraph in paragraphs] == [0, 2, 2]
    assert [record["question_index"] for record in records] == [[0], [1], [2], [3]]
    assert [question.id for question in all_questions(paragraphs)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("given", "known", "texts", "said"),
    [
        (None, None, ["", "cat"], "`null_score_diff_threshold`=0: no gold answers are there to tune it."),
        (None, 2.5, ["dog", "cat"], "`null_score_diff_threshold`=2.5, which was tuned for the model."),
        (-3.0, 2.5, ["", ""], ""),
    ],
)
def test_where_no_answers_are_known_the_threshold_is_the_models(given, known, texts, said, caplog):
    caplog.set_level("INFO")
    task = SquadTask(version="2.0", null_score_diff_threshold=given, known_threshold=known)
    asked = tuple(Question(id_, "who?", (), False) for id_ in "ab")
    items = [Paragraph("dog cat", asked, "", 0, False)]
    shown = {"token_is_max_context": [-1, 1, 1], "tok_start_to_orig_index": [0, 4], "tok_end_to_orig_index": [2, 6]}
    records = [{name: np.array(row) for name, row in {**shown, "question_index": [i]}.items()} for i in range(2)]
    places, zeros = np.array([[1], [2]]), np.zeros((2, 1), np.float32)
    output = {"start_top_index": places, "end_top_index": places, "cls_logits": np.array([1.0, -1.0], np.float32)}
    output |= {"start_top_log_probs": zeros, "end_top_log_probs": zeros}
    assert task.score(items, output, records) == {}
    caplog.clear()
    answers = json.loads(task.result_files(items, output, records)["predictions.json"])
    assert answers == dict(zip("ab", texts, strict=True))
    assert [line for line in caplog.messages if "threshold" in line] == [said] * bool(said)


def test_missing_file_is_named_with_its_flag(tmp_path):
    with pytest.raises(UserError, match=r"`train_file`=.*squad\.json cannot be read \(No such file"):
        _task().read("train", tmp_path)
    with pytest.raises(UserError, match=r"`predict_file`=.* cannot be read \(it is not a regular file but a folder"):
        SquadTask(version="1.1", predict_file=".").read("dev", tmp_path)
    with pytest.raises(UserError, match="`train_file` is missing"):
        SquadTask(version="1.1", predict_file="squad.json").read("train", tmp_path)


def test_length_without_room_for_the_context_is_refused(tmp_path, tokenizer):
    folder = write_squad(tmp_path, squad_document())
    assert _features(folder, tokenizer, max_seq_length=12, max_query_length=8)[1]
    with pytest.raises(UserError, match=r"`max_seq_length`=11 leaves no room .*`max_query_length`=8 .*at least 12"):
        _features(folder, tokenizer, max_seq_length=11, max_query_length=8)


def test_all_impossible_options_are_named_together(tmp_path):
    settings = DataSettings("squad", tmp_path, tmp_path, 3)
    found = _task(doc_stride=0, max_query_length=0).problems(settings)
    flags = ["`doc_stride`=0", "`max_query_length`=0", "`max_seq_length`=3"]
    assert [phrase.split()[0] for phrase in found] == flags
    assert _task().problems(_settings(tmp_path)) == []


# --- The real files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "version", "questions", "impossible"),
    [("train", "2.0", 6078, 3168), ("dev", "2.0", 2824, 1428), ("train", "1.1", 2910, 0), ("dev", "1.1", 1396, 0)],
)
def test_real_file_gives_every_question(shared_data, tokenizers, caplog, split, version, questions, impossible):
    # Counts as published with the data. No offset is wrong and everything can be aligned.
    names = {"train_file": f"train-v{version}.json", "predict_file": f"dev-v{version}.json"}
    task = SquadTask(version=version, **names)
    paragraphs = list(task.read(split, shared_data / "squad"))
    assert len(all_questions(paragraphs)) == questions
    assert sum(question.is_impossible for question in all_questions(paragraphs)) == impossible
    assert all(question.has_gold for question in all_questions(paragraphs))
    paragraphs = paragraphs[::10]
    settings = _settings(shared_data, 384)
    for paragraph in paragraphs:
        records = task.featurize(paragraph, tokenizers[""], settings)
        for record in records:
            question = paragraph.questions[record["question_index"][0] - paragraph.first_question]
            if split == "train" and not record["is_impossible"][0]:
                _check_answer(record, question, paragraph.context)
    assert not caplog.messages


def _check_answer(record, question, context):
    """The marked tokens show the answer, and beside it no more than what shares a token with it."""
    offset = record["token_is_max_context"].index(next(v for v in record["token_is_max_context"] if v >= 0))
    start = record["tok_start_to_orig_index"][record["start_positions"][0] - offset]
    end = record["tok_end_to_orig_index"][record["end_positions"][0] - offset]
    ((text, answer_start),) = question.answers
    assert text in context[start : end + 1]
    assert start <= answer_start
    assert answer_start + len(text) <= end + 1
    # The end of the first token and the beginning of the last lie in the answer.
    assert record["tok_end_to_orig_index"][record["start_positions"][0] - offset] >= answer_start
    assert record["tok_start_to_orig_index"][record["end_positions"][0] - offset] < answer_start + len(text)
