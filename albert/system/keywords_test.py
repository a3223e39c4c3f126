"""What a function says of a keyword that it does not have. Needs no TensorFlow."""

import inspect

import pytest

from albert.errors import UserError
from albert.system.keywords import answering_keywords


@answering_keywords
def predict(texts: str, top_k: int = 1) -> tuple[str, int]:
    """Predicts."""
    return texts, top_k


class Model:
    """A model that is called."""

    @answering_keywords
    def __call__(self, texts: str, threshold: float = 0.5) -> tuple[str, float]:
        return texts, threshold


def test_a_right_call_is_the_functions_own():
    assert predict("a", top_k=2) == ("a", 2)
    assert Model()("a", threshold=1) == ("a", 1)
    assert list(inspect.signature(predict).parameters) == ["texts", "top_k"]
    assert predict.__doc__ == "Predicts."
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'texts'"):
        predict()


@pytest.mark.parametrize(
    ("keyword", "said"),
    [
        ("topk", "unknown keyword topk: did you mean top_k? The keywords of predict are texts, top_k."),
        ("return_all_scores", "unknown keyword return_all_scores: did you mean top_k? The keywords of predict are"),
        ("padding", "unknown keyword padding; the keywords of predict are texts, top_k."),
        ("self", "unknown keyword self; the keywords of predict are texts, top_k."),
    ],
)
def test_an_unknown_keyword_is_answered_with_the_right_one(keyword, said):
    with pytest.raises(UserError) as caught:
        predict("a", **{keyword: 2})
    assert str(caught.value).startswith(said)


def test_a_method_is_not_called_by_its_inner_name():
    with pytest.raises(UserError, match=r"^unknown keyword min_score: did you mean threshold\? The keywords are texts"):
        Model()("a", min_score=1)
