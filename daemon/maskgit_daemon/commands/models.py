"""``maskgit models``: which bundles there are, fetching published ones, examining one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import platformdirs
from tqdm import tqdm

from maskgit_daemon.bundle import MANIFEST, STARTER, file_digest, load_bundle, read_manifest
from maskgit_daemon.catalogue import CATALOGUE, Published
from maskgit_daemon.errors import BundleError, MaskgitError
from maskgit_daemon.folders import models_folder


@click.group()
def models() -> None:
    """List, fetch and check model bundles."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_models(as_json: bool) -> None:
    """Show the bundles on this machine and those that can be fetched."""
    here = installed()
    known = [
        {
            "name": m.name,
            "title": m.title,
            "licence": m.licence,
            "origin": m.origin,
            "mb": m.megabytes,
        }
        for m in CATALOGUE.values()
        if m.name not in {entry["name"] for entry in here}
    ]
    if as_json:
        click.echo(json.dumps({"installed": here, "available": known}, indent=1))
        return
    click.echo("On this machine:")
    for entry in here:
        click.echo(f"  {entry['name']:<14} {entry['folder']}")
    click.echo("To be fetched with maskgit models pull NAME:")
    for model in CATALOGUE.values():
        if model.name in {entry["name"] for entry in known}:
            click.echo(f"  {model.name:<14} {model.title}; about {model.megabytes} MB")


@models.command()
@click.argument("bundle")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(bundle: str, as_json: bool) -> None:
    """Check the hashes of BUNDLE (a name or folder) and run each of its graphs once."""
    from maskgit_daemon.smoke import smoke_test

    folder = find_folder(bundle)
    facts = smoke_test(load_bundle(folder))
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **facts}, indent=1))
        return
    click.echo(f"{folder} is whole and works.")
    for name, text in facts.items():
        click.echo(f"  {name:<12} {text}")


@models.command()
@click.argument("name", type=click.Choice(list(CATALOGUE)), metavar="NAME")
@click.option(
    "--from",
    "given",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="A file (or folder) that is already there; may be given several times.",
)
@click.option("--keep", is_flag=True, help="Keep the downloaded checkpoints after converting.")
@click.option("--overwrite", is_flag=True, help="Replace the bundle if it is there.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    default=("fp32", "int8"),
    show_default=True,
    help="May be given several times.",
)
def pull(
    name: str, given: tuple[Path, ...], keep: bool, overwrite: bool, precisions: tuple[str, ...]
) -> None:
    """Download the published model NAME from its authors and convert it into a bundle."""
    target = pull_model(
        CATALOGUE[name],
        models_folder(),
        given,
        keep=keep,
        overwrite=overwrite,
        precisions=precisions,
    )
    click.echo(target)


def pull_model(
    model: Published,
    into: Path,
    given: Sequence[Path] = (),
    *,
    keep: bool = False,
    overwrite: bool = False,
    precisions: Sequence[str] = ("fp32", "int8"),
) -> Path:
    """Fetch what is not ``given``, convert it and return the bundle's folder.

    The manifest keeps licence and origin, and address, size and SHA-256 of each downloaded file.
    Raises :class:`MaskgitError`.
    """
    target = into / model.name
    if (target / MANIFEST).exists() and not overwrite:
        raise MaskgitError(
            f"{model.name} is already at {target}; add --overwrite to fetch it again."
        )
    # Before gigabytes are fetched: what converts them must be there.
    from maskgit_export.bundle_writer import write_bundle
    from maskgit_export.families.registry import FAMILIES

    click.echo(f"{model.title}\n  licence: {model.licence}\n  origin:  {model.origin}", err=True)
    store = cache_folder() / model.name
    paths = match_given(model, given)
    fetched = fetch_missing(model, paths, store)
    if model.folder is not None:
        paths = {model.folder: paths.get(model.folder, store)}
    source = FAMILIES[model.family].read(model.name, paths, model.numbers)
    facts = {"downloads": fetched} if fetched else {}
    click.echo("Converting …", err=True)
    write_bundle(
        source,
        target,
        precisions=precisions,
        overwrite=overwrite,
        extra={"licence": model.licence, "origin": model.origin, **facts},
    )
    if not keep:
        shutil.rmtree(store, ignore_errors=True)
    return target


def match_given(model: Published, given: Sequence[Path]) -> dict[str, Path]:
    """The given files by option name: by the published file names, else in their order."""
    if not given:
        return {}
    if model.folder is not None:
        if len(given) != 1 or not given[0].is_dir():
            raise MaskgitError(f"{model.name} is a folder of files; give that folder with --from.")
        return {model.folder: given[0]}
    published = {url.rsplit("/", 1)[1]: key for key, url in model.files.items()}
    named = {published[path.name]: path for path in given if path.name in published}
    if len(named) == len(given):
        return named
    if len(given) != len(model.files):
        raise MaskgitError(
            f"{model.name} is made from {' and '.join(published)}; give these files with --from, "
            "or all of them in this order."
        )
    return dict(zip(model.files, given, strict=True))


def fetch_missing(
    model: Published, paths: dict[str, Path], store: Path
) -> dict[str, dict[str, Any]]:
    """Download what ``paths`` lacks into ``store`` and add it there; facts by file name."""
    if model.folder is not None and model.folder in paths:
        return {}
    from maskgit_daemon.downloads import Fetched, fetch

    facts: dict[str, dict[str, Any]] = {}
    for key, url in model.files.items():
        if key in paths:
            continue
        path = store / (key if model.folder is not None else url.rsplit("/", 1)[1])
        if path.exists():
            found = Fetched(url, path.stat().st_size, file_digest(path))
        else:
            with tqdm(desc=path.name, unit="B", unit_scale=True, file=sys.stderr) as bar:

                def show(done: int, total: int | None, bar: Any = bar) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                found = fetch(url, path, progress=show)
        facts[key] = {"url": found.url, "size": found.size, "sha256": found.sha256}
        paths[key] = path
    return facts


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where downloads lie until they are converted."""
    home = environ.get("MASKGIT_HOME")
    base = Path(home, "cache") if home else Path(platformdirs.user_cache_dir("maskgit", False))
    return base / "downloads"


def find_folder(bundle: str) -> Path:
    """The folder of a bundle given by name or path; raises :class:`BundleError`."""
    if bundle == "starter":
        return STARTER
    for folder in (models_folder() / bundle, Path(bundle)):
        if (folder / MANIFEST).is_file():
            return folder
    raise BundleError(f"There is no bundle {bundle}; maskgit models list shows those there are.")


def installed() -> list[dict[str, str]]:
    """Name, folder, licence and origin of every bundle on this machine, the starter first."""
    folders = [STARTER, *sorted(models_folder().glob("*"))]
    found = []
    for folder in folders:
        if not (folder / MANIFEST).is_file():
            continue
        try:
            manifest = read_manifest(folder)
        except BundleError:
            continue
        found.append(
            {
                "name": str(manifest.get("name", folder.name)),
                "folder": str(folder),
                "licence": str(manifest.get("licence", "")),
                "origin": str(manifest.get("origin", "")),
            }
        )
    return found
