# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Status of the images in recipes: what is known of each, as a table for people and as JSON for programs.

The front-ends gather it, from BitBake or from recipes' text; what can't be known is None, and said so.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import json
import pathlib
import re
import typing
from dataclasses import dataclass

from dockin.errors import DockinError, readable
from dockin.image import attachments, platforms, reference, tarball
from dockin.image.reference import ImageReference
from dockin.refresh import findings as refresh_findings
from dockin.refresh.findings import Finding
from dockin.registry import resolver
from dockin.target import imageinfo, space

SCHEMA = 1

_MANIFEST = ".manifest"
DATA_ROOT_REPORT = ".dockin.json"
_STAMP = re.compile(r"-\d{14}(?=$|\.)")


@dataclass(frozen=True)
class Status:
    """What is known of one image of one recipe."""

    recipe: str
    layer: str
    file: str
    reference: ImageReference
    """With tag, and digest if it is pinned."""
    platform: platforms.Platform | None
    multiconfig: str = ""
    machine: str = ""
    download: str = ""
    """Name of the file in DL_DIR."""
    sbom: attachments.Wanted | None = None
    """Which bills of materials are in it."""
    fetched: bool | None = None
    packaged: imageinfo.ImageInformation | None = None
    """What the latest build made; None where there was none."""
    directory: str = ""
    """Of the archive on the target."""
    preload: str = ""
    """enabled, disabled, or none without systemd."""
    flush: bool | None = None
    store: str = ""
    """Where the target's Docker keeps images, of runtimes.STORES; "" with another runtime."""
    installed: tuple[str, ...] | None = None
    """Built images that have it."""
    data_roots: tuple[str, ...] = ()
    """Those of them that have it in Docker's data-root."""
    notes: tuple[str, ...] = ()
    remote: Finding | None = None
    """What its registry says, where that was asked."""
    aside: bool = False
    """Of a recipe of this layer itself that nobody has named: does not count for the exit code, as in a refresh."""
    created: str = ""
    """When the pinned image was made, as its config says; known after a look-up."""

    @property
    def archive(self) -> str:
        """Path of the archive on the target, "" if none was made."""
        return f"{self.directory}/{self.packaged.archive}" if self.packaged else ""


def age(created: str, today: datetime.date) -> int | None:
    """Return how many days ago an image was made; None where its config does not say, as for images without a build date."""
    try:
        then = datetime.date.fromisoformat(created[:10])
    except ValueError:
        return None
    return (today - then).days if then.year > 1980 else None


def stale_notes(status: Status) -> list[str]:
    """Return in what the latest build differs from what the recipe wants now."""
    if not status.packaged:
        return []
    notes = []
    wanted = status.reference.digest
    if wanted and status.packaged.source_digest != wanted:
        built = reference.short(status.packaged.source_digest)
        notes.append(f"built with {built}, the recipe now wants {reference.short(wanted)}: build it again")
    if status.platform and status.packaged.platform != str(status.platform):
        notes.append(f"built for {status.packaged.platform}, the recipe now wants {status.platform}: build it again")
    return notes


def installed_in(directory: pathlib.Path, machine: str) -> tuple[dict[str, set[str]], list[str]]:
    """Return the packages of each built image, by the image recipe's name, from the manifests in a deploy directory.

    Behind them stands which manifests can't be read, as a link to one that was removed.
    """
    read, notes = _manifests(directory, machine)
    return {name: {line.split()[0] for line in text.splitlines() if line.strip()} for name, (_, text) in read.items()}, notes


