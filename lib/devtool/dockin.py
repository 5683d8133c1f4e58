# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""devtool plugin: add-docker makes a recipe for an image in a registry, refresh-docker brings pins up to date.

What there is to decide is decided in lib/dockin.
"""

import argparse
import contextlib
import dataclasses
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from devtool import DevtoolError
from devtool import setup_tinfoil
from devtool import standard
from devtool import update_unlockedsigs

_LAYER = pathlib.Path(__file__).resolve().parent.parent.parent
if str(_LAYER / "lib") not in sys.path:
    sys.path.insert(0, str(_LAYER / "lib"))

import dockin.recipe.compose  # noqa: E402
import dockin.recipe.lookup  # noqa: E402
import dockin.refresh.completion  # noqa: E402
# devtool looks for newer versions in its own process, where no addpylib has registered the fetcher.
import dockin.dockerfetcher  # noqa: E402
import dockin.image.platforms  # noqa: E402
import dockin.image.reference  # noqa: E402
import dockin.recipe.newrecipe  # noqa: E402
import dockin.recipe.yoctolayers  # noqa: E402
import dockin.refresh.command  # noqa: E402
import dockin.refresh.parsedrecipes  # noqa: E402
import dockin.refresh.stdout  # noqa: E402
import dockin.registry.settings  # noqa: E402
from dockin.errors import DockinError, readable  # noqa: E402

logger = logging.getLogger("devtool")

RECIPES_DIRECTORY = "recipes-containers"
"""Where --layer puts recipes in a layer."""

_PLACEHOLDER = """\
{pn} installs container images: there are no sources to work on. This directory is here because devtool wants one for
every recipe in its workspace, and holds what the registry said of the images when the recipe was made.

