# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Installs Docker images from registries as compressed archives, which a systemd unit loads into Docker on first boot.
#
#   inherit dockin
#   SRC_URI = "docker://docker.io/library/busybox;tag=1.36.1"
#   SRC_URI[sha256sum] = "<the index digest's 64 hex digits>"
#
# With several images, give each a ;name=, and pin it by SRC_URI[<name>.sha256sum]. Other entries of SRC_URI are fetched and
# unpacked as usual; a do_install:append of the recipe installs them.
#
# Packages: ${PN} has the archives and recommends ${PN}-preload, which has the units. ${PN}-sbom has the bills of materials
# attached to the images, if they are fetched.
# Each variable's [doc] explains it; docs/reference.md has tables of them.

inherit systemd dockin-code dockin-sbom

DOCKIN_PLATFORM ?= "${@dockin_target_platform(d)}"
DOCKIN_PLATFORM[doc] = "Platform of the images, as os/architecture[/variant]; by default that of the target's tune. \
A ;platform= in SRC_URI overrides it."
# The tasks' hashes depend only on the result, not on the machine and tune.
DOCKIN_PLATFORM[vardepvalue] = "${DOCKIN_PLATFORM}"

DOCKIN_PIN ?= "warn"
DOCKIN_PIN[doc] = "What to do about unpinned images: warn (print the lines to add), require (an error), or ignore. With \
BB_STRICT_CHECKSUM = ignore, as set by devtool upgrade, the value counts as ignore."
# If a pin becomes required, images that were fetched without one are fetched again, and refused.
DOCKIN_PIN[vardepvalue] = "${@dockin_missing_pin(d)}"

DOCKIN_LICENSE_ACCEPTED[doc] = "Patterns of repositories, such as docker.io/library/*, whose images may be shipped; recipes with \
other images are skipped. '*' matches any text without a '/', '**' any text. If it is unset, all images are accepted."

DOCKIN_LAYERS ?= "decompressed"
DOCKIN_LAYERS[doc] = "Layers in the archive: decompressed (smallest after the archive's compression), or registry \
(unchanged, so that Docker's containerd store knows the image by the registry's digest)."

DOCKIN_AUTHFILE[doc] = "Login file for the registry; by default that of skopeo login or docker login."
DOCKIN_CERT_DIR[doc] = "Directory with CA (*.crt), client certificate (*.cert) and key (*.key) for the registry."
DOCKIN_TLS_VERIFY[doc] = "Set to 0 for registries without TLS or with a self-signed certificate."
DOCKIN_POLICY[doc] = "A containers-policy.json, which states the signatures that images need; by default the host's."
DOCKIN_REGISTRIES_CONF[doc] = "A containers-registries.conf with mirrors and insecure registries; by default the host's."
DOCKIN_REGISTRIES_D[doc] = "A directory of containers-registries.d files, which state where signatures are; by default the host's."
DOCKIN_FETCH_TIMEOUT[doc] = "Seconds without progress after which a fetch fails; 300 by default."
DOCKIN_FETCH_RETRIES[doc] = "Retries of a fetch after a temporary fault; 3 by default."
DOCKIN_RESOLVER[doc] = "How the tools look tags up: http (own requests), skopeo, or auto (own requests, and skopeo to confirm an \
error); also from the environment. Images are always fetched by skopeo."

COMPRESSION_TYPE ?= "xz"
COMPRESSION_TYPE[doc] = "Compression of the archives: xz, zstd, gzip, none, or your own type with a COMPRESSION_CMD:<type> that \
writes one of these formats or bzip2: targets read no others."
COMPRESSION_CMD[doc] = "COMPRESSION_CMD:<type> is the command that compresses the file in its last argument to standard output."
COMPRESSION_CMD:xz ?= "xz -f -k -9 -T0 -c"
COMPRESSION_CMD:zstd ?= "zstd -f -k -q -19 -T0 -c"
COMPRESSION_CMD:gzip ?= "gzip -f -k -9 -n -c"
COMPRESSION_CMD:none ?= "cat"
COMPRESSION_RDEPENDS[doc] = "COMPRESSION_RDEPENDS:<type> are the packages that docker load needs to read such an archive."
# dockerd runs the program xz; it reads gzip itself, and zstd since Docker 23. containerd reads only uncompressed archives;
# busybox has gzip.
COMPRESSION_RDEPENDS:xz ?= "xz"
COMPRESSION_RDEPENDS:zstd ?= "${@'zstd' if d.getVar('DOCKIN_RUNTIME') == 'containerd' else ''}"
COMPRESSION_RDEPENDS:gzip ?= ""
COMPRESSION_RDEPENDS:none ?= ""

