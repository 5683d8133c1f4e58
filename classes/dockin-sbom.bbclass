# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Part of the class dockin: the bills of materials that are attached to the images, which are fetched, packaged and deployed
# where they are wanted; and the images in the bills of materials that create-spdx writes.

inherit dockin-code

DOCKIN_FETCH_SBOM ?= "0"
DOCKIN_FETCH_SBOM[doc] = "Whether bills of materials that are attached to the images in the registry are fetched with them: 0; \
1, as far as there are any; require, an image without one is an error. SRC_URI[<name>.sbom] pins those that a pin does not cover."

DOCKIN_SBOM_SUBDIR = "${@dockin.fetch.unpacking.SBOM_SUBDIR}"
DOCKIN_SBOM_SUBDIR[doc] = "Below DOCKIN_IMAGEDIR, where do_unpack puts the bills of materials that are attached to images."

PACKAGES =+ "${@'' if d.getVar('DOCKIN_FETCH_SBOM') == '0' else '${PN}-sbom'}"
DOCKIN_SBOMDIR = "${docker_archivedir}/sbom"
DOCKIN_SBOMDIR[doc] = "Where on the target the package ${PN}-sbom has bills of materials."
FILES:${PN}-sbom = "${DOCKIN_SBOMDIR}"
# Texts of others, in which no tool needs to look for programs and their dependencies.
SKIP_FILEDEPS:${PN}-sbom = "1"
SUMMARY:${PN}-sbom ?= "${SUMMARY} (bills of materials)"

# Copies the bills of materials of the images, if there are any, into a directory.
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

# create-spdx knows a package's files; what they are images of is added to the documents that it has just written.
python dockin_name_images_in_spdx () {
    import dockin.sbom.elements
    import os
    import pathlib

    found = {}
    if dockin_is_external(d):
        found = {image.archive: dockin.sbom.elements.of_ones_own(image) for image in dockin_packaged_images(d)}
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
