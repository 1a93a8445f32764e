"""The files of a data set: which formats are read, which files cannot be used, and why a file is left over."""

import contextlib
import functools
import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image, features

from crack_utils.data.crops import Unused
from crack_utils.errors import DataError


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


PHOTO_FORMATS = {"JPEG", "PNG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "JPEG2000", "PPM", "TGA", "PCX", "SGI", "SUN", "QOI", "AVIF"}
FEATURES = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}  # what Pillow must be built with to read a format
PHONE_SUFFIXES = _suffixes("heic heif hif")
RAW_SUFFIXES = _suffixes("dng cr2 cr3 crw nef nrw arw sr2 orf rw2 raf pef srw x3f 3fr iiq raw")
DRAWING_SUFFIXES = _suffixes("svg svgz pdf eps ps ai psd psb xcf cdr wmf emf exr hdr")
FILM_SUFFIXES = _suffixes("mp4 mov avi mkv webm m4v mpg mpeg wmv mts 3gp insv")
PICTURE_SUFFIXES = PHONE_SUFFIXES | RAW_SUFFIXES | DRAWING_SUFFIXES | FILM_SUFFIXES
TEXT_SUFFIXES = _suffixes("txt md rst csv tsv json xml yaml yml html htm log ini cfg toml py ipynb xls xlsx doc docx")
ARCHIVE_SUFFIXES = _suffixes("zip tar gz tgz bz2 xz 7z rar")
SYSTEM_NAMES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx", "@eadir", "$recycle.bin"}
LFS_START = b"version https://git-lfs"
NO_PAIR = "image that belongs to no pair"
ELSEWHERE = "file in a folder that belongs to no split"


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """The lower-case suffixes of the image files that are read: raster formats that this Pillow opens, and HEIC with pillow_heif."""
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in PHOTO_FORMATS and kind in Image.OPEN}
    missing = {kind for kind, feature in FEATURES.items() if not features.check(feature)}
    known = {suffix for suffix in known if Image.EXTENSION[suffix] not in missing}
    return frozenset(known | (PHONE_SUFFIXES if importlib.util.find_spec("pillow_heif") else set()))


def is_image_name(name: str) -> bool:
    """Whether the name is that of a visible image file in a format that is read."""
    return os.path.splitext(name)[1].lower() in readable_suffixes() and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems hide."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name."""
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(entry.name for entry in entries if is_image_name(entry.name) and not entry.is_dir())]


def holds_images(folder: Path) -> bool:
    """Whether there is an image file in a folder or below, hidden folders aside."""
    return bool(images_in(folder)) or any(holds_images(inner) for inner in folders_in(folder))


