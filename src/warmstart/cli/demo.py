"""`warmstart demo`: the main job, watched."""

import click


@click.command("demo", epilog="Example: warmstart demo --engine torch")
@click.option(
    "--engine",
    type=click.Choice(["torch", "tf", "keras", "jax"]),
    default="torch",
    show_default=True,
)
@click.option(
    "--folder", default="warmstart-demo", show_default=True, metavar="DIR",
    help="Where the files stay for you to explore.",
)  # fmt: skip
def command(engine: str, folder: str) -> int:
    """Train, start from, freeze, kill and resume a model on real handwritten digits."""
    from ..demo import run

    return 0 if run(engine=engine, folder=folder) else 1
