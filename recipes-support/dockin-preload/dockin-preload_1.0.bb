# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT

SUMMARY = "Loads the Docker images of the root filesystem on the target"
DESCRIPTION = "The command of the preload units that dockin.bbclass packages: it loads an image archive into Docker \
if the image is missing, and removes the archive after the image is on the disk. The package also has \
dockin-preload.target, after which other units can be ordered, and drop-ins that make the runtime wait until its \
data-root is mounted."
SECTION = "admin"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

# The parts of the command, joined by do_compile in the order of their names.
SRC_URI = "file://dockin-preload file://dockin-preload.target"

inherit allarch systemd

# OE-core's recipe volatile-binds mounts these on a read-only root. Set the variable in the configuration, for both recipes.
VOLATILE_BINDS ?= "\
    ${localstatedir}/volatile/lib ${localstatedir}/lib\n\
    ${localstatedir}/volatile/cache ${localstatedir}/cache\n\
    ${localstatedir}/volatile/spool ${localstatedir}/spool\n\
    ${localstatedir}/volatile/srv /srv\n\
"

# Where do_unpack puts local files: scarthgap has no UNPACKDIR, later releases refuse WORKDIR as S.
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

B = "${WORKDIR}/build"

do_configure[noexec] = "1"

python () {
    try:
        dockin.target.runtimes.parse(d.getVar('DOCKIN_RUNTIME'))
        for variable in ('DOCKIN_DATAROOT_DIR', 'DOCKIN_IMAGESTORE_DIR'):
            dockin.target.units.check_directory(variable, d.getVar(variable) or '')
    except dockin.errors.DockinError as error:
        bb.fatal("%s: %s" % (d.getVar('PN'), error))
}

python do_compile () {
    import pathlib

    build = pathlib.Path(d.getVar('B'))
    parts = sorted(pathlib.Path(d.getVar('S'), 'dockin-preload').glob('*.sh'))
    (build / 'dockin-preload').write_text(''.join(part.read_text() for part in parts))
    runtime = dockin.target.runtimes.parse(d.getVar('DOCKIN_RUNTIME'))
    waiting = dockin.target.runtimes.waiting_services(runtime, d.getVar('DOCKIN_DATAROOT_DIR'))
    drop_ins = {service: dockin.target.units.render_drop_in(directory) for service, directory in waiting.items()}
    for directory in (*waiting.values(), d.getVar('DOCKIN_DATAROOT_DIR'), d.getVar('docker_archivedir')):
        drop_ins.update(dockin.target.units.render_mount_drop_ins(directory, d.getVar('VOLATILE_BINDS')))
    for unit, text in drop_ins.items():
        drop_in = build / (unit + '.d') / dockin.target.units.DROP_IN
        drop_in.parent.mkdir()
        drop_in.write_text(text)
}
do_compile[cleandirs] = "${B}"
do_compile[file-checksums] += "${DOCKIN_LAYERDIR}/lib/./dockin/image/reference.py:True \
    ${DOCKIN_LAYERDIR}/lib/./dockin/target/*.py:True"

do_install() {
    install -d ${D}${bindir} ${D}${systemd_system_unitdir}
    install -m 0755 ${B}/dockin-preload ${D}${bindir}/
    install -m 0644 ${S}/dockin-preload.target ${D}${systemd_system_unitdir}/
    for folder in ${B}/*.service.d ${B}/*.mount.d; do
        [ -d "$folder" ] || continue
        install -d "${D}${systemd_system_unitdir}/${folder##*/}"
        install -m 0644 "$folder"/*.conf "${D}${systemd_system_unitdir}/${folder##*/}/"
    done
    sed -i -e 's|/usr/share/dockin/archive|${docker_archivedir}|' \
        -e 's|/usr/lib/containers/storage|${DOCKIN_IMAGESTORE_DIR}|' \
        ${D}${bindir}/dockin-preload ${D}${systemd_system_unitdir}/dockin-preload.target
}

SYSTEMD_SERVICE:${PN} = "dockin-preload.target"
FILES:${PN} += "${systemd_system_unitdir}/dockin-preload.target ${systemd_system_unitdir}/*.service.d \
    ${systemd_system_unitdir}/*.mount.d"

# As for the images' units in dockin.bbclass: in an upgrade, opkg must not stop units that require the target.
pkg_prerm:${PN} () {
    [ "$1" != upgrade ] || exit 0
}

# systemd has to forget the removed drop-ins.
pkg_postrm:${PN} () {
    if [ -z "$D" ] && systemctl >/dev/null 2>/dev/null; then
        systemctl daemon-reload
    fi
}

# No RDEPENDS on Docker: the distribution chooses the recipe that provides it, and this package has one hash for
# all machines.
