# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT

SUMMARY = "Loads the Docker images of the root filesystem on the target"
DESCRIPTION = "The command that the preload units of packages made with dockin.bbclass call: it loads an image \
archive into Docker where the image is not there yet, and removes the archive when the image is on the disk. \
Also the target dockin-preload.target, which other units can be ordered after."
SECTION = "admin"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "file://dockin-preload file://dockin-preload.target"

inherit allarch systemd

# Where do_unpack puts local files: scarthgap has no UNPACKDIR, later releases refuse WORKDIR as S.
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${bindir} ${D}${systemd_system_unitdir}
    install -m 0755 ${S}/dockin-preload ${D}${bindir}/
    install -m 0644 ${S}/dockin-preload.target ${D}${systemd_system_unitdir}/
    sed -i -e 's|/usr/share/dockin/archive|${docker_archivedir}|' \
        ${D}${bindir}/dockin-preload ${D}${systemd_system_unitdir}/dockin-preload.target
}

SYSTEMD_SERVICE:${PN} = "dockin-preload.target"
FILES:${PN} += "${systemd_system_unitdir}/dockin-preload.target"

# No RDEPENDS on Docker: which recipe provides it is the distribution's choice, and this package has one hash for
# all machines.
