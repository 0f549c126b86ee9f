"""A model bundle: a folder with ``manifest.json`` and ONNX graphs, checked before it is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.errors import BundleError

FORMAT = 1
MANIFEST = "manifest.json"
GRAPHS = ("encoder", "transformer", "decoder", "classifier", "text_encoder")
REQUIRED_GRAPHS = GRAPHS[:3]
PRECISIONS = ("fp32", "fp16", "int8")
CONDITION_KINDS = ("none", "class", "prompt")
MAX_COUNT = 1 << 20
STARTER = Path(__file__).parent / "models" / "starter"


@dataclass(frozen=True)
class Condition:
    """What a bundle's transformer is conditioned on.

    ``kind``: none, class or prompt.  ``labels``: class names, index = label; a name may list
    synonyms after commas.  ``null_label``: index of "no class", or None.  ``required``: a request
    without a condition is refused.
    """

    kind: str
    labels: tuple[str, ...] = ()
    null_label: int | None = None
    required: bool = False


@dataclass(frozen=True)
class Bundle:
    """A loaded manifest whose files were all checked; arrays are read, graphs are not.

    ``codebook`` (K,D) float32, ``code_colours`` (K,3) float32 in [0,1]: each code decoded as a
    constant grid, averaged.  ``grid_min``/``grid_max``: smallest and largest (height, width) in
    tokens.  ``graphs[name][precision]`` is the file of a graph.  ``digest`` identifies the whole.
    ``order``, ``temperature``, ``choice_temperature``: how to decode unless a request says so;
    ``min_p`` in 0 … 1: codes less likely than this share of the likeliest are never drawn.
    ``guidance_kernel``: file of the (K,K) array that the guidance self-learned needs, if any.
    """

    folder: Path
    name: str
    family: str
    stride: int
    codes: int
    grid_min: tuple[int, int]
    grid_max: tuple[int, int]
    condition: Condition
    graphs: Mapping[str, Mapping[str, Path]]
    codebook: NDArray[np.float32]
    code_colours: NDArray[np.float32]
    licence: str
    origin: str
    digest: str
    takes_guidance_tokens: bool = False
    order: str = "confidence"
    temperature: float = 1.0
    choice_temperature: float = 4.5
    min_p: float = 0.0
    rows_independent: bool = False
    guidance_kernel: Path | None = None

    @property
    def mask_id(self) -> int:
        """The id that stands for "not known": K in every family."""
        return self.codes

    def graph(self, name: str, precision: str) -> Path | None:
        """The graph's file in ``precision``, else in fp32, else None."""
        variants = self.graphs.get(name, {})
        return variants.get(precision) or variants.get("fp32")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest as JSON, or :class:`BundleError`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder} is not a model bundle: it holds no {MANIFEST}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(
            f"{folder / MANIFEST} cannot be read ({error}); fetch it again."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise BundleError(
            f"{folder} is a bundle of format {found}, this program reads format {FORMAT}; "
            "export it again or update."
        )
    return manifest


def file_digest(path: Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compare every listed file with its size and SHA-256; raise :class:`BundleError`."""
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise BundleError(f"{folder / MANIFEST} lists no files; export the bundle again.")
    for name, facts in files.items():
        path = folder / name
        if not name or Path(name).name != name or name == MANIFEST:
            raise BundleError(
                f"{folder / MANIFEST} names {name!r}, which is not a plain file name."
            )
        if not path.is_file():
            raise BundleError(f"The bundle {folder} lacks {name}; fetch or export it again.")
        if path.stat().st_size != facts["size"]:
            raise BundleError(
                f"{path} has {path.stat().st_size} bytes instead of {facts['size']}; "
                "it is cut off or changed, fetch it again."
            )
        if file_digest(path) != facts["sha256"]:
            raise BundleError(f"{path} does not match its SHA-256; it was changed, fetch it again.")


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises :class:`BundleError` with one sentence if a file is missing, cut off or changed, or if
    the manifest does not say what it must.
    """
    manifest = read_manifest(folder)
    try:
        check_files(folder, manifest)
        return _from_manifest(folder, manifest)
    except (LookupError, TypeError, ValueError, AttributeError, EOFError, ArithmeticError) as error:
        raise BundleError(
            f"{folder / MANIFEST} is not complete ({error!r}); export the bundle again."
        ) from error
    except OSError as error:
        raise BundleError(
            f"The bundle {folder} cannot be read ({error}); check its files."
        ) from error


def _share(value: Any) -> float:
    share = float(value)
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"min_p is {value}, not within 0 … 1")
    return share


def _optional_file(folder: Path, manifest: Mapping[str, Any], key: str) -> Path | None:
    if manifest.get(key) is None:
        return None
    if manifest[key] not in manifest["files"]:
        raise ValueError(f"{key} is not among the files")
    return folder / str(manifest[key])


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_COUNT:
        raise ValueError(f"{value!r} is not a whole number from 1 to {MAX_COUNT}")
    return value


def _from_manifest(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    condition = manifest["condition"]
    if condition["kind"] not in CONDITION_KINDS:
        raise ValueError(f"condition kind {condition['kind']!r}")
    listed = manifest["files"]
    graphs: dict[str, dict[str, Path]] = {}
    for name, variants in manifest["graphs"].items():
        if name not in GRAPHS or any(v["file"] not in listed for v in variants.values()):
            raise ValueError(f"graph {name!r}")
        graphs[name] = {precision: folder / v["file"] for precision, v in variants.items()}
    for name in REQUIRED_GRAPHS:
        if not graphs.get(name):
            raise ValueError(f"no {name} graph")
    codes, stride = _count(manifest["codebook_size"]), _count(manifest["stride"])
    if manifest["mask_id"] != codes:
        raise ValueError("mask_id is not codebook_size")
    arrays = {}
    for name in ("codebook", "code_colours"):
        file = manifest[name]
        if file not in listed:
            raise ValueError(f"{name} is not among the files")
        with (folder / file).open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        arrays[name] = array.astype(np.float32)
        if arrays[name].ndim != 2 or len(arrays[name]) != codes:
            raise ValueError(f"{file} has shape {arrays[name].shape}")
    if arrays["code_colours"].shape[1] != 3:
        raise ValueError("code_colours are not RGB")
    low, high = ([_count(n) for n in manifest["grid"][end]] for end in ("min", "max"))
    if not len(low) == len(high) == 2 or low[0] > high[0] or low[1] > high[1]:
        raise ValueError(f"grid from {low} to {high}")
    labels, null = tuple(condition.get("labels", ())), condition.get("null_label")
    if not all(isinstance(label, str) for label in labels) or not isinstance(null, int | None):
        raise ValueError("the labels are not texts, or the null label is no number")
    if condition["kind"] == "class" and not labels:
        raise ValueError("a condition without labels")
    return Bundle(
        folder=folder,
        name=str(manifest["name"]),
        family=str(manifest["family"]),
        stride=stride,
        codes=codes,
        grid_min=(low[0], low[1]),
        grid_max=(high[0], high[1]),
        condition=Condition(
            kind=condition["kind"],
            labels=labels,
            null_label=null,
            required=bool(condition.get("required", False)),
        ),
        graphs=graphs,
        codebook=arrays["codebook"],
        code_colours=arrays["code_colours"],
        licence=str(manifest["licence"]),
        origin=str(manifest["origin"]),
        digest=hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(),
        takes_guidance_tokens=bool(manifest.get("takes_guidance_tokens", False)),
        order=str(manifest.get("order", "confidence")),
        temperature=float(manifest.get("temperature", 1.0)),
        choice_temperature=float(manifest.get("choice_temperature", 4.5)),
        min_p=_share(manifest.get("min_p", 0.0)),
        rows_independent=bool(manifest.get("rows_independent", False)),
        guidance_kernel=_optional_file(folder, manifest, "guidance_kernel"),
    )
