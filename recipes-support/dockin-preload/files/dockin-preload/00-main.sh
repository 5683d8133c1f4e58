#!/bin/sh
# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Loads the image archives of the root filesystem into Docker, Podman or containerd, where they are not there yet.
#
# What is wanted is told by image information files (*.image), one an image, which the class dockin installs
# beside the archives. Whether an image is there is decided by digest, never by its tag alone. The order
#
#     load -> verify -> sync -> record -> flush
#
# makes a power cut harmless: at any instant the archive is still there, or the image is on the disk. Layers that a power
# cut may have damaged are checked before an image made of them is recorded: see "Whole or not".
#
# Runs on what OE-core's busybox has: no `timeout`, no `fsync`, and a `sync` that knows no options.

set -uf
umask 077
LC_ALL=C
export LC_ALL
# The docker client wants one, and systemd gives none to a service.
: "${HOME:=/}"
export HOME

readonly PROGRAM=dockin-preload
# The exit statuses; usage() says what they mean.
readonly FAILED=1 USAGE=2 BAD_INFO=3 NO_DOCKER=4 NO_SPACE=5 NO_ARCHIVE=6

archive_dir=${DOCKIN_ARCHIVEDIR:-/usr/share/dockin/archive}
containerd_root=${DOCKIN_CONTAINERD_ROOT:-/var/lib/containerd}
image_store=${DOCKIN_IMAGE_STORE:-/usr/lib/containers/storage}
wait_seconds=${DOCKIN_PRELOAD_WAIT:-60}
limit_seconds=${DOCKIN_PRELOAD_LIMIT:-7200}
progress_seconds=${DOCKIN_PRELOAD_PROGRESS:-30}
# What is known of this boot alone: the layers that were there before it, the last errors.
run_dir=${DOCKIN_PRELOAD_RUN:-/run/dockin-preload}
read -r boot_id </proc/sys/kernel/random/boot_id || boot_id=unknown-$$

# journald reads the priority from the start of a line; a person at a terminal need not.
error_mark='' warning_mark=''
if [ -n "${JOURNAL_STREAM:-}" ]; then
    error_mark='<3>' warning_mark='<4>'
fi
