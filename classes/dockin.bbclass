# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Installs Docker images from registries, as compressed archives that a unit loads into Docker on first boot.
#
#   inherit dockin
#   SRC_URI = "docker://docker.io/library/busybox;tag=1.36.1"
#   SRC_URI[sha256sum] = "<the index digest's 64 hex digits>"
#
# Several images need a ;name= each, which their pins then have too: SRC_URI[<name>.sha256sum]. Other entries of SRC_URI are
# fetched and unpacked as usual and installed by a do_install:append of the recipe.
#
# Packages: ${PN} has the archives, ${PN}-preload the units; ${PN} recommends ${PN}-preload. ${PN}-sbom has the bills of
# materials that are attached to the images, where they are wanted.
# Each variable is explained by its [doc] below; docs/reference.md has them in tables.

inherit systemd dockin-code dockin-sbom

DOCKIN_PLATFORM ?= "${@dockin_target_platform(d)}"
DOCKIN_PLATFORM[doc] = "Platform of the images, as os/architecture[/variant]; by default what the target's tune runs. \
A ;platform= in SRC_URI goes before it."
# Only the result counts for the tasks' hashes, not the machine and tune that it is computed from.
DOCKIN_PLATFORM[vardepvalue] = "${DOCKIN_PLATFORM}"

DOCKIN_PIN ?= "warn"
DOCKIN_PIN[doc] = "What to do where an image has no pin: warn (print the lines to add), require (an error), or ignore. Where \
BB_STRICT_CHECKSUM is ignore, as devtool upgrade sets it, this counts as ignore."
# What was fetched before a pin was required is fetched again, so that it is refused.
DOCKIN_PIN[vardepvalue] = "${@dockin_missing_pin(d)}"

DOCKIN_LICENSE_ACCEPTED[doc] = "Patterns of repositories, such as docker.io/library/*, whose images may be shipped; where it \
is set, recipes with others are skipped. '*' is any text without a '/', '**' any text; unset, everything is accepted."

DOCKIN_LAYERS ?= "decompressed"
DOCKIN_LAYERS[doc] = "Layers in the archive: decompressed (smallest once compressed as a whole), or registry (as they were \
pulled, so that Docker's containerd store knows the image by the registry's digest)."

DOCKIN_AUTHFILE[doc] = "Login file for the registry; by default what skopeo login or docker login wrote is found."
DOCKIN_CERT_DIR[doc] = "Directory with CA (*.crt), client certificate (*.cert) and key (*.key) for the registry."
DOCKIN_TLS_VERIFY[doc] = "Set to 0 for registries without TLS or with a certificate that nobody signed."
DOCKIN_POLICY[doc] = "A containers-policy.json that says which signatures images need; by default the host's."
DOCKIN_REGISTRIES_CONF[doc] = "A containers-registries.conf with mirrors and insecure registries; by default the host's."
DOCKIN_REGISTRIES_D[doc] = "A directory of containers-registries.d files, which say where signatures are; by default the host's."
DOCKIN_FETCH_TIMEOUT[doc] = "Seconds without any progress after which a fetch is given up; 300 by default."
DOCKIN_FETCH_RETRIES[doc] = "How often a fetch is tried again after a fault that may pass; 3 by default."
DOCKIN_RESOLVER[doc] = "How the tools learn what a tag stands for: http (requests of their own), skopeo, or auto, where \
skopeo is asked before an error is believed; also from the environment. Fetching is always skopeo's."

COMPRESSION_TYPE ?= "xz"
COMPRESSION_TYPE[doc] = "Compression of the archives: xz, zstd, gzip, none, or a type of one's own with a \
COMPRESSION_CMD:<type> that writes one of these formats or bzip2: targets read no others."
COMPRESSION_CMD[doc] = "COMPRESSION_CMD:<type> is the command that writes a compressed file, given as its last argument, to \
its standard output."
COMPRESSION_CMD:xz ?= "xz -f -k -9 -T0 -c"
COMPRESSION_CMD:zstd ?= "zstd -f -k -q -19 -T0 -c"
COMPRESSION_CMD:gzip ?= "gzip -f -k -9 -n -c"
COMPRESSION_CMD:none ?= "cat"
COMPRESSION_RDEPENDS[doc] = "COMPRESSION_RDEPENDS:<type> are the packages that docker load needs to read such an archive."
# dockerd runs the program xz; gzip it can read itself, zstd since Docker 23. containerd reads plain archives alone; busybox
# has gzip.
COMPRESSION_RDEPENDS:xz ?= "xz"
COMPRESSION_RDEPENDS:zstd ?= "${@'zstd' if d.getVar('DOCKIN_RUNTIME') == 'containerd' else ''}"
COMPRESSION_RDEPENDS:gzip ?= ""
COMPRESSION_RDEPENDS:none ?= ""

