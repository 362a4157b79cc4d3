"""The page of the documentation that shows the matrix, made of what came of its cells."""

from collections.abc import Iterable, Mapping
from typing import Any

from .cells import OPTIMIZERS, WAYS

Results = Mapping[str, list[Mapping[str, Any]]]


def page(text: str, results: Results) -> str:
    """Return the page *text* with what came of the cells between its marks."""
    cells = lines_of(results, "cell")
    ran = [cell for cell in cells if not cell["reason"]]
    counts = f"{len(ran)} of {len(cells)} cells run, and {sum(map(holds, ran))} hold.\n\n"
    text = between(text, "ways", counts + ways_table(cells) + reasons(cells))
    return between(text, "recipes", recipes_table(lines_of(results, "followed")))


def lines_of(results: Results, kind: str) -> list[Mapping[str, Any]]:
    """Return what came of all cells, or of all recipes."""
    return [line[kind] for lines in results.values() for line in lines if kind in line]


def between(text: str, mark: str, content: str) -> str:
    """Return *text* with *content* between the comments `MARK` and `end of MARK`."""
    begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->\n"
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    return f"{before}{begin}{content}{end}{after}"


def holds(cell: Mapping[str, Any]) -> bool:
    """Return whether what was frozen stayed and the rest moved."""
    return not cell["moved"] and not cell["stood"]


def ways_table(cells: list[Mapping[str, Any]]) -> str:
    """Return a row for each engine and optimizer, a column for each way of freezing."""
    rows = []
    for engine in engines(cells):
        for optimizer in OPTIMIZERS:
            mine = [c for c in cells if (c["engine"], c["optimizer"]) == (engine, optimizer)]
            counts = [count([c for c in mine if c["way"] == way]) for way in WAYS]
            rows.append([engine, mine[0]["called"], *counts])
    return table(
        ["engine", "optimizer", *(f"`{way}`" if "(" in way else way for way in WAYS)], rows
    )


def count(cells: list[Mapping[str, Any]]) -> str:
    """Return how many of *cells* hold."""
    ran = [cell for cell in cells if not cell["reason"]]
    return f"{sum(map(holds, ran))} of {len(ran)}" if ran else "n/a"


def reasons(cells: list[Mapping[str, Any]]) -> str:
    """Return why cells are not run, each reason once."""
    found = {f"* n/a, {c['engine']}, {c['way']}: {c['reason']}": None for c in cells if c["reason"]}
    return "\n" + "\n".join(found) + "\n" if found else ""


def recipes_table(followed: list[Mapping[str, Any]]) -> str:
    """Return a row for each engine and recipe, a column for each optimizer."""
    rows = []
    for engine in engines(followed):
        mine = [each for each in followed if each["engine"] == engine]
        for recipe in dict.fromkeys(each["recipe"] for each in mine):
            of_recipe = [each for each in mine if each["recipe"] == recipe]
            rows.append([engine, recipe, *stayed(of_recipe)])
    return table(["engine", "recipe", *OPTIMIZERS, "statistics"], rows)


def stayed(followed: list[Mapping[str, Any]]) -> list[str]:
    """Return for each optimizer whether the weights stayed, and whether the statistics did."""
    weights = [
        all(each["weights_stay"] for each in followed if each["optimizer"] == optimizer)
        for optimizer in OPTIMIZERS
    ]
    statistics = all(each["statistics_stay"] for each in followed)
    return ["still" if stay else "**moved**" for stay in (*weights, statistics)]


def engines(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the engines in *results*, in their order."""
    return list(dict.fromkeys(each["engine"] for each in results))


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
