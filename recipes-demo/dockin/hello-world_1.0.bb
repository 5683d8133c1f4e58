# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT

SUMMARY = "Docker's hello-world image"
HOMEPAGE = "https://hub.docker.com/_/hello-world"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

# The tag is no version.
UPSTREAM_VERSION_UNKNOWN = "1"

inherit dockin

SRC_URI = "docker://hello-world"
SRC_URI[sha256sum] = "5e23090353324d887c48ad5e5c56d294eab81588df9605b07d1afe895f9cc8f8"
