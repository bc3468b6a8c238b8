"""`wan`: joins the commands. Each lives in a file of its own."""

from importlib.metadata import version
from typing import Annotated

import typer

from wanimage.cli import (
    chat,
    demo,
    dlq,
    doctor,
    enhance,
    generate,
    keeping,
    keys,
    refine,
    sessions,
    top,
    training,
    up,
    vae,
)  # fmt: skip

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_show_locals=False,
    help="Talk, and get pictures: planner, enhancer, visualizer, VAE and refiner, on this machine.",
)  # fmt: skip

app.command()(demo.demo)
app.command()(chat.chat)
app.command()(generate.generate)
app.command()(enhance.enhance)
app.command()(refine.refine)
app.add_typer(sessions.app, name="sessions")
app.command()(keeping.gc)
app.command()(up.up)
app.command()(up.down)
app.command()(top.top)
app.command()(doctor.doctor)
app.add_typer(keys.app, name="keys")
app.add_typer(vae.app, name="vae")
app.add_typer(dlq.app, name="dlq")
app.add_typer(training.data, name="data")
app.add_typer(training.train, name="train")
app.command("eval")(training.evaluate)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("wanimage"))
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Talk, and get pictures."""
