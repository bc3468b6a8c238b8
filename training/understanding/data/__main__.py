"""`python -m training.understanding.data --row think --n 1000 --out DIR`: build a row of section 2.1.

Without `--teacher` the world itself answers, exactly. With it a model at an OpenAI-compatible endpoint does,
and what it writes is kept only where it agrees with the world; the key is read from OPENAI_API_KEY.
"""

import argparse
import json
import os
import sys
from contextlib import closing
from pathlib import Path

from training.understanding.data.balance import table
from training.understanding.data.build import build
from training.understanding.data.endpoint import EndpointConfig, EndpointTeacher
from training.understanding.data.filters import tally
from training.understanding.data.mixes import SPLITS
from training.understanding.data.record import ROWS
from training.understanding.data.storing import write_records
from training.understanding.data.teacher import Teacher, WorldTeacher
from wanimage.errors import WanError

REPORT = "report.json"


def main(words: list[str] | None = None) -> None:
    """Parse, build, write shards and a report; errors end with status 1 and their way out."""
    given = _parser().parse_args(words)
    if given.teacher and not given.model:
        sys.exit("error: --teacher needs --model, the name by which the server knows it")
    try:
        with closing(_teacher(given)) as teacher:
            built = build(
                given.row, given.n, teacher, seed=given.seed, split=given.split,
                threads=given.threads if given.teacher else 1, render=not given.no_render,
            )  # fmt: skip
    except WanError as error:
        sys.exit(f"error: {error}")
    about = {"row": built.row, "teacher": built.teacher, "candidates": len(built.refused)}
    counts = {"written": len(built.records), "filters": tally(built.refused), "balance": table(built.records)}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / REPORT).write_text(json.dumps(about | counts, indent=1) + "\n")
    print(json.dumps(about | counts, indent=1))
    if not built.records:
        sys.exit("error: no record was kept; see the counts above")
    print(write_records(given.out, built.records, seed=given.seed, split=given.split, about=about))


def _teacher(given: argparse.Namespace) -> Teacher:
    if not given.teacher:
        return WorldTeacher()
    config = EndpointConfig(
        url=given.teacher, model=given.model, key=os.environ.get("OPENAI_API_KEY") or "none",
        seconds=given.seconds, cache=given.cache or given.out / "answers",
    )  # fmt: skip
    return EndpointTeacher(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.understanding.data", description=__doc__)
    parser.add_argument("--row", required=True, choices=ROWS)
    parser.add_argument("--n", type=int, required=True, help="candidates (of the query set: records)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards and the report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="train", choices=SPLITS)
    parser.add_argument("--no-render", action="store_true", help="do not draw and verify what is asked about")
    parser.add_argument("--teacher", help="URL of an OpenAI-compatible endpoint, with /v1 (the world)")
    parser.add_argument("--model", help="name of the teacher's model")
    parser.add_argument("--seconds", type=float, default=120.0, help="for one answer of the teacher")
    parser.add_argument("--threads", type=int, default=8, help="questions to the teacher at a time")
    parser.add_argument("--cache", type=Path, help="folder of the teacher's answers (OUT/answers)")
    return parser


if __name__ == "__main__":
    main()