DOCKIN_PRELOAD_FLUSH ?= "1"
DOCKIN_PRELOAD_FLUSH[doc] = "Whether the archive is removed from the target after its image is loaded: 1 or 0."
DOCKIN_PRELOAD_PRUNE ?= "0"
DOCKIN_PRELOAD_PRUNE[doc] = "Whether an image loaded by a preload is removed after another is loaded under its name, if no \
container uses it: 1 or 0."
DOCKIN_PRELOAD_KEEP_PREVIOUS ?= "0"
DOCKIN_PRELOAD_KEEP_PREVIOUS[doc] = "With DOCKIN_PRELOAD_PRUNE, whether the previous image is kept for a rollback: 1 or 0."

DOCKIN_SIZE_BUDGET ?= ""
DOCKIN_SIZE_BUDGET[doc] = "The most space that the images of a recipe may need on the target, in bytes, or in KiB, MiB or GiB with \
the suffix K, M or G: all installed archives, and the peak of the data-root while images are loaded one after another and flushed \
archives are removed. It is counted for the store of DOCKIN_RUNTIME and DOCKIN_RUNTIME_STORE. A recipe that needs more fails in \
do_package_qa. If it is empty, there is no limit."

# The command and packages of the chosen type. BitBake does not see which variable getVar() reads: the tasks' hashes need the
# values.
DOCKIN_COMPRESSION_CMD = "${@d.getVar('COMPRESSION_CMD:' + d.getVar('COMPRESSION_TYPE')) or ''}"
DOCKIN_COMPRESSION_CMD[vardepvalue] = "${DOCKIN_COMPRESSION_CMD}"
DOCKIN_COMPRESSION_CMD[doc] = "The command of the chosen COMPRESSION_TYPE; set COMPRESSION_CMD:<type> instead."
DOCKIN_COMPRESSION_RDEPENDS = "${@d.getVar('COMPRESSION_RDEPENDS:' + d.getVar('COMPRESSION_TYPE')) or ''}"
DOCKIN_COMPRESSION_RDEPENDS[vardepvalue] = "${DOCKIN_COMPRESSION_RDEPENDS}"
DOCKIN_COMPRESSION_RDEPENDS[doc] = "The packages of the chosen COMPRESSION_TYPE; set COMPRESSION_RDEPENDS:<type> instead."
DOCKIN_ARCHIVE_SUFFIX = ".tar${@dockin_compression_suffix(d)}"
DOCKIN_ARCHIVE_SUFFIX[vardepvalue] = "${DOCKIN_ARCHIVE_SUFFIX}"
DOCKIN_ARCHIVE_SUFFIX[doc] = "Suffix of the archives, derived from COMPRESSION_TYPE."
DOCKIN_REFERENCES[doc] = "The images with registry and tag, derived from SRC_URI by the class."
DOCKIN_STEMS[doc] = "Names of the archives without suffix, derived from SRC_URI by the class."

# scarthgap has no UNPACKDIR, and does not clean WORKDIR, into which it unpacks.
DOCKIN_IMAGEDIR = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}/${@dockin.dockerfetcher.UNPACK_SUBDIR}"
DOCKIN_IMAGEDIR[doc] = "Directory into which do_unpack writes the archives."
do_unpack[cleandirs] += "${DOCKIN_IMAGEDIR}"
S = "${DOCKIN_IMAGEDIR}"
B = "${WORKDIR}/build"

# Nothing is compiled or linked. Archives are no sources of other recipes, and an image's contents have their own CVEs.
INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
SYSROOT_DIRS = ""
CVE_PRODUCT ?= ""

PACKAGES =+ "${PN}-preload"
SYSTEMD_PACKAGES = "${PN}-preload"
FILES:${PN} += "${docker_archivedir}"
SUMMARY:${PN}-preload ?= "${SUMMARY} (loaded into Docker on first boot)"
# The same version: if only one of both were upgraded, the unit would not be restarted for the new archive.
RDEPENDS:${PN}-preload += "${PN} (= ${EXTENDPKGV}) dockin-preload ${DOCKIN_COMPRESSION_RDEPENDS}"
# Recommended: BAD_RECOMMENDATIONS or PACKAGE_EXCLUDE can leave out Docker or the preload.
RRECOMMENDS:${PN} += "${@bb.utils.contains('DISTRO_FEATURES', 'systemd', '${PN}-preload', '', d)}"
RRECOMMENDS:${PN}-preload += "${DOCKIN_RUNTIME_PACKAGES}"

do_fetch[vardeps] += "DOCKIN_PLATFORM DOCKIN_PIN DOCKIN_FETCH_SBOM"
do_fetch[file-checksums] += "${@dockin_code('image/platforms', d)}"
do_unpack[vardeps] += "DOCKIN_PLATFORM DOCKIN_LAYERS DOCKIN_FETCH_SBOM"
do_unpack[file-checksums] += "${@dockin_code('image/* target/unpacked recipe/source fetch/pins fetch/unpacking \
    dockerfetcher defaults', d)}"
