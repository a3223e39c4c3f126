"""Fetching data sets and pretrained models: whole, checked, and resumed where a transfer broke.

Needs requests and tqdm, and no TensorFlow. `start` begins, `datasets` and `models` say what there is, `jobs` fetches it
in parallel, `transfer` gets one file by the `answers` of a server, `archives` and `mrpc` make of it what is wanted,
`placement` puts that in place. `addresses` says what of an address may be shown.
"""
