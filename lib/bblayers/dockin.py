# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""bitbake-layers plugin: dockin-status reports on the images in recipes. What is to decide is decided in lib/dockin."""

import contextlib
import dataclasses
import datetime
import fnmatch
import glob
import logging
import os
import pathlib
import sys

import bb
import bb.utils

from bblayers.common import LayerPlugin

_LAYER = pathlib.Path(__file__).resolve().parent.parent.parent
if str(_LAYER / "lib") not in sys.path:
    sys.path.insert(0, str(_LAYER / "lib"))

import dockin.dockerfetcher  # noqa: E402
import dockin.exitcodes  # noqa: E402
import dockin.image.platforms  # noqa: E402
import dockin.image.reference  # noqa: E402
import dockin.image.tarball  # noqa: E402
import dockin.recipe.source  # noqa: E402
import dockin.recipe.yoctolayers  # noqa: E402
import dockin.refresh.command  # noqa: E402
import dockin.refresh.completion  # noqa: E402
import dockin.refresh.findings  # noqa: E402
import dockin.refresh.parsedrecipes  # noqa: E402
import dockin.refresh.status  # noqa: E402
import dockin.refresh.stdout  # noqa: E402
import dockin.registry.resolver  # noqa: E402
import dockin.registry.settings  # noqa: E402
import dockin.target.imageinfo  # noqa: E402
import dockin.target.runtimes  # noqa: E402
from dockin.errors import DockinError, readable  # noqa: E402

logger = logging.getLogger("bitbake-layers")


def plugin_init(plugins):
    """Return the plugin, as bitbake-layers wants it"""
    return DockinPlugin()


class DockinPlugin(LayerPlugin):
    """The subcommands for images"""

    def do_dockin_status(self, args):
        """Show the Docker images of recipes: pin, platform, fetched or not, archive, where it is installed

        Knows what BitBake knows and has built for this configuration; asks registries only with --remote.
        Exit codes: 0 fine, 1 error; with --remote also 4 where some look-ups failed and 5 where image and pin are gone from
        the registry; with --check those of dockin-refresh --check: also 3 where a tag has moved, 5 where a pin is gone."""
        try:
            with _output(args.output) as write:
                # Where values come from is of no interest here, and doubles the time of parsing a recipe.
                self.tinfoil.tracking = False
                self.tinfoil.parse_recipes()
                statuses, notes = _Gatherer(self.tinfoil, self.bblayers).run(args.recipe, args.image)
                code = dockin.exitcodes.FINE
                if args.remote or args.check:
                    statuses = self._ask(statuses)
                    counted = [status.remote for status in statuses if not status.aside]
                    code = dockin.refresh.findings.exit_code(counted, args.check)
                d = self.tinfoil.config_data
                if args.json:
                    about = {name.lower(): d.getVar(name) for name in ("MACHINE", "TMPDIR", "DL_DIR")}
                    write(dockin.refresh.status.to_json(statuses, notes=notes, **about))
                else:
                    write(dockin.refresh.status.table(statuses, datetime.date.today()))
                    for note in notes:
                        write(readable(note) + "\n")
                return code
        except DockinError as error:
            logger.error("%s", error)
            return dockin.exitcodes.ERROR

    def do_dockin_refresh(self, args):
        """Refresh the digests of Docker images in recipes

        Looks up what the tags of container images stand for now, and writes the new digests into the recipes. Exit codes:
        0 fine or written; 1 error; 2 usage; 3 stale (with --check); 4 some images failed, the others are done; 5 a pinned
        digest is gone from its registry."""

        def read_tasks():
            self.tinfoil.parse_recipes()
            return dockin.refresh.parsedrecipes.read_tasks(self.tinfoil, [*args.recipe, *args.taken], args.platform)

        d = self.tinfoil.config_data
        with dockin.refresh.stdout.reserved() as stdout:
            return dockin.refresh.command.run(
                args, read_tasks, dockin.registry.settings.user_first(d.getVar), os.environ, stdout
            )

    def _ask(self, statuses):
        """Return the statuses with what the registries say."""
        d = self.tinfoil.config_data
        mode = dockin.registry.settings.user_first(d.getVar)("DOCKIN_RESOLVER")
        options, downloads = dockin.registry.settings.options(d.getVar), d.getVar("DL_DIR")
        with dockin.registry.resolver.Resolver(options, dict(os.environ), mode) as resolver:
            return dockin.refresh.status.look_up(statuses, resolver, downloads=downloads)

    def register_commands(self, sp):
        """Register the subcommands"""
        # BitBake is asked to parse in the command, once what it prints does not go to the output.
        status = self.add_command(sp, "dockin-status", self.do_dockin_status, parserecipes=False)
        recipe = status.add_argument("recipe", nargs="*", metavar="RECIPE", help="only these recipes; may have * and ?")
        dockin.refresh.completion.attach(recipe, dockin.refresh.completion.recipes)
        status.add_argument("--remote", action="store_true", help="ask the registries: has the tag moved, is the pin there")
        status.add_argument("--check", action="store_true", help="as --remote; exit with 3 or 5 if there is something to do")
        status.add_argument("--image", metavar="IMAGE_RECIPE", help="only what is installed in this image")
        status.add_argument("--json", action="store_true", help="as JSON; call bitbake-layers with -q, or use --output")
        status.add_argument("--output", metavar="FILE", help="write there instead of to standard output")
        refresh = self.add_command(sp, "dockin-refresh", self.do_dockin_refresh, parserecipes=False)
        recipe = refresh.add_argument("recipe", nargs="*", metavar="RECIPE", help="only these recipes; may have * and ?")
        dockin.refresh.completion.attach(recipe, dockin.refresh.completion.recipes)
        dockin.refresh.command.add_arguments(refresh)