Edit the recipe with "devtool edit-recipe {pn}". What you commit here becomes a patch that
nothing applies.
"""


def register_commands(subparsers, context):
    """Register devtool subcommands from this plugin"""
    parser = subparsers.add_parser(
        "add-docker",
        help="Add a recipe for a Docker image in a registry",
        description="Adds a recipe that installs an image from a registry, pinned to the digest that its tag stands for"
        " now, to the workspace or, with --layer, to a layer.",
        group="starting",
        order=95,
    )
    image = parser.add_argument(
        "image",
        nargs="?",
        metavar="IMAGE",
        help="what you would type after docker pull: busybox, busybox:1.36.1, ghcr.io/org/app:v1, host:5000/app@sha256:…",
    )
    tag = parser.add_argument("--tag", "-t", default="", help="the tag, if not in IMAGE; latest if there is none")
    parser.add_argument("--digest", default="", metavar="sha256:HEX", help="pin to this digest; the tag is not asked for")
    parser.add_argument("--compose", metavar="FILE", help="all images of a Compose file, and a unit that starts it")
    parser.add_argument(
        "--env-file", default="", metavar="FILE", help="with --compose: installed as .env beside the Compose file, as it is"
    )
    parser.add_argument("--recipe-name", "-n", default="", metavar="PN", help="its name; default: IMAGE's and -docker")
    parser.add_argument(
        "--layer",
        "-l",
        action=_LayerAction,
        metavar="DIR",
        help=f"write to {RECIPES_DIRECTORY}/ of this layer, a directory or a configured layer's name",
    )
    parser.add_argument("--no-pin", action="store_true", help="no pin: each build takes what the tag stands for then")
    parser.add_argument("--platform", metavar="OS/ARCH[/VARIANT]", help="instead of the machine's; written into the recipe")
    parser.add_argument("--compression", default="", metavar="TYPE", help="COMPRESSION_TYPE: xz, zstd, gzip, none …")
    parser.add_argument("--authfile", default="", metavar="FILE", help="login file; does not go into the recipe")
    parser.set_defaults(func=add_docker, fixed_setup=context.fixed_setup)
    _register_refresh(subparsers)
    dockin.refresh.completion.attach(image, dockin.refresh.completion.images)
    dockin.refresh.completion.attach(tag, dockin.refresh.completion.tags)


def _register_refresh(subparsers):
    parser = subparsers.add_parser(
        "refresh-docker",
        help="Refresh the digests of Docker images in recipes",
        description=dockin.refresh.command.DESCRIPTION,
        group="starting",
        order=94,
    )
    recipe = parser.add_argument("recipe", nargs="*", metavar="RECIPE", help="only these recipes; may have * and ?")
    dockin.refresh.completion.attach(recipe, dockin.refresh.completion.recipes)
    dockin.refresh.command.add_arguments(parser)
    parser.set_defaults(func=refresh_docker, no_workspace=True)


class _LayerAction(argparse.Action):
    """Store the layer; no workspace is needed then, and none is made."""

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.layer = values
        namespace.no_workspace = True


def add_docker(args, config, basepath, workspace):
    """Entry point for the devtool 'add-docker' subcommand"""
    try:
        wishes = _wishes(args)
        tinfoil = setup_tinfoil(config_only=True, basepath=basepath)
        try:
            return _add(args, wishes, config, basepath, workspace, tinfoil)
        finally:
            tinfoil.shutdown()
    except (DockinError, OSError) as error:
        raise DevtoolError(str(error)) from error


def refresh_docker(args, config, basepath, workspace):
    """Entry point for the devtool 'refresh-docker' subcommand"""
    with dockin.refresh.stdout.reserved() as stdout:
        tinfoil = setup_tinfoil(basepath=basepath)
        try:
            getvar = dockin.registry.settings.user_first(tinfoil.config_data.getVar)

            def read_tasks():
                return dockin.refresh.parsedrecipes.read_tasks(tinfoil, [*args.recipe, *args.taken], args.platform)

            return dockin.refresh.command.run(args, read_tasks, getvar, os.environ, stdout)
        finally:
            tinfoil.shutdown()


@dataclasses.dataclass(frozen=True)
class _Wishes:
    """What the command line asks for, checked as far as that goes without a network."""

    pn: str
    references: list
    platform: object
    composition: object = None


def _wishes(args):
    platform = dockin.image.platforms.parse(args.platform) if args.platform else None
    if args.compression:
        dockin.recipe.newrecipe.check_compression(args.compression)
    _check_authfile(args.authfile)
    if bool(args.image) == bool(args.compose):
        raise DockinError("Give an IMAGE or --compose FILE, and not both")
    if args.env_file and not args.compose:
        raise DockinError("--env-file is for --compose FILE: give both")
    if args.compose:
        if args.tag or args.digest:
            raise DockinError("--tag and --digest are for one IMAGE: write them into the Compose file")
        composition = dockin.recipe.compose.read(args.compose, args.env_file)
        pn = args.recipe_name or dockin.recipe.newrecipe.default_name(composition.project)
        references = [service.reference for service in composition.images]
        _check_pins(args, references)
        return _Wishes(dockin.recipe.newrecipe.check_name(pn), references, platform, composition)
    reference = dockin.recipe.newrecipe.image_reference(args.image, args.tag, args.digest)
    _check_pins(args, [reference])
    pn = args.recipe_name or dockin.recipe.newrecipe.default_name(reference.repository)
    return _Wishes(dockin.recipe.newrecipe.check_name(pn), [reference], platform)


def _check_pins(args, references):
    pinned = [reference.digest for reference in references if reference.digest]
    if args.no_pin and pinned:
        raise DockinError(f"--no-pin, but {pinned[0]} is asked for, which only a pin keeps to: give one of them")


def _add(args, wishes, config, basepath, workspace, tinfoil):
    d = tinfoil.config_data
    _check_new(wishes.pn, config, workspace, args.layer)
    destination = _layer_directory(args.layer, d) if args.layer else None
    if destination:
        _check_layer(destination, wishes.pn, d)
    dockin.recipe.lookup.check_free(wishes.pn, tinfoil, "--recipe-name")
    images = dockin.recipe.lookup.lookup(wishes.references, _platforms(wishes), d.getVar, args.authfile)
    recipe = _recipe(wishes, args, images, d)
    if destination:
        return _to_layer(recipe, destination, tinfoil)
    return _to_workspace(recipe, images, args, config, basepath, workspace, tinfoil)


def _platforms(wishes):
    """Return the platform that each image is looked up for, None for the machine's."""
    if wishes.composition and not wishes.platform:
        return [service.platform for service in wishes.composition.images]
    return [wishes.platform] * len(wishes.references)


