# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The configuration and the stand-in recipes of the OE test bed (support.oe says what they are for)."""

from __future__ import annotations

# Native recipes that are not built: the host's tools do, or nothing that we build calls them.
ASSUME_PROVIDED = (
    "binutils-cross-${TARGET_ARCH} buildtools-tarball cross-localedef-native depmodwrapper-cross dosfstools-native"
    " dpkg-native dwarfsrcfiles-native e2fsprogs-native erofs-utils-native gptfdisk-native gzip-native makedevs-native"
    " meta-extsdk-toolchain mtools-native nativesdk-glibc-locale nativesdk-qemuwrapper-cross opkg-native"
    " parted-native patch-native patch-replacement-native pigz-native qemu-helper-native"
    " qemu-system-native qemuwrapper-cross quilt-native rpm-native squashfs-tools-native syslinux syslinux-native"
    " systemd-systemctl-native systemd-tools-native tar-replacement-native"
    " update-rc.d-native virtual/${TARGET_PREFIX}binutils virtual/cross-binutils virtual/update-alternatives-native"
    " zstd-native"
)

# Packages of the target that recipes of this layer and of its tests need at run time: OE-core's, meta-virtualization's.
TARGET_PACKAGES = ("busybox", "bzip2", "ca-certificates", "gzip", "lz4", "systemd", "xz", "zstd")
VIRTUALIZATION_PACKAGES = ("docker", "docker-compose", "docker-moby", "podman", "virtual-containerd")

LOCAL_CONF = """
MACHINE ?= "qemux86-64"
DISTRO ?= "nodistro"
INIT_MANAGER = "systemd"
PACKAGE_CLASSES = "package_deb"
DL_DIR = "@DOWNLOADS@"
SSTATE_DIR = "${TOPDIR}/sstate"
TMPDIR = "${TOPDIR}/tmp"
BB_NUMBER_THREADS = "2"
BB_NUMBER_PARSE_THREADS = "2"

# No look at the internet, and no download of a C library for native tools that are not built.
CONNECTIVITY_CHECK_URIS = ""
INHERIT:remove = "uninative"
"""

STAND_IN_CONF = """
# Nothing is compiled: the host's tools serve.
BBMASK += "@MASK@"
BBFILE_PATTERN_IGNORE_EMPTY_core = "1"
ASSUME_PROVIDED += "@ASSUME_PROVIDED@"
HOSTTOOLS += "apt-ftparchive apt-get dpkg dpkg-deb dpkg-query dpkg-scanpackages dpkg-split"
HOSTTOOLS += "rpm rpmbuild"
HOSTTOOLS += "debugfs dumpe2fs fsck.ext4 mkfs.erofs mkfs.ext4 mksquashfs parted sfdisk sgdisk"
SKIP_FILEDEPS = "1"

# Images without kernel, dynamic linker's cache and scripts of packages that are left for the first boot.
KERNELDEPMODDEPEND = ""
KERNEL_DEPLOY_DEPEND = ""
LDCONFIGDEPEND = ""
USE_DEPMOD = "0"
ROOTFS_BOOTSTRAP_INSTALL:forcevariable = ""
# Nor SDKs.
TOOLCHAIN_HOST_TASK = ""
TOOLCHAIN_TARGET_TASK = ""
TOOLCHAIN_HOST_TASK_ESDK:forcevariable = ""

# The host's pseudo finds its library by itself.
FAKEROOTCMD = "@PSEUDO@"
FAKEROOTBASEENV:remove = "PSEUDO_BINDIR=${PSEUDO_SYSROOT}${bindir_native}"
FAKEROOTBASEENV:remove = "PSEUDO_LIBDIR=${PSEUDO_SYSROOT}${prefix_native}/lib/pseudo/lib"
FAKEROOTBASEENV:remove = "PSEUDO_PREFIX=${PSEUDO_SYSROOT}${prefix_native}"
FAKEROOTENV:remove = "PSEUDO_PREFIX=${PSEUDO_SYSROOT}${prefix_native}"
# Since wrynose, OE-core tells pseudo what to follow, which Debian's is too old for: it is told what not to
# follow, as scarthgap does. It would meet files that were replaced behind its back, and abort.
PSEUDO_IGNORE_PATHS ?= "/usr/,/etc/,/lib,/dev/,/run/,${T},${WORKDIR}/recipe-sysroot,${STAMPS_DIR},${DEPLOY_DIR},\
${SSTATE_DIR},${TMPDIR}/sstate-control,${TMPDIR}/buildstats,${TMPDIR}/sysroots-components,${TMPDIR}/pkgdata,\
${WORKDIR}/deploy-,${WORKDIR}/sstate-build-package_,${WORKDIR}/sstate-install-package_,${WORKDIR}/pkgdata-sysroot,\
${WORKDIR}/sources,${WORKDIR}/intercept_scripts,${WORKDIR}/oe-rootfs-repo,${WORKDIR}/sstate-build-image_complete,\
${WORKDIR}/build-wic,${TOPDIR}/cache,${COREBASE}/scripts"
FAKEROOTBASEENV:append = " PSEUDO_IGNORE_PATHS=${@oe.path.canonicalize(d.getVar('PSEUDO_IGNORE_PATHS'))}"
FAKEROOTENV:append = " PSEUDO_IGNORE_PATHS=${@oe.path.canonicalize(d.getVar('PSEUDO_IGNORE_PATHS'))}"
"""