DOCKIN_PRELOAD_FLUSH ?= "1"
DOCKIN_PRELOAD_FLUSH[doc] = "Whether the archive is removed from the target once its image is loaded: 1 or 0."
DOCKIN_PRELOAD_PRUNE ?= "0"
DOCKIN_PRELOAD_PRUNE[doc] = "Whether an image that a preload had loaded is removed once another is loaded under its name, and \
no container uses it: 1 or 0."
DOCKIN_PRELOAD_KEEP_PREVIOUS ?= "0"
DOCKIN_PRELOAD_KEEP_PREVIOUS[doc] = "With DOCKIN_PRELOAD_PRUNE, whether the last image before the loaded one is kept, to go \
back to: 1 or 0."

DOCKIN_SIZE_BUDGET ?= ""
DOCKIN_SIZE_BUDGET[doc] = "The most that the images of a recipe may need on the target, in bytes, or with K, M or G behind it in \
KiB, MiB or GiB: all archives, as installed, and what the data-root needs at the peak while they are loaded one after another, \
archives that are flushed given back. It counts for the store of DOCKIN_RUNTIME and DOCKIN_RUNTIME_STORE. More fails \
do_package_qa. Empty for no limit."

# The command and the suffix of the chosen type. BitBake can't see which variable getVar() is asked for: their values count.
DOCKIN_COMPRESSION_CMD = "${@d.getVar('COMPRESSION_CMD:' + d.getVar('COMPRESSION_TYPE')) or ''}"
DOCKIN_COMPRESSION_CMD[vardepvalue] = "${DOCKIN_COMPRESSION_CMD}"
DOCKIN_COMPRESSION_CMD[doc] = "The command of the chosen COMPRESSION_TYPE; set COMPRESSION_CMD:<type> instead."
DOCKIN_COMPRESSION_RDEPENDS = "${@d.getVar('COMPRESSION_RDEPENDS:' + d.getVar('COMPRESSION_TYPE')) or ''}"
DOCKIN_COMPRESSION_RDEPENDS[vardepvalue] = "${DOCKIN_COMPRESSION_RDEPENDS}"
DOCKIN_COMPRESSION_RDEPENDS[doc] = "The packages of the chosen COMPRESSION_TYPE; set COMPRESSION_RDEPENDS:<type> instead."
DOCKIN_ARCHIVE_SUFFIX = ".tar${@dockin_compression_suffix(d)}"
DOCKIN_ARCHIVE_SUFFIX[vardepvalue] = "${DOCKIN_ARCHIVE_SUFFIX}"
DOCKIN_ARCHIVE_SUFFIX[doc] = "Suffix of the archives, which follows from COMPRESSION_TYPE."
DOCKIN_REFERENCES[doc] = "The images with registry and tag, which follow from SRC_URI; set by the class."
DOCKIN_STEMS[doc] = "Names of the archives without suffix, which follow from SRC_URI; set by the class."

# scarthgap unpacks into WORKDIR, which it does not clean, and has no UNPACKDIR.
DOCKIN_IMAGEDIR = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}/${@dockin.dockerfetcher.UNPACK_SUBDIR}"
DOCKIN_IMAGEDIR[doc] = "Where do_unpack puts the archives."
do_unpack[cleandirs] += "${DOCKIN_IMAGEDIR}"
S = "${DOCKIN_IMAGEDIR}"
B = "${WORKDIR}/build"

