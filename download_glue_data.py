#!/usr/bin/env python3
"""Fetches GLUE, SQuAD and RACE: python3 download_glue_data.py [--data_dir=glue_data] [--tasks=CoLA,MRPC,SQuAD,RACE].

Needs Python 3.11 with requests and tqdm; without them it sets up .venv and goes on there. --help lists the flags.
"""

import sys

from albert.downloads.start import run

if __name__ == "__main__":
    run("datasets", sys.argv[1:])
