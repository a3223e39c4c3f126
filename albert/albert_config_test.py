"""Configuration files that are not as they should be; what a good one means is `modeling_test`'s matter."""

import json

import pytest

from albert.albert_config import AlbertConfig
from albert.errors import UserError

GOOD = {"vocab_size": 30, "hidden_size": 32, "num_attention_heads": 4}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[" * 100_000, "too deep"),
        (b"9" * 5000, "too long"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "holds a list"),
        (b'{"vocab_size": 30, "vocab_size": 31}', "'vocab_size' appears twice"),
        (b'{"vocab_size": 30, "initializer_range": NaN}', "initializer_range is nan"),
        (b'{"vocab_size": 30, "initializer_range": Infinity}', "initializer_range is inf"),
        (b'{"vocab_size": 30, "down_scale_factor": -1e999}', "down_scale_factor is -inf"),
        (b'{"vocab_size": 1000000000000000000000000000000}', "vocab_size is 10{30}, but must be a number below"),
        (
            b'{"vocab_size": 30, "layers_to_keep": [1, true]}',
            r"layers_to_keep is \[1, True\], but must be a list of int",
        ),
        (json.dumps({**GOOD, "hidden_act": "x" * 99_999}).encode(), r"hidden_act 'x+\.\.\.x+' is none of"),
        (json.dumps({**GOOD, "gap_size": [0] * 99_999}).encode(), r"gap_size is \[0, .*\.\.\.\], but must"),
        (json.dumps({**GOOD, "x" * 99_999: 1}).encode(), r"unknown key x+\.\.\.x+"),
    ],
)
def test_a_bad_file_is_named_in_one_short_line(tmp_path, content, fault):
    path = tmp_path / "albert_config.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=fault) as error:
        AlbertConfig.from_json_file(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "albert_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert AlbertConfig.from_json_file(path) == AlbertConfig.from_dict(GOOD)