# Nothing is compiled or linked against; archives are no sources of other recipes; what is in an image has its own CVEs.
INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
SYSROOT_DIRS = ""
CVE_PRODUCT ?= ""

PACKAGES =+ "${PN}-preload"
SYSTEMD_PACKAGES = "${PN}-preload"
FILES:${PN} += "${docker_archivedir}"
SUMMARY:${PN}-preload ?= "${SUMMARY} (loaded into Docker on first boot)"
# Of the same version: an upgrade of one alone would leave a unit that is not started again for the new archive.
RDEPENDS:${PN}-preload += "${PN} (= ${EXTENDPKGV}) dockin-preload ${DOCKIN_COMPRESSION_RDEPENDS}"
# Recommended: an image without Docker, or without the preload, can be had by BAD_RECOMMENDATIONS or PACKAGE_EXCLUDE.
RRECOMMENDS:${PN} += "${@bb.utils.contains('DISTRO_FEATURES', 'systemd', '${PN}-preload', '', d)}"
RRECOMMENDS:${PN}-preload += "${DOCKIN_RUNTIME_PACKAGES}"

do_fetch[vardeps] += "DOCKIN_PLATFORM DOCKIN_PIN DOCKIN_FETCH_SBOM"
do_fetch[file-checksums] += "${@dockin_code('image/platforms', d)}"
do_unpack[vardeps] += "DOCKIN_PLATFORM DOCKIN_LAYERS DOCKIN_FETCH_SBOM"
do_unpack[file-checksums] += "${@dockin_code('image/* target/unpacked recipe/source fetch/pins fetch/unpacking \
    dockerfetcher', d)}"
do_compile[file-checksums] += "${@dockin_code('image/* target/*', d)}"
# scarthgap has no xz among its HOSTTOOLS.
do_compile[depends] += "${@dockin_compressor_depends(d)}"
do_compile[cleandirs] = "${B}"
do_configure[noexec] = "1"

def dockin_target_platform(d):
    """Return the platform that the target wants, empty where there is none."""
    try:
        return str(dockin.dockerfetcher.target_platform(d))
    except dockin.errors.DockinError:
        return ''

def dockin_sources(d):
    """Return the images in SRC_URI with their pins. Raises DockinError."""
    sources = dockin.recipe.source.parse_src_uri(d.getVar('SRC_URI') or '')
    flags = d.getVarFlags('SRC_URI', expand=[source.pin_flag for source in sources]) or {}
    return dockin.recipe.source.pin_sources(sources, flags)

def dockin_missing_pin(d):
    """Return require where a pin is required that is not there, else nothing."""
    if d.getVar('DOCKIN_PIN') != 'require' or all(source.reference.digest for source in dockin_sources(d)):
        return ''
    return 'require'

def dockin_compressor_depends(d):
    """Return the task that provides xz where that is the command and the host's may not be used."""
    command = d.getVar('DOCKIN_COMPRESSION_CMD').split()
    if 'xz' not in command[:1] or 'xz' in d.getVar('HOSTTOOLS').split():
        return ''
    return 'xz-native:do_populate_sysroot'

def dockin_compression_suffix(d):
    """Return the suffix of the compression, empty for none."""
    kind = d.getVar('COMPRESSION_TYPE')
    return {'none': '', 'gzip': '.gz', 'zstd': '.zst'}.get(kind, '.' + kind)

def dockin_references(d):
    """Return the references of the recipe's images, without their pins."""
    return [dockin.image.reference.parse(text) for text in d.getVar('DOCKIN_REFERENCES').split()]

def dockin_is_external(d):
    """Tell whether the archives are in a source tree of devtool, where users replace them by their own."""
    return bb.data.inherits_class('externalsrc', d) and bool(d.getVar('EXTERNALSRC'))

def dockin_packaged_images(d):
    """Return the content of the recipe's image information files, as it was packaged."""
    folder, stems = d.expand('${PKGDATA_DIR}/dockin/${PN}/'), d.getVar('DOCKIN_STEMS').split()
    return [dockin.target.imageinfo.read(folder + stem + dockin.target.imageinfo.SUFFIX) for stem in stems]

dockin_packaged_images[vardepsexclude] += "PKGDATA_DIR"