def data_roots_in(directory: pathlib.Path, machine: str) -> dict[str, set[str]]:
    """Return what is in the data-root of each built image that has one: references, canonical and with a tag.

    The class dockin-dataroot has written that down beside the manifests. Raises DockinError for what it can't have written.
    """
    found: dict[str, set[str]] = {}
    for name, (file_name, _) in _manifests(directory, machine)[0].items():
        report = directory / (file_name[: -len(_MANIFEST)] + DATA_ROOT_REPORT)
        if not report.exists():
            continue
        try:
            document = json.loads(report.read_bytes())
            found[name] = {str(image["reference"]) for image in document["images"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DockinError(f"Damaged {report}: {error}; build {name} again") from error
    return found


def _manifests(directory: pathlib.Path, machine: str) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return name and text of the manifest of each built image, by the image recipe's name, and which can't be read."""
    read: list[tuple[int, str, str]] = []
    notes = []
    for path in sorted(directory.glob("*" + _MANIFEST)):
        try:
            read.append((path.stat().st_mtime_ns, path.name, path.read_text(encoding="utf-8", errors="replace")))
        except OSError as error:
            notes.append(f"Can't read the image manifest {path}: {error.strerror}")
    found: dict[str, tuple[str, str]] = {}
    # Newest last: an image's name stands for its newest build.
    for _, file_name, text in sorted(read):
        name = _STAMP.sub("", file_name[: -len(_MANIFEST)])
        for suffix in (".rootfs", f"-{machine}", ".rootfs"):
            name = name[: -len(suffix)] if name.endswith(suffix) else name
        found[name] = (file_name, text)
    return found, notes


def look_up(
    statuses: list[Status], resolving: resolver.Resolver, downloads: str = "", jobs: int = refresh_findings.Rules.jobs
) -> list[Status]:
    """Return the statuses with what the registries say; downloads is DL_DIR, which spares them a question.

    jobs is how many look-ups there are at a time.
    """
    questions = [(status.reference, status.platform) for status in statuses]
    findings = refresh_findings.compare(questions, refresh_findings.Rules(jobs=jobs), resolving)
    asked = [dataclasses.replace(status, remote=finding) for status, finding in zip(statuses, findings)]
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda status: _with_age(status, resolving, downloads), asked))


def table(statuses: list[Status], today: datetime.date) -> str:
    """Return the table and below it the notes; columns in which nothing is known are left out."""
    if not statuses:
        return "No recipe with an image.\n"
    rows = [_cells(status, today) for status in statuses]
    names = [name for name in rows[0] if any(row[name] not in ("", "-") for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    right = ("SIZE", "UNPACKED", "PEAK", "AGE")
    lines = [{name: name for name in names}, *rows]
    text = []
    for line in lines:
        cells = [line[name].rjust(widths[name]) if name in right else line[name].ljust(widths[name]) for name in names]
        text.append("  ".join(cells).rstrip())
    notes = [f"{_title(status)}: {note}" for status in statuses for note in status.notes]
    found = needs(statuses)
    # Of one image the line tells all, and of one recipe its own sum.
    orders = [need["order"] for need in found if need["recipe"]]
    notes += [_need_note(need) for need in found
              if len(need["order"]) > 1 and (need["recipe"] or need["order"] not in orders)]
    return readable("\n".join([*text, *([""] if notes else []), *notes])) + "\n"


def to_json(statuses: list[Status], **about: object) -> str:
    """Return everything as JSON, sorted and the same for the same state; about is what holds for all."""
    document = {"schema": SCHEMA, "tool": "meta-dockin", "mode": "status", **about}
    document["images"] = [_record(status) for status in statuses]
    document["needs"] = needs(statuses)
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def needs(statuses: list[Status]) -> list[dict[str, typing.Any]]:
    """Return the space that the built images need on a target: those of each recipe, and all of a configuration's.

    One dictionary for each, with multiconfig, recipe ("" for all), order, the images' names in the order of their loads,
    and archive_size, unpacked_size, peak_size, final_size in bytes, as of space.Plan.
    """
    groups: dict[tuple[str, str], list[Status]] = {}
    for status in statuses:
        if status.packaged:
            groups.setdefault((status.multiconfig, status.recipe), []).append(status)
            groups.setdefault((status.multiconfig, ""), []).append(status)
    found = []
    for (multiconfig, recipe), group in sorted(groups.items()):
        planned = _plan(group)
        found.append({
            "multiconfig": multiconfig,
            "recipe": recipe,
            "order": [image.name for image in planned.order],
            "archive_size": planned.archive_size,
            "unpacked_size": planned.unpacked_size,
            "peak_size": planned.peak_size,
            "final_size": planned.final_size,
        })
    return found


def human(size: int) -> str:
    """Return a number of bytes in words."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _with_age(status: Status, resolving: resolver.Resolver, downloads: str) -> Status:
    """Return a status with the age of the pinned image, if that is there; where it can't be found out, a note says why."""
    found = status.remote
    if not found or not found.pin_exists:
        return status
    try:
        return dataclasses.replace(status, created=_created(status, resolving, downloads))
    except (DockinError, OSError) as error:
        # What the tag stands for is known all the same, and counts as a refresh counts it.
        note = f"the age of the pinned image is not known: {_first_line(str(error))}"
        return dataclasses.replace(status, notes=(*status.notes, note))


def _created(status: Status, resolving: resolver.Resolver, downloads: str) -> str:
    if not status.platform:
        return ""
    path = pathlib.Path(downloads, status.download)
    if downloads and status.download and path.is_file():
        try:
            image = tarball.load(str(path), status.platform, status.reference.digest, status.sbom)
            return image.config.created
        except (DockinError, OSError):
            pass  # a damaged file is the next fetch's business
    return resolving.image(status.reference.pinned, status.platform).config.created


def _plan(group: list[Status]) -> space.Plan:
    return space.plan([
        space.Load(status.packaged, bool(status.flush), status.store) for status in group if status.packaged])


def _need_note(need: dict[str, typing.Any]) -> str:
    prefix = f"mc:{need['multiconfig']}:" if need["multiconfig"] else ""
    what = f"{prefix}{need['recipe'] or 'all of these'}"
    return (f"{what}, {len(need['order'])} images: {human(need['archive_size'])} of archives,"
            f" {human(need['unpacked_size'])} unpacked, {human(need['peak_size'])} at the peak of the loads,"
            f" {human(need['final_size'])} once all are loaded")


def _cells(status: Status, today: datetime.date) -> dict[str, str]:
    packaged, remote = status.packaged, status.remote
    pin = status.reference.digest
    days = age(status.created, today)
    return {
        "MULTICONFIG": status.multiconfig,
        "RECIPE": status.recipe,
        "LAYER": status.layer,
        "IMAGE": dataclasses.replace(status.reference, tag=None, digest=None).familiar,
        "TAG": status.reference.tag or "",
        "PIN": reference.short(pin) if pin else "-",
        "PLATFORM": str(status.platform) if status.platform else "-",
        "FETCHED": _yes_no(status.fetched),
        "ARCHIVE": status.archive or "-",
        "SIZE": human(packaged.archive_size) if packaged else "-",
        "UNPACKED": human(packaged.unpacked_size) if packaged else "-",
        "PEAK": human(_plan([status]).peak_size) if packaged else "-",
        "PRELOAD": status.preload or "-",
        "FLUSH": _yes_no(status.flush),
        "INSTALLED IN": ", ".join(_installed_cell(status, image) for image in status.installed or ()) or "-",
        "REGISTRY": _remote_cell(remote),
        "AGE": f"{days} d" if days is not None else "-",
    }


def _installed_cell(status: Status, image: str) -> str:
    return f"{image} (data-root)" if image in status.data_roots else image


def _remote_cell(found: Finding | None) -> str:
    if not found:
        return "-"
    if found.status == refresh_findings.STALE:
        return f"moved to {reference.short(found.new.index)}" + (", the pin is gone" if found.pin_gone else "")
    return f"{found.status}: {_first_line(found.message)}" if found.message else found.status


def _remote_record(found: Finding, created: str) -> dict[str, typing.Any]:
    return {
        "state": found.status,
        "digest": found.new.index or None,
        "pin_exists": found.pin_exists,
        "created": created or None,
        "message": _first_line(found.message) or None,
    }


def _record(status: Status) -> dict[str, typing.Any]:
    packaged, remote = status.packaged, status.remote
    return {
        "recipe": status.recipe,
        "layer": status.layer,
        "file": status.file,
        "multiconfig": status.multiconfig,
        "machine": status.machine,
        "image": status.reference.tagged.familiar,
        "registry": status.reference.registry,
        "repository": status.reference.repository,
        "tag": status.reference.tag,
        "pin": status.reference.digest,
        "platform": str(status.platform) if status.platform else None,
        "download": status.download or None,
        "fetched": status.fetched,
        "archive": status.archive or None,
        "packaged": dataclasses.asdict(packaged) if packaged else None,
        "preload": status.preload or None,
        "flush": status.flush,
        "store": status.store or None,
        "installed": sorted(status.installed) if status.installed is not None else None,
        "data_roots": sorted(status.data_roots),
        "notes": list(status.notes),
        "remote": _remote_record(remote, status.created) if remote else None,
    }


def _title(status: Status) -> str:
    prefix = f"mc:{status.multiconfig}:" if status.multiconfig else ""
    return f"{prefix}{status.recipe} ({status.reference.tagged.familiar})"


def _yes_no(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
