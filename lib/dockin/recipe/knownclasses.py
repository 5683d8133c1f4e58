# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Classes that leave alone what recipes say of their images: a recipe's text alone is enough, though it inherits them."""

from __future__ import annotations

_OWN = ("dockin", "dockin-code", "dockin-dataroot", "dockin-sbom")

# What openembedded-core has in meta/classes* on the supported releases, without those that change SRC_URI, PV or names.
_CORE = """
    allarch archiver autotools autotools-brokensep barebox baremetal-image base bash-completion bin_package binconfig
    binconfig-disabled buildhistory buildstats buildstats-summary cargo cargo-update-recipe-crates cargo_c cargo_common
    ccache ccmake chrpath cmake cmake-qemu cml1 compress_doc copyleft_compliance copyleft_filter core-image cpan
    cpan-base cpan_build create-spdx create-spdx-2.2 create-spdx-3.0 create-spdx-image-3.0 create-spdx-sdk-3.0 cross
    cross-canadian crosssdk cve-check cython debian deploy devicetree devshell devtool-source distro_features_check
    distrooverrides dos2unix extrausers features_check fontcache fs-uuid gconf gettext gi-docgen gio-module-cache
    github-releases go go-mod go-mod-update-modules go-ptest go-vendor goarch gobject-introspection
    gobject-introspection-data grub-efi grub-efi-cfg gsettings gtk-doc gtk-icon-cache gtk-immodules-cache icecc image
    image-artifact-names image-buildinfo image-combined-dbg image-container image-live image-postinst-intercepts
    image_types image_types_wic insane kernel kernel-arch kernel-artifact-names kernel-devicetree
    kernel-fit-extra-artifacts kernel-fit-image kernel-fitimage kernel-grub kernel-module-split kernel-uboot
    kernel-uimage kernel-yocto-rust kernelsrc lib_package libc-package license license_image linux-dummy
    linux-kernel-base linuxloader live-vm-common logging manpages meson meson-routines metadata_scm migrate_localcount
    mime mime-xdg mirrors module module-base module-rust multilib_header multilib_script native nativesdk nopackages
    nospdx npm oelint overlayfs overlayfs-etc own-mirrors package package_deb package_ipk package_pkgdata package_rpm
    packagedata packagegroup patch perl-version perlnative pixbufcache pkgconfig populate_sdk populate_sdk_base
    populate_sdk_ext prexport primport ptest ptest-cargo ptest-gnome ptest-python-pytest python3-dir python3native
    python3targetconfig python_flit_core python_hatchling python_maturin python_mesonpy python_pbr python_pdm
    python_pep517 python_poetry_core python_pyo3 python_setuptools3_rust python_setuptools_build_meta python_uv_build
    qemu qemuboot recipe_sanity relative_symlinks relocatable remove-libtool report-error retain rm_work
    rm_work_and_downloads rootfs-postcommands rootfs_deb rootfs_ipk rootfs_rpm rootfsdebugfiles rust rust-common
    rust-target-config sanity sbom-cve-check sbom-cve-check-common sbom-cve-check-recipe scons setuptools3
    setuptools3-base setuptools3_legacy sign_ipk sign_package_feed sign_rpm siteconfig siteinfo sourceforge-releases
    spdx-common sstate staging syslinux systemd systemd-boot systemd-boot-cfg terminal testexport testimage testsdk
    texinfo toaster toolchain-scripts toolchain-scripts-base typecheck uboot-config uboot-extlinux-config uboot-sign uki
    uninative update-alternatives update-rc.d upstream-stable-release-point upstream-version-is-even useradd
    useradd-staticids useradd_base utility-tasks utils vala vex waf xmlcatalog yocto-check-layer
"""

HARMLESS = frozenset([*_OWN, *_CORE.split()])
"""Names of classes that change neither SRC_URI nor what a recipe calls a variable of its own."""

OWN = frozenset(_OWN)
"""Those of this layer."""