@contextlib.contextmanager
def _output(path):
    """Yield a function that writes the command's output, while what BitBake prints goes to standard error."""
    parts = []
    with dockin.refresh.stdout.reserved():
        yield parts.append
    text = "".join(parts)
    if not path:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        temporary = pathlib.Path(f"{path}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise DockinError(f"Can't write {path}: {error.strerror}") from error


class _Gatherer:
    """Finds out what BitBake knows."""

    def __init__(self, tinfoil, layers):
        self.tinfoil = tinfoil
        self.layers = sorted((layer.rstrip("/") for layer in layers), key=len, reverse=True)
        self.manifests = {}
        self.data_roots = {}
        self.notes = []
        self.aside = True

    def run(self, patterns, image):
        """Return the statuses, and what there is to say of the whole. Raises DockinError."""
        found, unmatched = [], set(patterns)
        self.aside = not patterns and not image
        for mc in dockin.refresh.parsedrecipes.multiconfigs(self.tinfoil):
            for pn, fn in self._recipes(mc):
                matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(pn, pattern)]
                unmatched.difference_update(matching)
                if matching or not patterns:
                    found += self._statuses(pn, fn, mc)
        for pattern in sorted(unmatched):
            raise DockinError(self._why_not(pattern))
        notes = []
        if image:
            found, notes = self._only_in(image, found)
        key = lambda status: (status.multiconfig, status.recipe)  # noqa: E731
        return sorted(found, key=key), self.notes + notes

    def _recipes(self, mc):
        """Yield name and file of the recipes that inherit the class; of several versions the preferred one."""
        for pn, fn in dockin.refresh.parsedrecipes.class_recipes(self.tinfoil, mc):
            best = self.tinfoil.find_best_provider(f"mc:{mc}:{pn}" if mc else pn)
            if not best or len(best) < 4 or best[3] in (None, fn):
                yield pn, fn

    def _statuses(self, pn, fn, mc):
        d = self.tinfoil.parse_recipe_file(fn)
        try:
            sources = dockin.recipe.source.parse_src_uri(d.getVar("SRC_URI") or "")
            flags = {source.pin_flag: d.getVarFlag("SRC_URI", source.pin_flag) for source in sources}
            sources = dockin.recipe.source.pin_sources(sources, flags)
            external = d.getVar("EXTERNALSRC") or ""
            if external or not sources:
                # externalsrc, as of devtool modify, takes images out of SRC_URI; the class has kept their names.
                texts = (d.getVar("DOCKIN_REFERENCES") or "").split()
                sources = [dockin.recipe.source.DockerSource(dockin.image.reference.parse(text)) for text in texts]
        except DockinError as error:
            raise DockinError(f"{pn}: {error}") from error
        return [self._status(pn, fn, mc, d, source, external) for source in sources]

    def _status(self, pn, fn, mc, d, source, external):
        machine = d.getVar("MACHINE")
        path = dockin.refresh.parsedrecipes.plain_path(fn)
        notes = [f"its archive is taken from {external}"] if external else []
        platform, download, sbom = None, "", None
        try:
            platform = source.platform or dockin.registry.settings.target_platform(d.getVar)
            if not external:
                sbom = dockin.dockerfetcher.wanted_sbom(source, d)
                download = dockin.image.tarball.file_name(source.reference, platform.slug, sbom)
        except DockinError as error:
            notes.append(str(error))
        try:
            packaged, where = self._packaged(d, pn, source.reference.stem)
        except DockinError as error:
            # Of a build that was killed, or of another version of the layer: built again, it is whole.
            packaged, where = None, [f"{error}; bitbake -C compile {pn} makes it anew"]
        status = dockin.refresh.status.Status(
            recipe=pn,
            layer=self._layer(path),
            file=path,
            reference=source.reference,
            platform=platform,
            multiconfig=mc,
            machine=machine,
            download=download,
            sbom=sbom,
            fetched=os.path.exists(os.path.join(d.getVar("DL_DIR"), download)) if download else None,
            packaged=packaged,
            directory=d.getVar("docker_archivedir"),
            preload=self._preload(d, pn),
            flush=bb.utils.to_boolean(d.getVar("DOCKIN_PRELOAD_FLUSH")),
            store=d.getVar("DOCKIN_RUNTIME_STORE")
            if d.getVar("DOCKIN_RUNTIME") == dockin.target.runtimes.DOCKER.name else "",
            installed=self._installed(d, pn),
            aside=self.aside and dockin.recipe.yoctolayers.is_own(path),
        )
        status = dataclasses.replace(status, data_roots=self._data_roots(d, status))
        notes += dockin.refresh.status.stale_notes(status)
        notes += where or []
        return dataclasses.replace(status, notes=tuple(notes))

    def _packaged(self, d, pn, stem):
        """Return what the latest build made, and what there is to say where it was not packaged."""
        name = stem + dockin.target.imageinfo.SUFFIX
        pkgdata = d.getVar("PKGDATA_DIR")
        machine = d.getVar("MACHINE")
        found = _information(os.path.join(pkgdata, "dockin", pn, name))
        if found:
            return found, []
        others = sorted(
            pathlib.Path(path).parents[2].name
            for path in glob.glob(os.path.join(glob.escape(os.path.dirname(pkgdata)), "*", "dockin", pn, glob.escape(name)))
        )
        elsewhere = f"; it is built for {', '.join(others)}" if others else ""
        found = _information(os.path.join(d.getVar("B"), name))
        if found:
            return found, [f"compiled for {machine}, but not packaged yet: bitbake {pn}"]
        if not os.path.isdir(d.getVar("TMPDIR")):
            return None, [f"not built: there is no TMPDIR {d.getVar('TMPDIR')}"]
        return None, [f"not built for {machine}{elsewhere}"]

    def _preload(self, d, pn):
        if not bb.utils.contains("DISTRO_FEATURES", "systemd", True, False, d):
            return "none"
        value = d.getVar(f"SYSTEMD_AUTO_ENABLE:{pn}-preload") or d.getVar("SYSTEMD_AUTO_ENABLE") or "enable"
        return "enabled" if value == "enable" else "disabled"

    def _installed(self, d, pn):
        """Return the images in which the recipe's package is, None where none was built."""
        built = self._images(d)
        if not built:
            return None
        package = _package_name(d.getVar("PKGDATA_DIR"), pn)
        return tuple(sorted(image for image, packages in built.items() if package in packages))

    def _data_roots(self, d, status):
        """Return the images in which it is installed and in the data-root."""
        directory = d.getVar("DEPLOY_DIR_IMAGE")
        if directory not in self.data_roots:
            self.data_roots[directory] = dockin.refresh.status.data_roots_in(pathlib.Path(directory), d.getVar("MACHINE"))
        wanted = status.reference.tagged.canonical
        return tuple(image for image in status.installed or () if wanted in self.data_roots[directory].get(image, ()))

    def _images(self, d):
        directory, machine = d.getVar("DEPLOY_DIR_IMAGE"), d.getVar("MACHINE")
        if directory not in self.manifests:
            self.manifests[directory], notes = dockin.refresh.status.installed_in(pathlib.Path(directory), machine)
            self.notes += notes
        return self.manifests[directory]

    def _only_in(self, image, statuses):
        """Return what is installed in an image; or in one that was never built, what would be as far as one can tell."""
        best = self.tinfoil.find_best_provider(image)
        if not best or len(best) < 4 or not best[3]:
            raise DockinError(f"No image recipe {image}: see bitbake-layers show-recipes")
        if any(image in packages for packages in self.manifests.values()):
            return [status for status in statuses if image in (status.installed or ())], []
        d = self.tinfoil.parse_recipe_file(best[3])
        wanted = set((d.getVar("PACKAGE_INSTALL") or "").split())
        chosen = [status for status in statuses if wanted & {status.recipe, f"{status.recipe}-preload"}]
        note = f"{image} has not been built for {d.getVar('MACHINE')}: shown is what its PACKAGE_INSTALL names directly"
        return chosen, [note]

    def _layer(self, path):
        for layer in self.layers:
            if path.startswith(layer + "/"):
                return os.path.basename(layer)
        return ""

    def _why_not(self, pattern):
        for fn, skipped in self.tinfoil.get_skipped_recipes().items():
            if getattr(skipped, "pn", None) == pattern:
                return f"Recipe {pattern} ({fn}) is skipped: {skipped.skipreason}"
        best = self.tinfoil.find_best_provider(pattern)
        if best and len(best) > 3 and best[3]:
            return f"Recipe {pattern} has no Docker image: {best[3]} does not inherit dockin"
        return f"No recipe {pattern}: see bitbake-layers show-recipes"


def _information(path):
    try:
        text = pathlib.Path(path).read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DockinError(f"Can't read {path}: {error}") from error
    return dockin.target.imageinfo.parse(text, path)


def _package_name(pkgdata, pn):
    """Return the name under which a package manager knows a package."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(pkgdata, "runtime", pn).read_text(encoding="utf-8").splitlines():
            if line.startswith(f"PKG:{pn}: "):
                return line.partition(": ")[2]
    return pn
