"""What the log and the metrics say of texts that were not read as they are."""

from types import SimpleNamespace

from albert.serving.http.metrics import Metrics
from albert.serving.http.notices import Notices
from albert.tasks.cuts import CutTexts


def test_the_first_and_each_tenfold_count_is_logged_and_every_one_is_in_the_metrics(caplog):
    cuts = CutTexts("max_seq_length", 128)
    unknown = SimpleNamespace(total=0, count=0, example="'\u732b'")
    metrics = Metrics()
    notices = Notices(SimpleNamespace(unknown=unknown, cuts={"max_seq_length": cuts}), metrics)
    for number in range(1, 121):
        cuts.add([100 + number] if number % 4 == 0 else [None])
        unknown.total += 10
        unknown.count += 1
        notices.look()
    # Texts: 30 of 120 are cut. Pieces: 120 of 1,200 are unknown.
    told = [line for line in caplog.messages if "cut to" in line]
    assert [line.split(":")[1].split(" texts")[0] for line in told] == [" 1 of 4", " 10 of 40"]
    told = [line for line in caplog.messages if "does not know" in line]
    assert [line.split("does not know ")[1].split()[0] for line in told] == ["1", "10", "100"]
    lines = metrics.text().decode().splitlines()
    for expected in (
        "albert_pieces_total 1200.0",
        "albert_unknown_pieces_total 120.0",
        'albert_cut_texts_total{limit="max_seq_length"} 30.0',
    ):
        assert expected in lines


def test_many_at_once_are_one_line(caplog):
    cuts = CutTexts("max_query_length", 8, "question")
    notices = Notices(SimpleNamespace(unknown=SimpleNamespace(total=9, count=0), cuts={"x": cuts}), Metrics())
    cuts.add([20] * 250)
    notices.look()
    cuts.add([20] * 700)
    notices.look()
    assert [line.split(" tokens")[0] for line in caplog.messages] == [
        "The requests so far: 250 of 250 questions cut to max_query_length=8"
    ]
