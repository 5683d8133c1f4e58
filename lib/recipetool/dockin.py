# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""recipetool plugin: create, and so devtool add, make of a docker:// address the recipe that devtool add-docker makes.

recipetool asks process_url() for the address to fetch, fetches it, and asks process() for the recipe's lines: see
openembedded-core, scripts/lib/recipetool/create.py.
"""

import logging
import os
import pathlib
import sys

_LAYER = pathlib.Path(__file__).resolve().parent.parent.parent
if str(_LAYER / "lib") not in sys.path:
    sys.path.insert(0, str(_LAYER / "lib"))

import dockin.recipe.lookup  # noqa: E402
# recipetool looks at addresses in its own process, where no addpylib has registered the fetcher.
import dockin.dockerfetcher  # noqa: E402
import dockin.recipe.newrecipe  # noqa: E402
import dockin.recipe.source  # noqa: E402
from dockin.errors import DockinError  # noqa: E402

logger = logging.getLogger("recipetool")

PRIORITY = 200
"""Above those of OE-core's handlers, which are 100 at most."""

_OPTIONS = {
    "also_native": "--also-native",
    "autorev": "--autorev",
    "binary": "--binary",
    "machine": "--machine",
    "provides": "--provides",
    "src_subdir": "--src-subdir",
    "srcbranch": "--srcbranch",
    "srcrev": "--srcrev",
}
"""Options of recipetool create that say something of sources, or of a package, that an image is not."""

_tinfoil = None


def tinfoil_init(instance):
    """Take recipetool's tinfoil."""
    global _tinfoil
    _tinfoil = instance


def register_recipe_handlers(handlers):
    """Register what recipetool create asks."""
    handlers.append((DockerHandler(), PRIORITY))


class DockerHandler:
    """Writes the recipe for a docker:// address; leaves all others alone."""

    def __init__(self):
        self._recipe = None

    def process_url(self, args, classes, handled, extravalues):
        """Look the image up; return the address to fetch it by, which BitBake and recipetool leave as it is."""
        if not dockin.recipe.source.is_docker(args.source):
            return None
        try:
            self._recipe, found = _create(args)
        except (DockinError, OSError) as error:
            logger.error("%s", error)
            sys.exit(1)
        # recipetool would guess them from what was fetched, and change what it does not take for a version.
        args.name, args.version = self._recipe.pn, self._recipe.pv
        handled.append("url")
        # recipetool takes ;tag= for one of git, and away.
        platform = f";platform={found.platform}" if found.platform else ""
        reference = found.reference
        return f"docker://{reference.name}:{reference.tag};digest={reference.digest}{platform}"

    def process(self, srctree, classes, lines_before, lines_after, handled, extravalues):
        """Put the recipe in place of what recipetool has made up."""
        if not self._recipe:
            return False
        lines_before.clear()
        lines_after[:] = self._recipe.text.splitlines()
        # recipetool edits the lines before the classes, and fills in what a handler has found.
        extravalues.clear()
        handled += ["buildsystem", ("license", [])]
        return True


def _create(args):
    """Return the recipe to write and what it says of its image. Raises DockinError."""
    surplus = [option for name, option in _OPTIONS.items() if getattr(args, name, None)]
    if surplus:
        raise DockinError(f"{', '.join(surplus)} with {args.source}: an image is installed as it is; leave the option out")
    source = dockin.recipe.source.parse_entry(args.source)
    if source.name:
        raise DockinError(f";name={source.name} in {args.source}: the only image of a recipe needs no name; leave it out")
    given_pn, given_pv = _given(args)
    pn = dockin.recipe.newrecipe.check_name(given_pn or dockin.recipe.newrecipe.default_name(source.reference.repository))
    if pn.endswith("-native") or pn.startswith("nativesdk-"):
        # recipetool would have it inherit the class of that name.
        raise DockinError(f"Invalid recipe name {pn!r}: images are for the target; choose another name")
    dockin.recipe.lookup.check_free(pn, _tinfoil, "its name before the address" if args.devtool else "--name")
    getvar = _tinfoil.config_data.getVar
    [image] = dockin.recipe.lookup.lookup([source.reference], [source.platform], getvar)
    found = dockin.recipe.lookup.described(source.reference, image, source.platform)
    recipe = dockin.recipe.newrecipe.for_image(found, pn, dockin.recipe.lookup.licences(getvar))
    if given_pv and given_pv != recipe.pv:
        raise DockinError(
            f"Version {given_pv!r} with the tag {source.reference.tag!r}, which makes it {recipe.pv!r}: choose the version"
            " by ;tag= in the address"
        )
    return recipe, found


def _given(args):
    """Return the name and the version that options or the output's file name ask for, "" for what is left open."""
    pn, pv = args.name or "", args.version or ""
    if not args.outfile or args.outfile == "-" or os.path.isdir(args.outfile):
        return pn, pv
    stem, extension = os.path.splitext(os.path.basename(args.outfile))
    name, _, version = stem.partition("_")
    if extension != ".bb" or not version or pn not in ("", name) or pv not in ("", version):
        raise DockinError(f"Output file {args.outfile}: give a directory, or a file NAME_VERSION.bb as the recipe is called")
    return name, version
