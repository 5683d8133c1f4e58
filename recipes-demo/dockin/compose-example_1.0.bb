# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT

SUMMARY = "Two containers that Docker Compose starts once their images are loaded"
DESCRIPTION = "A web server and a probe that asks it, each from its own image. A recipe can have any number of \
images, and other files."
HOMEPAGE = "https://hub.docker.com/_/busybox"
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/GPL-2.0-only;md5=801f80980d171dd6425610833a22dbe6"

# The recipe has no version: each image has its own.
UPSTREAM_VERSION_UNKNOWN = "1"

inherit dockin

SRC_URI = " \
    docker://docker.io/library/busybox;tag=1.37.0;name=web \
    docker://docker.io/library/busybox;tag=1.36.1;name=probe \
    file://compose.yml \
    file://compose-example.service \
"
SRC_URI[web.sha256sum] = "9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0"
SRC_URI[probe.sha256sum] = "73aaf090f3d85aa34ee199857f03fa3a95c8ede2ffd4cc2cdb5b94e566b11662"

# The directory of local files after do_unpack: scarthgap has no UNPACKDIR.
COMPOSE_FILES = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

do_install:append () {
    install -d ${D}${datadir}/compose-example
    install -m 0644 ${COMPOSE_FILES}/compose.yml ${D}${datadir}/compose-example/
    install -m 0644 ${COMPOSE_FILES}/compose-example.service ${D}${systemd_system_unitdir}/
    sed -i -e 's|@datadir@|${datadir}|' ${D}${systemd_system_unitdir}/compose-example.service
}

SYSTEMD_PACKAGES += "${PN}"
SYSTEMD_SERVICE:${PN} = "compose-example.service"
# Its service requires the units of the preload.
RDEPENDS:${PN} += "${PN}-preload"
# meta-virtualization has it. A package that no layer provides cannot be recommended.
RRECOMMENDS:${PN} += "${@bb.utils.contains('BBFILE_COLLECTIONS', 'virtualization-layer', 'docker-compose', '', d)}"