def _recipe(wishes, args, images, d):
    """Return the recipe to write."""
    table = dockin.recipe.lookup.licences(d.getVar)
    pinned = not args.no_pin
    found = [
        dockin.recipe.lookup.described(reference, image, platform, pinned)
        for reference, image, platform in zip(wishes.references, images, _platforms(wishes))
    ]
    if not wishes.composition:
        return dockin.recipe.newrecipe.for_image(found[0], wishes.pn, table, args.compression)
    composition = dockin.recipe.compose.compose(wishes.composition, found)
    for note in wishes.composition.notes:
        logger.info("%s", readable(note))
    return dockin.recipe.newrecipe.for_composition(composition, wishes.pn, table, args.compression)


# ---------------------------------------------------------------------------------------- what is there already


def _check_new(pn, config, workspace, layer):
    if pn in workspace:
        raise DockinError(f"Recipe {pn} is in your workspace already: use devtool edit-recipe, or devtool reset {pn} before")
    if layer:
        return
    for directory in (os.path.join(config.workspace_path, "recipes", pn), _source_tree(config, pn)):
        if os.path.lexists(directory):
            raise DockinError(f"{directory} is there already: move it away, or choose another name with --recipe-name")


def _layer_directory(layer, d):
    """Return the directory of a layer, which is named by its path or its base name."""
    for configured in d.getVar("BBLAYERS").split():
        if os.path.basename(configured.rstrip("/")) == layer:
            return os.path.abspath(configured)
    directory = os.path.abspath(layer)
    if not os.path.isfile(os.path.join(directory, "conf", "layer.conf")):
        raise DockinError(f"No layer {layer}: there is no {directory}/conf/layer.conf, and no configured layer of that name")
    return directory


def _check_layer(directory, pn, d):
    target = os.path.join(directory, RECIPES_DIRECTORY, pn)
    if os.path.lexists(target):
        raise DockinError(f"{target} is there already: nothing is overwritten; remove it or choose another --recipe-name")
    for found in sorted(path for name in (f"{pn}_*.bb", f"{pn}.bb") for path in pathlib.Path(directory).rglob(name)):
        raise DockinError(f"{found} is there already: nothing is overwritten; remove it or choose another --recipe-name")
    if directory not in map(os.path.abspath, d.getVar("BBLAYERS").split()):
        logger.info("%s is not in bblayers.conf: add it with bitbake-layers add-layer %s", directory, directory)
        return
    if not dockin.recipe.yoctolayers.is_recipe_place(d.getVar("BBFILES") or "", os.path.join(target, f"{pn}_1.bb")):
        raise DockinError(
            f"BBFILES has no pattern for {RECIPES_DIRECTORY}/*/*.bb of {directory}: BitBake would not find the recipe;"
            " add one to its conf/layer.conf"
        )


# ---------------------------------------------------------------------------------------- what is written


def _to_layer(recipe, directory, tinfoil):
    parent = os.path.join(directory, RECIPES_DIRECTORY)
    made = not os.path.isdir(parent)
    os.makedirs(parent, exist_ok=True)
    try:
        with _prepared(recipe, parent, tinfoil) as prepared:
            target = os.path.join(parent, recipe.pn)
            os.rename(prepared, target)
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(parent)
        raise
    logger.info("Recipe %s has been created; build it with bitbake %s", os.path.join(target, recipe.file_name), recipe.pn)
    return 0


def _to_workspace(recipe, images, args, config, basepath, workspace, tinfoil):
    recipes = os.path.join(config.workspace_path, "recipes")
    directory = os.path.join(recipes, recipe.pn)
    source_tree = _source_tree(config, recipe.pn)
    append = standard.recipe_to_append(os.path.join(directory, recipe.file_name), config)
    if os.path.lexists(append):
        raise DockinError(f"{append} is there already: remove it, or choose another name with --recipe-name")
    for parent in (recipes, os.path.dirname(source_tree), os.path.dirname(append)):
        os.makedirs(parent, exist_ok=True)
    with contextlib.ExitStack() as undo:
        # In this order: until there is the append, devtool and BitBake see a recipe at most, which is whole.
        undo.callback(shutil.rmtree, source_tree, ignore_errors=True)
        revision = _make_source_tree(recipe, images, source_tree, directory)
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        with _prepared(recipe, recipes, tinfoil) as prepared:
            os.rename(prepared, directory)
        undo.callback(pathlib.Path(append).unlink, missing_ok=True)
        _write(append, _append_text(source_tree, revision, args.authfile))
        for path in [*_files(directory), append]:
            standard._add_md5(config, recipe.pn, path)
        update_unlockedsigs(basepath, {**workspace, recipe.pn: None}, args.fixed_setup, [recipe.pn])
        undo.pop_all()
    logger.info(
        "Recipe %s has been created; build it with devtool build %s, move it into a layer with devtool finish %s LAYER",
        os.path.join(directory, recipe.file_name),
        recipe.pn,
        recipe.pn,
    )
    if args.authfile:
        logger.info("The login file is named in the workspace only: for builds after devtool finish set DOCKIN_AUTHFILE")
    return 0