# What can be known to be wrong is said when the recipe is parsed, and before base.bbclass reads the entries with bb.fetch2.URI,
# which takes the tag of docker://busybox:1.36 for a port and has no word about what to do.
addhandler dockin_check_src_uri
dockin_check_src_uri[eventmask] = "bb.event.RecipePreFinalise"
python dockin_check_src_uri () {
    try:
        dockin_sources(e.data)
    except dockin.errors.DockinError as error:
        bb.fatal("%s: %s" % (e.data.getVar('PN'), error))
}

# package_rpm.bbclass copies these texts into its spec file as they are. A recipe may have them of an image's labels: versions of
# devtool add-docker before this check left a '%' in them. This event comes after all that can change a value.
addhandler dockin_check_package_texts
dockin_check_package_texts[eventmask] = "bb.event.RecipeParsed"
python dockin_check_package_texts () {
    try:
        # SUMMARY first, which others are made of.
        for text in dockin.recipe.newrecipe.PACKAGE_TEXTS:
            for key in sorted(key for key in e.data.keys() if key.partition(':')[0] == text):
                dockin.recipe.newrecipe.check_package_text(key, e.data.getVar(key) or '')
    except dockin.errors.DockinError as error:
        bb.fatal("%s: %s" % (e.data.getVar('PN'), error))
}

python () {
    pn = d.getVar('PN')
    try:
        sources = dockin_sources(d)
        # externalsrc has emptied SRC_URI where it was inherited before, but for what devtool modify has marked; or it will.
        references = [source.reference.tagged for source in sources]
        if not references or dockin.recipe.source.DEVTOOL_MARK in d.getVar('SRC_URI'):
            references = dockin.target.packaged.external_references(d.getVar('EXTERNALSRC') or '/nonexistent') or references
        if not references:
            raise dockin.errors.DockinError("SRC_URI has no docker:// entry: add one, or do not inherit dockin")
        dockin.recipe.settings.check_choice('DOCKIN_PIN', d.getVar('DOCKIN_PIN'), dockin.fetch.pins.CHOICES)
        dockin.recipe.settings.check_recipe(d.getVar, d.keys())
        dockin.fetch.session.check_settings(d)
        units = [dockin.target.units.unit_name(reference) for reference in references]
        accepted = d.getVar('DOCKIN_LICENSE_ACCEPTED')
        refusal = '' if accepted is None else dockin.target.acceptance.refusal(references, accepted)
    except dockin.errors.DockinError as error:
        bb.fatal("%s: %s" % (pn, error))

    if refusal:
        raise bb.parse.SkipRecipe(refusal)
    if not d.getVar('DOCKIN_PLATFORM') and not all(source.platform for source in sources):
        try:
            dockin.dockerfetcher.target_platform(d)
        except dockin.errors.DockinError as error:
            raise bb.parse.SkipRecipe(str(error))

    d.setVar('DOCKIN_REFERENCES', ' '.join(reference.canonical for reference in references))
    d.setVar('DOCKIN_STEMS', ' '.join(reference.stem for reference in references))
    d.setVar('SYSTEMD_SERVICE:%s-preload' % pn, ' '.join(units))
    if d.getVar('DOCKIN_FETCH_SBOM') != '0':
        bb.build.addtask('do_deploy', 'do_build', 'do_compile', d)
}

dockin_do_compile () {
    for stem in ${DOCKIN_STEMS}; do
        ${DOCKIN_COMPRESSION_CMD} "${S}/$stem.tar" > "${B}/$stem${DOCKIN_ARCHIVE_SUFFIX}"
    done
}