# Lines of local.conf for one series alone. scarthgap would append "-glibc" to TMPDIR.
QUIRKS = {"scarthgap": 'TCLIBCAPPEND = ""'}

BBLAYERS_CONF = """
LCONF_VERSION = "7"
BBPATH = "${TOPDIR}"
BBFILES ?= ""
BBLAYERS = "@LAYERS@"
"""

LAYER_CONF = """
BBPATH .= ":${LAYERDIR}"
BBFILES += "${LAYERDIR}/recipes-*/*/*.bb ${LAYERDIR}/recipes-*/*/*.bbappend"
BBFILE_COLLECTIONS += "dockin-test-bed"
BBFILE_PATTERN_dockin-test-bed = "^${LAYERDIR}/"
BBFILE_PRIORITY_dockin-test-bed = "10"
BBFILE_PATTERN_IGNORE_EMPTY_dockin-test-bed = "1"
LAYERSERIES_COMPAT_dockin-test-bed = "@SERIES@"
"""

VIRTUALIZATION_CONF = """
BBFILE_COLLECTIONS += "virtualization-layer"
BBFILE_PATTERN_virtualization-layer = "^${LAYERDIR}/recipes-virtualization/"
BBFILE_PRIORITY_virtualization-layer = "8"
LAYERSERIES_COMPAT_virtualization-layer = "@SERIES@"
"""

LICENCE = """
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"
"""

# A provider must exist, but none of its tasks: the program is FAKEROOTCMD.
PSEUDO_RECIPE = """
SUMMARY = "Stands for the host's pseudo"
INHIBIT_DEFAULT_DEPS = "1"
PROVIDES = "virtual/fakeroot-native"
inherit native nopackages
deltask do_fetch
deltask do_unpack
deltask do_patch
deltask do_configure
deltask do_compile
deltask do_install
"""

# scarthgap does not expect xz of the host, but builds it.
XZ_RECIPE = """
SUMMARY = "Stands for the host's xz"
INHIBIT_DEFAULT_DEPS = "1"
inherit native
do_install() {
    install -d ${D}${bindir}
    printf '#!/bin/sh\\nexec @XZ@ "$@"\\n' > ${D}${bindir}/xz
    chmod 0755 ${D}${bindir}/xz
}
"""

# An .ipk package is a .deb one but for a folder's name. opkg-build is in no distribution: where this machine has one in its
# PATH, that is run, and else dpkg-deb.
OPKG_RECIPE = """
SUMMARY = "Stands for OE-core's opkg-build, with the host's or dpkg-deb"
INHIBIT_DEFAULT_DEPS = "1"
inherit native
do_install() {
    install -d ${D}${bindir}
    cat > ${D}${bindir}/opkg-build <<'END'
#!/bin/sh
set -e
[ -z "@OPKG_BUILD@" ] || exec "@OPKG_BUILD@" "$@"
while [ $# != 2 ]; do shift; done
mv "$1/CONTROL" "$1/DEBIAN"
dpkg-deb --build -Zgzip "$1" "$2/new.$1"
mv "$1/DEBIAN" "$1/CONTROL"
file="$1_$(dpkg-deb --show --showformat='${Version}_${Architecture}' "$2/new.$1").ipk"
mv "$2/new.$1" "$2/$file"
END
    chmod 0755 ${D}${bindir}/opkg-build
}
"""

# Since wrynose wic is a project of its own; OE-core's of scarthgap does the same.
WIC_RECIPE = """
SUMMARY = "Stands for wic, with that of another release"
INHIBIT_DEFAULT_DEPS = "1"
inherit native
do_install() {
    install -d ${D}${bindir}
    printf '#!/bin/sh\\nexec python3 @WIC@ "$@"\\n' > ${D}${bindir}/wic
    chmod 0755 ${D}${bindir}/wic
}
"""