def folders_in(folder: Path) -> list[Path]:
    """The visible folders directly in a folder, by name. Links that lead back are left aside."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not is_hidden(entry.name) and not _leads_back(entry))
    return [folder / name for name in names]


def _leads_back(entry: os.DirEntry) -> bool:
    return entry.is_symlink() and Path(entry.path).resolve() in (folder := Path(entry.path).parent.resolve(), *folder.parents)


def walk(root: Path) -> list[Path]:
    """All files below a folder, by path. See :func:`names_below`."""
    return sorted(map(Path, names_below(root)))


def names_below(root: Path) -> Iterator[str]:
    """The paths of all files below a folder. Links to folders are followed, unless they lead back.

    Raises:
        DataError: a folder cannot be read, or a name is not text, which no table could hold.
    """
    for folder, folders, names in os.walk(root, onerror=_refuse, followlinks=True):
        above = {os.path.realpath(each) for each in (folder, *Path(folder).parents)}
        links = {name for name in folders if os.path.islink(os.path.join(folder, name))}
        folders[:] = [name for name in folders if name not in links or os.path.realpath(os.path.join(folder, name)) not in above]
        for name in names:
            if name.encode(errors="replace") != name.encode(errors="surrogateescape"):
                raise DataError(f"{folder} holds a file whose name is not text, {name!a}; rename it")
            yield os.path.join(folder, name)


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}; allow reading it, or move it out of data_root") from None


def defect_of(path: Path) -> Unused | None:
    """Why an image or mask file cannot be used, judged without decoding it; None for a sound file."""
    if not path.exists():
        return Unused(path, "broken link", "restore the file that the link names, or remove the link")
    if not path.is_file():
        return Unused(path, "neither a file nor a folder", "remove it")
    if not (size := path.stat().st_size):
        return Unused(path, "file of 0 bytes", "copy the file again, or remove it")
    if size < 1024 and _start(path).startswith(LFS_START):
        return Unused(path, "Git LFS pointer in place of the file", "run git lfs pull in the folder of the data set")
    return None


def _start(path: Path) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(LFS_START))
    return b""


def left_over(root: Path, files: Iterable[Path], used: set[Path], unused: Iterable[Unused], read: set[Path]) -> list[Unused]:
    """A reason for every file that is neither used nor has a reason yet.

    Args:
        root: the folder of the data set.
        files: all files below ``root``.
        used: files that are read.
        unused: files that have a reason already.
        read: folders whose files belong to the data set.
    """
    known = used | {each.path for each in unused}
    stems = {path.with_suffix("") for path in used}

    def belongs(path: Path) -> bool:
        return path.parent in read or any(folder in read for folder in path.parents if folder != root and root in folder.parents)

    return [_reason(path, root, belongs(path), path.with_suffix("") in stems) for path in files if path not in known]


def _reason(path: Path, root: Path, belongs: bool, has_twin: bool) -> Unused:
    """Why a file is left over."""
    suffix = path.suffix.lower()
    if any(is_hidden(name) for name in path.relative_to(root).parts):
        return Unused(path, "hidden file")
    if suffix in TEXT_SUFFIXES or path.stem.lower() in ("readme", "license"):
        return Unused(path, "text or table")
    if suffix in ARCHIVE_SUFFIXES:
        return Unused(path, "archive")
    if not belongs:
        return Unused(path, ELSEWHERE)
    if suffix in readable_suffixes() or not path.exists():
        return defect_of(path) or Unused(path, NO_PAIR)
    if has_twin:
        return Unused(path, "the same photo or mask in a format that is not read")
    return _unread(path, suffix)


def _unread(path: Path, suffix: str) -> Unused:
    """The reason and the fix for a file of a format that is not read."""
    convert = "convert it to JPEG or PNG, or move it out of data_root"
    if suffix in PHONE_SUFFIXES:
        return Unused(path, f"photo in a format that is not read, {suffix}", "pip install 'crack-utils[heic]', or " + convert)
    if suffix in RAW_SUFFIXES:
        return Unused(path, f"raw photo, {suffix}", "develop it to JPEG or PNG with the camera's program, or move it out of data_root")
    if suffix in FILM_SUFFIXES:
        fix = "save single pictures of the film as JPEG or PNG, for example with ffmpeg, or move it out of data_root"
        return Unused(path, f"film, {suffix}", fix)
    if suffix in DRAWING_SUFFIXES or suffix in Image.registered_extensions() or suffix == ".jxl":
        return Unused(path, f"picture in a format that is not read, {suffix}", convert)
    with contextlib.suppress(Exception), Image.open(path) as image:  # any file may have any name
        return Unused(path, f"{image.format} image whose name does not end so", f"let its name end in .{image.format.lower()}")
    return Unused(path, f"file of a kind that is not read, {suffix}" if suffix else "file without an ending")


def contents(folder: Path) -> str:
    """What lies in a folder and below, in words, for an error message; and what to do about pictures of other formats."""
    folders = [f"{each.name}/" for each in folders_in(folder)]
    files = [path for path in walk(folder) if not any(is_hidden(name) for name in path.relative_to(folder).parts)]
    kinds = Counter(path.suffix.lower() or "without an ending" for path in files)
    words = folders[:6] + (["..."] if len(folders) > 6 else []) + [f"{count} x {kind}" for kind, count in kinds.most_common(4)]
    pictures = (_unread(path, path.suffix.lower()) for path in files if path.suffix.lower() in PICTURE_SUFFIXES - readable_suffixes())
    hint = next((f" ({each.reason}: {each.fix})" for each in pictures), "")
    return (", ".join(words) or "nothing") + hint