do_compile[file-checksums] += "${@dockin_code('image/* target/*', d)}"
# scarthgap does not have xz in its HOSTTOOLS.
do_compile[depends] += "${@dockin_compressor_depends(d)}"
do_compile[cleandirs] = "${B}"
do_configure[noexec] = "1"

def dockin_target_platform(d):
    """Return the target's platform, "" if there is none."""
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
    """Return require if a required pin is missing, else ""."""
    if d.getVar('DOCKIN_PIN') != 'require' or all(source.reference.digest for source in dockin_sources(d)):
        return ''
    return 'require'

def dockin_compressor_depends(d):
    """Return the task that provides xz, if the command is xz and the host's may not be used."""
    command = d.getVar('DOCKIN_COMPRESSION_CMD').split()
    if 'xz' not in command[:1] or 'xz' in d.getVar('HOSTTOOLS').split():
        return ''
    return 'xz-native:do_populate_sysroot'

def dockin_compression_suffix(d):
    """Return the suffix of the compression, "" for none."""
    kind = d.getVar('COMPRESSION_TYPE')
    return {'none': '', 'gzip': '.gz', 'zstd': '.zst'}.get(kind, '.' + kind)

def dockin_references(d):
    """Return the references of the recipe's images, without their pins."""
    return [dockin.image.reference.parse(text) for text in d.getVar('DOCKIN_REFERENCES').split()]

def dockin_is_external(d):
    """Tell whether the archives are in a source tree of devtool, where users can replace them."""
    return bb.data.inherits_class('externalsrc', d) and bool(d.getVar('EXTERNALSRC'))

def dockin_packaged_images(d):
    """Return the content of the recipe's packaged image information files."""
    folder, stems = d.expand('${PKGDATA_DIR}/dockin/${PN}/'), d.getVar('DOCKIN_STEMS').split()
    return [dockin.target.imageinfo.read(folder + stem + dockin.target.imageinfo.SUFFIX) for stem in stems]

dockin_packaged_images[vardepsexclude] += "PKGDATA_DIR"

# Errors in entries are reported at parse time, before base.bbclass reads the entries with bb.fetch2.URI, which takes the tag of
# docker://busybox:1.36 for a port, and names no remedy.
addhandler dockin_check_src_uri
dockin_check_src_uri[eventmask] = "bb.event.RecipePreFinalise"
python dockin_check_src_uri () {
    try:
        dockin_sources(e.data)
    except dockin.errors.DockinError as error:
        bb.fatal("%s: %s" % (e.data.getVar('PN'), error))
}

# package_rpm.bbclass copies these texts unchanged into its spec file. A recipe may have them from an image's labels: versions of
# devtool add-docker before this check kept a '%'. No other code can change the values after this event.
addhandler dockin_check_package_texts
dockin_check_package_texts[eventmask] = "bb.event.RecipeParsed"
python dockin_check_package_texts () {
    try:
        # SUMMARY first, because the defaults of others contain it.
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
        # externalsrc, inherited before or after, empties SRC_URI, except for an entry that devtool modify has marked.
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

# For bitbake-layers dockin-status, which reads them here even without the work directory, or if it was another host's.
dockin_write_pkgdata () {
    install -d ${PKGDESTWORK}/dockin/${PN}
    for stem in ${DOCKIN_STEMS}; do
        install -m 0644 "${B}/$stem.image" ${PKGDESTWORK}/dockin/${PN}/
    done
}
PACKAGEFUNCS += "dockin_write_pkgdata"

# In this task, another budget or store reruns no other task, and packages from sstate are checked as well.
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

# An upgrade runs no scripts of the old package (see below): units that only the old package has would stay running, failed or
# enabled. Its preset file lists them, and still exists at this moment with all three package managers.
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

# systemd.bbclass stops and disables the units, but systemd would still list a failed one. Images stay, because containers may
# use them. OE-core prevents this script in upgrades by dpkg and rpm, but not by opkg: services that require a unit would stop
# with it, and stay stopped when it is started again.
pkg_prerm:${PN}-preload () {
    [ "$1" != upgrade ] || exit 0
    if [ -z "$D" ] && systemctl >/dev/null 2>/dev/null; then
        systemctl reset-failed ${SYSTEMD_SERVICE:${PN}-preload} 2>/dev/null || true
    fi
}

# Empty: dockin-sbom and users add to the task.
dockin_do_deploy () {
    :
}

EXPORT_FUNCTIONS do_compile do_install do_deploy