@contextlib.contextmanager
def _prepared(recipe, parent, tinfoil):
    """Yield a directory with the recipe beside its place, which BitBake has parsed without an error."""
    temporary = tempfile.mkdtemp(prefix=f".{recipe.pn}.", dir=parent)
    try:
        os.chmod(temporary, 0o755 & ~_umask())
        directory = os.path.join(temporary, recipe.pn)
        path = os.path.join(directory, recipe.file_name)
        _write(path, recipe.text)
        for name, content in recipe.files.items():
            _write(os.path.join(directory, "files", name), content)
        try:
            tinfoil.parse_recipe_file(path, False)
        except Exception as error:  # what BitBake raises for a bad recipe differs with the release
            raise DockinError(f"BitBake does not take the new recipe, which is not kept: {error}\n{recipe.text}") from error
        yield directory
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make_source_tree(recipe, images, source_tree, recipe_directory):
    """Write the placeholder that stands for sources, a git repository as devtool wants it; return its revision."""
    os.makedirs(source_tree)
    _write(os.path.join(source_tree, "README"), _PLACEHOLDER.format(pn=recipe.pn))
    for image in images:
        for digest, data in image.documents.items():
            _write(os.path.join(source_tree, f"{digest.replace(':', '-')}.json"), data)
    _git(source_tree, "init", "--quiet", "--template=")
    if recipe.files:
        # On scarthgap, finish takes local files that are not here for removed ones: openembedded-core, devtool/standard.py
        files = os.path.join(recipe_directory, "files")
        os.symlink(os.path.relpath(files, source_tree), os.path.join(source_tree, "oe-local-files"))
    exclude = os.path.join(source_tree, ".git", "info", "exclude")
    _write(exclude, "oe-local-files\nsingletask.lock\n")
    _git(source_tree, "checkout", "--quiet", "-b", "devtool")
    _git(source_tree, "add", "--all", ".")
    _git(source_tree, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", f"What the registry says of {recipe.pn}")
    for tag in ("devtool-base", "devtool-patched"):
        _git(source_tree, "tag", tag)
    return _git(source_tree, "rev-parse", "HEAD")


def _append_text(source_tree, revision, authfile):
    text = f"""\
# Container images have no sources: the next line is for devtool only, and externalsrc stays off even if all have it.
EXTERNALSRC = "{source_tree}"
EXTERNALSRC:forcevariable = ""

# A package from the shared state would leave devtool deploy-target nothing to copy.
SSTATE_SKIP_CREATION = "1"

# initial_rev .: {revision}
"""
    return text + (f'\nDOCKIN_AUTHFILE = "{os.path.abspath(authfile)}"\n' if authfile else "")


def _check_authfile(path):
    """Raise DockinError where the file is not there, or where BitBake would read something else for its path"""
    full = os.path.abspath(path) if path else ""
    if any(part in full for part in ('"', "\\", "${", "\n")):
        raise DockinError(f"Login file {full}: a BitBake variable can't hold such a path; use one without \", \\ and ${{")
    dockin.refresh.command.check_authfile(path)


def _source_tree(config, pn):
    return standard.get_default_srctree(config, pn)


def _git(directory, *arguments):
    """Run git, whatever the user's configuration says; return what it prints."""
    settings = ["user.name=devtool", "user.email=devtool@localhost", "tag.gpgSign=false", "core.hooksPath=/dev/null",
                "core.autocrlf=false", "advice.detachedHead=false"]
    argv = ["git", *(word for setting in settings for word in ("-c", setting)), *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(argv, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise DockinError(f"git {arguments[0]} in {directory} failed: {error}") from error
    if done.returncode:
        raise DockinError(f"git {arguments[0]} in {directory} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def _write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pathlib.Path(path).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def _files(directory):
    return sorted(str(path) for path in pathlib.Path(directory).rglob("*") if path.is_file())


def _umask():
    value = os.umask(0)
    os.umask(value)
    return value
