"""What transformers makes of exported folders. A program for another environment, with transformers in it.

python testing.py outputs FOLDER     rows.npz of each model in FOLDER -> transformers.npz beside it
python testing.py ids MODEL FILE     for each text of the JSON list FILE its ids, as JSON to standard output
python testing.py labels MODEL FILE  for each text, or pair of texts, what the pipeline gives, the same way
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def outputs_of(folder: Path) -> dict[str, np.ndarray]:
    """The outputs of the model in `folder` for rows.npz there, under the names of `albert.serving.export.reference`."""
    import torch
    import transformers

    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    kind = getattr(transformers, name)
    model, report = kind.from_pretrained(folder, output_loading_info=True)
    # A pooler that a pretrained model has all the same is passed over; nothing may be made up.
    assert not report["missing_keys"], f"{folder}: {report['missing_keys']}"
    assert all("pooler" in key for key in report["unexpected_keys"]), f"{folder}: {report['unexpected_keys']}"
    model.eval()
    rows = {key: torch.tensor(value.astype(np.int64)) for key, value in np.load(folder / "rows.npz").items()}
    group = int(rows.pop("options"))
    if name == "AlbertForMultipleChoice":
        rows = {key: value.reshape(-1, group, value.shape[-1]) for key, value in rows.items()}
    with torch.no_grad():
        if name in ("AlbertForPreTraining", "AlbertForMaskedLM"):
            heads = model(**rows)
            found = {**model.albert(**rows), "mlm": heads[0], "sop": getattr(heads, "sop_logits", None)}
        else:
            found = dict(model(**rows).items())
    names = {"last_hidden_state": "sequence_output", "pooler_output": "pooled_output"}
    return {names.get(key, key): value.numpy() for key, value in found.items() if isinstance(value, torch.Tensor)}


def compare(folder: Path, files: list[Path]) -> dict[str, Any]:
    """How many different fields `files` have, and up to 20 of those whose ids differ from this project's."""
    import transformers

    from albert.tokenization import load_tokenizer

    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    ours = load_tokenizer(folder / "spiece.model", None, settings["do_lower_case"], settings["keep_accents"])
    tables = (file.read_text(encoding="utf-8-sig").replace("\n", "\t") for file in files)
    texts = sorted({field for table in tables for field in table.split("\t")})
    ids = theirs(texts, add_special_tokens=False)["input_ids"]
    other = [text for text, found in zip(texts, ids, strict=True) if found != ours.encode(text)]
    return {"texts": len(texts), "different": len(other), "first": other[:20]}


def main(action: str, folder: Path, *files: Path) -> None:
    """Does what the module's first lines say."""
    import transformers

    transformers.logging.set_verbosity_error()
    if action == "outputs":
        for rows in sorted(folder.glob("*/rows.npz")):
            np.savez(rows.with_name("transformers.npz"), **outputs_of(rows.parent))
        return
    if action == "compare":
        print(json.dumps(compare(folder, list(files)), indent=2))
        return
    texts: list[Any] = json.loads(files[0].read_text(encoding="utf-8"))
    if action == "ids":
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        print(json.dumps([tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]))
    else:
        pipeline = transformers.pipeline("text-classification", model=str(folder), device="cpu")
        given = [{"text": text[0], "text_pair": text[1]} if isinstance(text, list) else text for text in texts]
        print(json.dumps(pipeline(given, batch_size=16, truncation=True, top_k=None)))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], *map(Path, sys.argv[2:]))
