# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Part of the class dockin: fetches, packages and deploys the bills of materials attached to the images, if DOCKIN_FETCH_SBOM
# requests them, and adds the images to the SPDX documents of create-spdx.

inherit dockin-code

DOCKIN_FETCH_SBOM ?= "0"
DOCKIN_FETCH_SBOM[doc] = "Whether to fetch bills of materials that are attached to the images in the registry: 0 (no), 1 (if \
there are any) or require (an image without one is an error). SRC_URI[<name>.sbom] pins those that the image's pin does not cover."

DOCKIN_SBOM_SUBDIR = "${@dockin.fetch.unpacking.SBOM_SUBDIR}"
DOCKIN_SBOM_SUBDIR[doc] = "Directory of attached bills of materials in DOCKIN_IMAGEDIR, where do_unpack writes them."

PACKAGES =+ "${@'' if d.getVar('DOCKIN_FETCH_SBOM') == '0' else '${PN}-sbom'}"
DOCKIN_SBOMDIR = "${docker_archivedir}/sbom"
DOCKIN_SBOMDIR[doc] = "Directory of the package ${PN}-sbom for bills of materials on the target."
FILES:${PN}-sbom = "${DOCKIN_SBOMDIR}"
# The package has foreign texts, in which no tool needs to look for programs and their dependencies.
SKIP_FILEDEPS:${PN}-sbom = "1"
SUMMARY:${PN}-sbom ?= "${SUMMARY} (bills of materials)"

# Copies the images' bills of materials, if there are any, into a directory.
dockin_install_sboms () {
    if [ -d "${S}/${DOCKIN_SBOM_SUBDIR}" ]; then
        install -d "$1"
        install -m 0644 "${S}/${DOCKIN_SBOM_SUBDIR}"/* "$1"
    fi
}

inherit_defer ${@'' if d.getVar('DOCKIN_FETCH_SBOM') == '0' else 'deploy'}
dockin_deploy_sboms () {
    dockin_install_sboms ${DEPLOYDIR}/dockin-sbom/${PN}
}
do_deploy[postfuncs] += "dockin_deploy_sboms"

# create-spdx knows only a package's files: this adds the images in them to the documents that it has written.
python dockin_name_images_in_spdx () {
    import dockin.sbom.elements
    import os
    import pathlib

    found = {}
    if dockin_is_external(d):
        found = {image.archive: dockin.sbom.elements.from_source_tree(image) for image in dockin_packaged_images(d)}
    else:
        for stem in d.getVar('DOCKIN_STEMS').split():
            image = dockin.target.unpacked.read(d.getVar('DOCKIN_IMAGEDIR') + '/' + stem + dockin.target.unpacked.SUFFIX)
            found[stem + d.getVar('DOCKIN_ARCHIVE_SUFFIX')] = dockin.sbom.elements.from_registry(image)
    bb.build.exec_func('read_subpackage_metadata', d)
    for package in d.getVar('PACKAGES').split():
        installed = pathlib.Path(d.getVar('PKGDEST'), package + d.getVar('docker_archivedir'))
        elements = [element for archive, element in found.items() if os.path.lexists(installed / archive)]
        if not elements:
            continue
        name = d.getVar('PKG:' + package) or package
        if bb.data.inherits_class('create-spdx-2.2', d):
            dockin_name_in_spdx_22(name, elements, d)
        else:
            dockin_name_in_spdx_30(name, elements, d)
}
dockin_name_images_in_spdx[vardepsexclude] += "PKGDEST"
do_create_spdx[postfuncs] += "dockin_name_images_in_spdx"
do_create_spdx[file-checksums] += "${@dockin_code('image/* recipe/source sbom/*', d)}"
do_create_spdx[file-checksums] += "${@dockin_code('target/imageinfo target/runtimes target/unpacked', d)}"

def dockin_name_in_spdx_22(name, elements, d):
    """Add elements to the document of a package."""
    import dockin.sbom.spdx22
    import oe.sbom
    import pathlib

    path = oe.sbom.doc_path(pathlib.Path(d.getVar('SPDXDEPLOY')), name, d.getVar('SSTATE_PKGARCH'), 'packages')
    with dockin.sbom.spdx22.changed(path, get_json_indent(d)) as document:
        dockin.sbom.spdx22.add_images(document, name, elements)

dockin_name_in_spdx_22[vardepsexclude] += "SPDXDEPLOY"

def dockin_name_in_spdx_30(name, elements, d):
    """Add elements to the document of a package."""
    import dockin.sbom.spdx30

    with dockin.sbom.spdx30.changed(
            d, d.getVar('SPDXDEPLOY'), d.getVar('SSTATE_PKGARCH'), 'packages-staging', 'package-' + name) as document:
        dockin.sbom.spdx30.add_images(document, name, elements)

dockin_name_in_spdx_30[vardepsexclude] += "SPDXDEPLOY"