# What apt and dpkg need to be told to install into an image: OE-core's own are patched to do so. Scripts of packages
# run in no chroot, in which there is no shell, and with $D. systemctl's ways to reach a file are too much for pseudo.
APT_RECIPE = """
SUMMARY = "Stands for OE-core's apt, with the host's"
INHIBIT_DEFAULT_DEPS = "1"
inherit native
do_install() {
    install -d ${D}${bindir} ${D}${sysconfdir}/apt
    cat > ${D}${sysconfdir}/apt/apt.conf.sample <<END
Dir::State "#APTCONF#";
Dir::State::status "#ROOTFS#/var/lib/dpkg/status";
Dir::Cache "#APTCONF#";
Dir::Etc "#APTCONF#";
Dir::Log "/dev/null";
Dir::Bin::dpkg "${STAGING_BINDIR_NATIVE}/dpkg-in-image";
APT
{
  Architecture "amd64";
  Get::Assume-Yes "true";
  Sandbox::User "root";
};
Acquire::AllowInsecureRepositories "true";
DPkg::Path "";
DPkg::Options { "--log=/dev/null"; "--root=#ROOTFS#"; "--force-all"; "--no-force-overwrite"; "--no-debsig"; };
END
    cat > ${D}${bindir}/dpkg-in-image <<'END'
#!/bin/sh
for option in "$@"; do
    case $option in
    --root=*) export D="${option#--root=}" ;;
    esac
done
exec @DPKG@ "$@"
END
    cat > ${D}${bindir}/systemctl <<'END'
#!/bin/sh
[ $# != 0 ] || exit 0
PSEUDO_UNLOAD=1 @SYSTEMCTL@ "$@" || exit
for option in "$@"; do
    case $option in
    --root=*) chown 0:0 "${option#--root=}/etc" && chown -hR 0:0 "${option#--root=}/etc/systemd" ;;
    esac
done
END
    chmod 0755 ${D}${bindir}/*
}
"""

TARGET_RECIPE = """
SUMMARY = "Empty packages that stand for those of the target"
INHIBIT_DEFAULT_DEPS = "1"
PACKAGES = "@PACKAGES@"
python () {
    for package in d.getVar("PACKAGES").split():
        d.setVar("ALLOW_EMPTY:" + package, "1")
}
"""

# What is in them all the same: by this file OE-core knows that an image has systemd, and applies presets.
SYSTEMD_FILE = """
do_install() {
    install -d ${D}${systemd_unitdir}
    touch ${D}${systemd_unitdir}/systemd
}
FILES:systemd = "${systemd_unitdir}"
"""

# A program for Build.tinfoil.
TINFOIL = """
import json
import sys

sys.path[:0] = @PATH@

import bb
import bb.tinfoil

answer = None
with bb.tinfoil.Tinfoil() as tinfoil:
    tinfoil.prepare(config_only=@CONFIG_ONLY@)
@BODY@
with open(@ANSWER@, "w") as file:
    json.dump(answer, file)
"""

# What Build.parse lets it do.
PARSE = """
import logging
import time

class Collect(logging.Handler):
    def emit(self, record):
        if logging.WARNING <= record.levelno <= logging.CRITICAL:
            (errors if record.levelno >= logging.ERROR else warnings).append(record.getMessage())

def drain(seconds, enough):
    # The server's log comes by another way than its answers.
    end = time.monotonic() + seconds
    while time.monotonic() < end and not enough():
        event = tinfoil.wait_event(0.05)
        if isinstance(event, logging.LogRecord):
            tinfoil.logger.handle(event)

files, variables = json.loads(sys.argv[1])
logging.getLogger("BitBake").addHandler(Collect())
answer = {}
for name, file in files.items():
    errors, warnings, values = [], [], {}
    try:
        d = tinfoil.parse_recipe_file(file, appends=False)
        values = {variable: d.getVar(variable) for variable in variables}
        drain(0.05, lambda: False)
    except bb.BBHandledException:
        drain(10, lambda: errors)
    except Exception as problem:
        errors.append(str(problem))
    answer[name] = {"errors": errors, "warnings": warnings, "values": values}
"""


def fill(template: str, **values: object) -> str:
    """Return a template with @NAME@ replaced by the value of name."""
    for name, value in values.items():
        template = template.replace(f"@{name.upper()}@", str(value))
    return template
