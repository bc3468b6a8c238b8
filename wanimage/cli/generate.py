"""`wan generate`: one turn, its pictures on disk, for people and (`--json`) for scripts."""

from pathlib import Path
from typing import Annotated

import typer

from wanimage import limits
from wanimage.cli import inline, options, report, stackfile
from wanimage.cli.client import PlannerClient
from wanimage.cli.options import read_picture, turn_options
from wanimage.cli.running import check, check_refined, run_turn
from wanimage.cli.view import Silent, TurnView, View
from wanimage.v1 import types_pb2


@report.command
async def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What you want to see, in your own words.")],
    size: options.SizeFlag = None,
    aspect: options.AspectFlag = None,
    n: options.CountFlag = None,
    palette: options.PaletteFlag = None,
    background: options.BackgroundFlag = None,
    ref: options.RefFlag = None,
    seed: options.SeedFlag = None,
    steps: options.StepsFlag = None,
    guidance: options.GuidanceFlag = None,
    enhance: options.EnhanceFlag = options.Enhance.AUTO,
    refine: options.RefineFlag = None,
    refine_size: options.RefineSizeFlag = None,
    more: options.OptionsFlag = None,
    session: options.SessionFlag = None,
    out: options.OutFlag = Path("out"),
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    show: Annotated[inline.Show, typer.Option(help="Pictures in the terminal.")] = inline.Show.AUTO,
    address: options.AddressFlag = None,
    api_key: options.KeyFlag = None,
    timeout: options.TimeoutFlag = options.TIMEOUT,
    data_dir: options.DataDirFlag = None,
) -> None:
    """Run one turn and save its pictures.

    Exit status: 0 done, 1 failed, 2 the input was wrong.
    """
    limits.check_prompt(prompt, "PROMPT")
    turn = turn_options(
        size=size, aspect=aspect, count=n, palette=palette, background=background,
        seed=seed, steps=steps, guidance=guidance, enhance=enhance,
        refine=refine, refine_size=refine_size, options=more,
    )  # fmt: skip
    pictures = read_pictures(ref or [])
    view: View = Silent() if json else TurnView(report.out(), show)
    turn.previews = turn.previews or not json
    try:
        async with PlannerClient(stackfile.find("planner", address, data_dir), api_key, timeout) as client:
            result = await run_turn(
                client, view, out, prompt, session=session or "", images=pictures, options=turn
            )  # fmt: skip
    finally:
        view.close()
    check(result)
    if json:
        report.print_json(result.record())
    else:
        usage = result.usage
        made = f"{report.counted(usage.images, 'picture')}, {usage.generated_tokens} tokens"
        report.out().print(f"[dim]session {result.session}: {made}, {usage.seconds:.1f} s[/dim]")
    check_refined(result)


def read_pictures(paths: list[Path]) -> list[types_pb2.ImageInput]:
    """The `--ref` files, checked."""
    pictures = [read_picture(path) for path in paths]
    limits.check_images(pictures, "--ref")
    return pictures
