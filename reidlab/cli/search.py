"""`reidlab search` and `reidlab compare`: people in your own images, with the shipped model or one of yours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidlab.cli.console import Json, as_json, short, table
from reidlab.errors import UserError, printable

if TYPE_CHECKING:
    from reidlab.search import SearchResult

__all__ = ["compare", "search"]

_SHOWN = 10  # skipped files named one by one

Model = Annotated[
    str, typer.Option("--run", "--model", "-m", help="small, a training run, a saved model's folder, or NAME:FILE.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Contents = Annotated[bool, typer.Option("--check-contents", help="Compare all bytes, not size and times alone.")]


def search(
    query: Annotated[list[str], typer.Option("--query", "-q", help="Image, folder or pattern; can be repeated.")],
    gallery: Annotated[list[str], typer.Option("--gallery", "-g", help="The same: where to search.")],
    model: Model = "small",
    top: Annotated[int, typer.Option(min=1, help="Hits per query.")] = 10,
    index: Annotated[Path | None, typer.Option(help="Folder where the index is kept and brought up to date.")] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Kind of the index (`reidlab indexes` lists them); default: the kept one's, else flat."),
    ] = None,
    rerank: Annotated[str, typer.Option(help="Order hits by a re-ranking; `reidlab rerankings` lists them.")] = "",
    pattern: Annotated[str, typer.Option(help="Regular expression for names, with the groups pid and camid.")] = "",
    prior: Annotated[
        float | None, typer.Option(help="Share of gallery images that show the person; default: one image of all.")
    ] = None,
    keep_self: Annotated[bool, typer.Option("--keep-self", help="List files with the query's own bytes too.")] = False,
    check_contents: Contents = False,
    device: Device = "auto",
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the hits as CSV.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write a page with the pictures.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File for --csv or --html; default of --html: reports/html.")
    ] = None,
) -> None:
    """Search images for the people in other images, on your own crops and without any training."""
    from reidlab.search import search as search_files

    if sum((json, csv, html)) > 1:
        raise UserError("--json, --csv and --html are three forms of one answer: choose one of them.")
    if output is not None and not (csv or html):
        raise UserError("--output is for --csv and --html.")
    try:
        found = search_files(
            query, gallery, model=model, top=top, index=index, kind=kind, rerank=rerank, pattern=pattern, prior=prior,
            keep_self=keep_self, check_contents=check_contents, device=device, progress=sys.stderr.isatty(),
        )  # fmt: skip
    except KeyboardInterrupt:
        print("\nStopped. The images that were embedded are remembered: the same command goes on.", file=sys.stderr)
        raise typer.Exit(130) from None
    if json:
        as_json(_plain(found))
        return
    if csv:
        _write_csv(found, output)
    elif html:
        from reidlab.workbook.search_page import write_page

        print(f"written: {short(write_page(found, output))}")
    else:
        _print(found)
    _tell(found)


def compare(
    first: Annotated[str, typer.Argument(help="An image.")],
    second: Annotated[str, typer.Argument(help="Another image.")],
    model: Model = "small",
    rate: Annotated[float, typer.Option(help="False-accept rate at which to decide.")] = 0.01,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Compare two images: the same person or not, how probable, and at which false-accept rate."""
    from dataclasses import asdict

    from reidlab.search import compare as compare_files

    found = compare_files(first, second, model=model, rate=rate, device=device)
    if json:
        as_json(asdict(found))
        return
    print(found.sentence())
    for note in found.notes:
        print(f"Note: {note}")


def _plain(found: SearchResult) -> dict[str, object]:
    """Return a result as plain data."""
    return {
        "hits": found.hits.to_dict("records"),
        "queries": found.queries,
        "gallery": found.n_gallery,
        "skipped": found.skipped.to_dict("records"),
        "facts": found.facts,
        "notes": list(found.notes),
    }


def _write_csv(found: SearchResult, output: Path | None) -> None:
    hits = found.hits.map(lambda value: printable(value) if isinstance(value, str) else value)
    text = hits.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    if output is None:
        sys.stdout.write(text)
        return
    from reidlab.workbook.files import write_whole

    write_whole(output, text)
    print(f"written: {short(output)}", file=sys.stderr)


def _print(found: SearchResult) -> None:
    """Print a table per query."""
    for query in found.queries:
        hits = found.of(query)
        named = [name for name in ("pid", "camera") if hits[name].any()]
        sure = hits["probability"].notna().any()
        columns = ["rank", "file", *named, "cosine", *(["probability"] if sure else [])]
        rows = [
            [str(hit["rank"]), short(Path(hit["file"])), *(hit[name] for name in named), f"{hit['similarity']:.3f}"]
            + ([f"{hit['probability']:.3f}"] if sure else [])
            for hit in hits.to_dict("records")
        ]
        table(printable(short(Path(query))), columns, rows)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _tell(found: SearchResult) -> None:
    """Say on stderr what was searched, what was left out, and what a reader has to know."""
    facts = found.facts
    lines = [
        f"{_counted(len(found.queries), 'query', 'queries')}, "
        f"{_counted(found.n_gallery, 'gallery image', 'gallery images')}, model {facts['model']}, index "
        f"{facts['index']}; {facts['embedded now']:,} images embedded now in {facts['seconds to embed']:.1f} s, "
        f"searched in {facts['seconds to search']:.2f} s"
    ]
    skipped = found.skipped
    if len(skipped):
        lines.append(f"{_counted(len(skipped), 'file was', 'files were')} skipped:")
        first = skipped.head(_SHOWN).to_dict("records")
        lines += [f"  {short(Path(row['file']))}: {row['reason']}" for row in first]
        if len(skipped) > _SHOWN:
            lines.append(f"  and {len(skipped) - _SHOWN:,} more; --json lists all")
    lines += [f"Note: {note}" for note in found.notes]
    print("\n".join(map(printable, lines)), file=sys.stderr)