# Writes an information file and a unit for each archive.
python dockin_write_descriptions () {
    archives = dockin.target.packaged.Archives(
        unpacked=d.getVar('S'),
        build=d.getVar('B'),
        installed=d.getVar('docker_archivedir'),
        suffix=d.getVar('DOCKIN_ARCHIVE_SUFFIX'),
        compression=d.getVar('COMPRESSION_TYPE'),
        external=dockin_is_external(d),
    )
    preload = dockin.target.units.Preload(
        runtime=dockin.target.runtimes.parse(d.getVar('DOCKIN_RUNTIME')),
        data_root=d.getVar('DOCKIN_DATAROOT_DIR'),
        image_store=d.getVar('DOCKIN_IMAGESTORE_DIR'),
        flush=bb.utils.to_boolean(d.getVar('DOCKIN_PRELOAD_FLUSH')),
        prune=bb.utils.to_boolean(d.getVar('DOCKIN_PRELOAD_PRUNE')),
        keep_previous=bb.utils.to_boolean(d.getVar('DOCKIN_PRELOAD_KEEP_PREVIOUS')),
        helper=d.expand('${bindir}/dockin-preload'),
    )
    try:
        for information in dockin.target.packaged.write(archives, dockin_references(d), preload):
            bb.note(dockin.target.space.describe(information))
    except dockin.errors.DockinError as error:
        bb.fatal(str(error))
}
do_compile[postfuncs] += "dockin_write_descriptions"

dockin_do_install () {
    install -d ${D}${docker_archivedir} ${D}${systemd_system_unitdir}
    for stem in ${DOCKIN_STEMS}; do
        install -m 0644 "${B}/$stem${DOCKIN_ARCHIVE_SUFFIX}" "${B}/$stem.image" ${D}${docker_archivedir}/
    done
    for unit in ${SYSTEMD_SERVICE:${PN}-preload}; do
        install -m 0644 "${B}/$unit" ${D}${systemd_system_unitdir}/
    done
    dockin_install_sboms ${D}${DOCKIN_SBOMDIR}
}

# For bitbake-layers dockin-status, which finds it there also where the work directory is gone, or was another host's.
dockin_write_pkgdata () {
    install -d ${PKGDESTWORK}/dockin/${PN}
    for stem in ${DOCKIN_STEMS}; do
        install -m 0644 "${B}/$stem.image" ${PKGDESTWORK}/dockin/${PN}/
    done
}
PACKAGEFUNCS += "dockin_write_pkgdata"

# In this task another budget or store costs no other build, and is checked also where the packages come from sstate.
python dockin_check_budget () {
    planned = dockin.target.space.plan_images(
        dockin_packaged_images(d), bb.utils.to_boolean(d.getVar('DOCKIN_PRELOAD_FLUSH')), d.getVar('DOCKIN_RUNTIME_STORE'))
    bb.note(dockin.target.space.describe_plan(planned))
    error = dockin.target.space.budget_error(planned, d.getVar('DOCKIN_SIZE_BUDGET'))
    if error:
        bb.fatal(error)
}
do_package_qa[postfuncs] += "dockin_check_budget"
do_package_qa[file-checksums] += "${@dockin_code('image/* target/*', d)}"

# An upgrade runs no scripts of the old package's (see below): units that only that has would be left as running, failed or
# enabled. What they are stands in its preset file, which at this moment is still there with all three package managers.
pkg_preinst:${PN}-preload () {
    presets=${systemd_unitdir}/system-preset/98-${PN}-preload.preset
    if [ -z "$D" ] && [ -f "$presets" ] && systemctl >/dev/null 2>/dev/null; then
        while read -r _ unit; do
            case " ${SYSTEMD_SERVICE:${PN}-preload} " in
            *" $unit "*) continue ;;
            esac
            systemctl --quiet disable --now "$unit" || true
            systemctl reset-failed "$unit" 2>/dev/null || true
        done < "$presets"
    fi
}

# systemd.bbclass stops and disables the units, but one that failed would stay known to systemd as such. Images stay, since
# containers may use them. OE-core keeps dpkg and rpm from running this in an upgrade, but not opkg: services that require
# a unit would stop with it, and stay so when it is started again.
pkg_prerm:${PN}-preload () {
    [ "$1" != upgrade ] || exit 0
    if [ -z "$D" ] && systemctl >/dev/null 2>/dev/null; then
        systemctl reset-failed ${SYSTEMD_SERVICE:${PN}-preload} 2>/dev/null || true
    fi
}

# The task is a user's own, or one that does no more than what dockin-sbom adds.
dockin_do_deploy () {
    :
}

EXPORT_FUNCTIONS do_compile do_install do_deploy
