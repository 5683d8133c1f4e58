# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Writes the Docker images of an image recipe's packages into a data-root for Docker, or into an additional image store for
# Podman, so that nothing has to be loaded at first boot. It needs neither Docker nor Podman, no root, and no program of the
# target.
#
#   inherit dockin-dataroot                                          in an image recipe
#
#   IMAGE_CLASSES += "dockin-dataroot"                               or in local.conf or the distribution,
#   DOCKIN_DATAROOT:pn-my-image = "1"                                for some of all images
#
# The images are in the root file system, or with IMAGE_FSTYPES += "dockin-ext4" in a partition my-image-<machine>.dockin-ext4
# in the deploy directory. docs/dataroot.md compares the ways.

inherit dockin-code

# IMAGE_CLASSES adds the class to every image of a build; image.bbclass inherits it after the recipe's own classes,
# image_types first.
DOCKIN_DATAROOT_INHERITED := "${@'0' if bb.data.inherits_class('image_types', d) else '1'}"
DOCKIN_DATAROOT_INHERITED[doc] = "Whether the recipe itself inherits dockin-dataroot: 1 or 0."
DOCKIN_DATAROOT ?= "${@bb.utils.contains('IMAGE_CLASSES', 'dockin-dataroot', '${DOCKIN_DATAROOT_INHERITED}', '1', d)}"
DOCKIN_DATAROOT[doc] = "Whether the Docker images of this image's packages are written into a data-root: 1 or 0. By default 1 \
if the recipe inherits dockin-dataroot, 0 if only IMAGE_CLASSES has it."

DOCKIN_DATAROOT_KEEP_ARCHIVES ?= "0"
DOCKIN_DATAROOT_KEEP_ARCHIVES[doc] = "Whether archives stay in the root file system although the data-root has their images: \
1 or 0. Keep them if a data partition may be wiped, or survives an update."

DOCKIN_DATAROOT_EXTRA_SPACE ?= "65536"
DOCKIN_DATAROOT_EXTRA_SPACE[doc] = "Free KiB in the partition dockin-ext4, for what Docker writes."

# Outside the root file system, in which do_image sets the time of each file: files in Docker images keep their own times.
DOCKIN_DATAROOT_WORKDIR = "${WORKDIR}/dockin-dataroot"
DOCKIN_DATAROOT_WORKDIR[doc] = "Directory in which the data-root is made."
PSEUDO_INCLUDE_PATHS .= ",${DOCKIN_DATAROOT_WORKDIR}"

IMAGE_TYPES += "dockin-ext4"
EXTRA_IMAGECMD:dockin-ext4 ?= "-i 4096 -m 0 -L ${DOCKIN_RUNTIME}"
IMAGE_CMD:dockin-ext4 = "dockin_make_partition ${IMGDEPLOYDIR}/${IMAGE_NAME}.dockin-ext4 ${EXTRA_IMAGECMD}"
do_image_dockin_ext4[depends] += "e2fsprogs-native:do_populate_sysroot"
do_image_dockin_ext4[prefuncs] += "dockin_set_partition_size"
do_image_dockin_ext4[file-checksums] += "${@dockin_code('store/*', d)}"
IMAGE_TYPEDEP:wic:append = "${@' dockin-ext4' if dockin_has_partition(d) else ''}"

IMAGE_CMD_TAR:append = "${@dockin_tar_options(d)}"

ROOTFS_POSTUNINSTALL_COMMAND += "${@'dockin_write_dataroot' if dockin_dataroot_wanted(d) else ''}"
do_rootfs[cleandirs] += "${DOCKIN_DATAROOT_WORKDIR}"
do_rootfs[file-checksums] += "${@dockin_code('image/* target/* store/* recipe/source sbom/*', d) \
    if dockin_dataroot_wanted(d) else ''}"
do_create_rootfs_spdx[postfuncs] += "dockin_name_dataroot_in_spdx_30"
do_image[file-checksums] += "${@dockin_code('store/rootfs', d) if dockin_dataroot_wanted(d) else ''}"
do_image[prefuncs] += "dockin_take_dataroot_out"
do_image[postfuncs] += "dockin_put_dataroot_in"

def dockin_dataroot_wanted(d):
    """Tell whether to write a data-root or image store."""
    return d.getVar('DOCKIN_DATAROOT') == '1'

def dockin_dataroot_target(d):
    """Return its directory on the target, which do_rootfs has written down."""
    with open(d.getVar('DOCKIN_DATAROOT_WORKDIR') + '/target') as file:
        return file.read()

def dockin_has_partition(d):
    """Tell whether the data-root gets a partition of its own."""
    return any(kind.split('.')[0] == 'dockin-ext4' for kind in d.getVar('IMAGE_FSTYPES').split())

def dockin_tar_options(d):
    """Return options that keep extended attributes, which store opaque directories and capabilities of programs."""
    return " --xattrs --xattrs-include='*'" if dockin_dataroot_wanted(d) else ""

def dockin_dataroot_epoch(d):
    """Return the time for files without their own: that of do_image for the root file system."""
    return int(d.getVar('REPRODUCIBLE_TIMESTAMP_ROOTFS') or d.getVar('SOURCE_DATE_EPOCH') or 0)

def dockin_information_files(d):
    """Return the installed packages with image information files, and these files' paths on the target, both sorted."""
    import json
    import oe.packagedata
    import oe.rootfs

    packages, found = [], set()
    for package in oe.rootfs.image_list_installed_packages(d):
        data = oe.packagedata.read_pkgdatafile(d.expand('${PKGDATA_DIR}/runtime-reverse/%s') % package)
        folder = d.expand('${PKGDATA_DIR}/dockin/%s') % data.get('PN')
        ours = os.listdir(folder) if 'PN' in data and os.path.isdir(folder) else []
        files = [json.loads(value) for key, value in data.items() if key.startswith('FILES_INFO')]
        informations = {path for paths in files for path in paths if os.path.basename(path) in ours}
        if informations:
            packages.append(package)
        found |= informations
    return sorted(packages), sorted(found)

python () {
    if d.getVar('DOCKIN_DATAROOT') == '0':
        return
    try:
        dockin.recipe.settings.check_image(d.getVar)
    except dockin.errors.DockinError as error:
        bb.fatal("%s: %s" % (d.getVar('PN'), error))
    runtime = dockin.target.runtimes.parse(d.getVar('DOCKIN_RUNTIME'))
    if not runtime.has_image_stores and not dockin_has_partition(d) and bb.utils.contains(
            'IMAGE_FEATURES', 'read-only-rootfs', True, False, d):
        bb.warn("%s: the data-root is in a read-only root file system, where %s can't use it: put it into a partition, by"
                " IMAGE_FSTYPES += \"dockin-ext4\"" % (d.getVar('PN'), runtime.title))
}

# Runs after the installation of all packages, while the package manager can still list them.
python dockin_write_dataroot () {
    import dockin.store.engineconf
    import dockin.store.rootfs
    import dockin.store.writer

    packages, paths = dockin_information_files(d)
    if not paths:
        bb.warn("No package with Docker images is installed, so there is nothing to write into a data-root: add one to"
                " IMAGE_INSTALL, or set DOCKIN_DATAROOT = \"0\" for this image")
        return
    work, rootfs, runtime = d.getVar('DOCKIN_DATAROOT_WORKDIR'), d.getVar('IMAGE_ROOTFS'), d.getVar('DOCKIN_RUNTIME')
    podman = runtime == dockin.target.runtimes.PODMAN.name
    target, make_store = d.getVar('DOCKIN_IMAGESTORE_DIR' if podman else 'DOCKIN_DATAROOT_DIR'), None
    try:
        dockin.store.rootfs.free_place(rootfs, target)
        if dockin.target.runtimes.keeps_blobs(runtime, d.getVar('DOCKIN_RUNTIME_STORE')):
            target, make_store = dockin_containerd_store(d)
            dockin.store.rootfs.free_place(rootfs, target)
        elif not podman:
            dockin.store.engineconf.check_docker(rootfs, target, dockin_unit_folders(d))
        sources = dockin.store.writer.read_sources(rootfs, paths, runtime)
        added = dockin.store.writer.write(
            os.path.join(work, 'tree'), sources, dockin_dataroot_epoch(d), work, make_store)
        if podman:
            dockin.store.engineconf.add_image_store(
                rootfs, d.getVar('sysconfdir'), d.getVar('datadir'), target, d.getVar('DOCKIN_DATAROOT_DIR'))
    except (dockin.errors.DockinError, OSError) as error:
        bb.fatal("The images for %s can't be written: %s" % (target, error))
    with open(work + '/target', 'w') as file:
        file.write(target)
    keep = d.getVar('DOCKIN_DATAROOT_KEEP_ARCHIVES') == '1'
    for source in sources:
        if not keep:
            os.unlink(source.archive)
        bb.note("%s: in the data-root%s" % (source.information.name, ", the archive is kept" if keep else ""))
    bb.note("Data-root: %d images, %d layers, %d bytes" % (len(sources), len(added), sum(added.values())))
    dockin_report_dataroot(d, dict(zip(paths, sources)), sum(added.values()))
    if bb.data.inherits_class('create-spdx-2.2', d):
        dockin_name_dataroot_in_spdx_22(d, packages)
    else:
        with open(work + '/packages', 'w') as file:
            file.write('\n'.join(packages))
}

def dockin_unit_folders(d):
    """Return the directories of units on the target, that of packages first."""
    return d.expand('${systemd_system_unitdir} ${sysconfdir}/systemd/system').split()

def dockin_containerd_store(d):
    """Return the root directory of the target's containerd, and a function that makes its store."""
    import dockin.store.containerd
    import dockin.store.engineconf
    import functools

    default = dockin.target.runtimes.new_store(d.getVar('BBFILE_COLLECTIONS'), d.getVar('LAYERSERIES_CORENAMES') or '')
    place = dockin.store.engineconf.find_store(
        d.getVar('IMAGE_ROOTFS'), d.getVar('DOCKIN_RUNTIME'), d.getVar('DOCKIN_DATAROOT_DIR'), dockin_unit_folders(d),
        default == dockin.target.runtimes.CONTAINERD_STORE)
    return place.directory, functools.partial(
        dockin.store.containerd.ContainerdStore, byteorder={'le': 'little', 'be': 'big'}[d.getVar('SITEINFO_ENDIANNESS')],
        namespaces=[place.namespace])
dockin_containerd_store[vardepsexclude] += "BBFILE_COLLECTIONS LAYERSERIES_CORENAMES"

def dockin_dataroot_comment(d):
    """Return the comment of SPDX documents on the place of the images."""
    import dockin.sbom.elements

    return dockin.sbom.elements.place(dockin_dataroot_target(d), d.getVar('DOCKIN_RUNTIME'), dockin_has_partition(d))

def dockin_name_dataroot_in_spdx_22(d, packages):
    """Add the data-root's images to create-spdx's document of the root file system."""
    import dockin.sbom.spdx22
    import oe.sbom
    import pathlib

    folder, archs = pathlib.Path(d.getVar('DEPLOY_DIR_SPDX')), d.getVar('SPDX_MULTILIB_SSTATE_ARCHS').split()[::-1]
    path, indent = pathlib.Path(d.expand('${SPDXIMAGEWORK}/${IMAGE_NAME}.spdx.json')), get_json_indent(d)
    with dockin.sbom.spdx22.changed(path, indent) as document:
        dockin.sbom.spdx22.add_data_root(
            document, d.getVar('IMAGE_NAME'), packages,
            lambda namespace: oe.sbom.doc_find_by_namespace(folder, archs, namespace), dockin_dataroot_comment(d))
    dockin.sbom.spdx22.replace_in_archive(d.expand('${IMGDEPLOYDIR}/${IMAGE_NAME}.spdx.tar.zst'), document, indent)

dockin_name_dataroot_in_spdx_22[vardepsexclude] += "SPDX_MULTILIB_SSTATE_ARCHS"

python dockin_name_dataroot_in_spdx_30 () {
    import dockin.sbom.spdx30
    import pathlib

    packages = pathlib.Path(d.getVar('DOCKIN_DATAROOT_WORKDIR'), 'packages')
    if not packages.exists() or not packages.read_text():
        return
    with dockin.sbom.spdx30.changed(
            d, d.getVar('SPDXROOTFSDEPLOY'), d.getVar('SSTATE_PKGARCH'), 'rootfs',
            d.expand('${IMAGE_BASENAME}-${MACHINE}-rootfs')) as document:
        dockin.sbom.spdx30.add_data_root(d, document, packages.read_text().split(), dockin_dataroot_comment(d))
}
dockin_name_dataroot_in_spdx_30[vardepsexclude] += "SPDXROOTFSDEPLOY"

def dockin_report_dataroot(d, sources, size):
    """Write a list of the data-root's content beside the image's manifest, for bitbake-layers dockin-status and other tools."""
    import json

    report = {
        'schema': 1,
        'data_root': dockin_dataroot_target(d),
        'partition': dockin_has_partition(d),
        'archives': d.getVar('DOCKIN_DATAROOT_KEEP_ARCHIVES') == '1',
        'layers_size': size,
        'images': [{'information': path, 'reference': source.information.reference, 'image_id': source.information.image_id}
                   for path, source in sources.items()],
    }
    with open(d.expand('${IMGDEPLOYDIR}/${IMAGE_NAME}.dockin.json'), 'w') as file:
        json.dump(report, file, indent=1)
    if d.getVar('IMAGE_LINK_NAME'):
        link = d.expand('${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.dockin.json')
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(d.expand('${IMAGE_NAME}.dockin.json'), link)

python dockin_take_dataroot_out () {
    import dockin.store.rootfs

    work = d.getVar('DOCKIN_DATAROOT_WORKDIR')
    if os.path.exists(work + '/target'):
        dockin.store.rootfs.take_out(work + '/tree', d.getVar('IMAGE_ROOTFS'), dockin_dataroot_target(d))
}

python dockin_put_dataroot_in () {
    import dockin.store.rootfs

    tree = d.getVar('DOCKIN_DATAROOT_WORKDIR') + '/tree'
    if not os.path.isdir(tree):
        return
    try:
        dockin.store.rootfs.put_in(
            tree, d.getVar('IMAGE_ROOTFS'), dockin_dataroot_target(d), dockin_has_partition(d), dockin_dataroot_epoch(d))
    except dockin.errors.DockinError as error:
        bb.fatal(str(error))
}

python dockin_set_partition_size () {
    import dockin.store.partition
    import uuid

    tree = d.getVar('DOCKIN_DATAROOT_WORKDIR') + '/tree'
    if not os.path.isdir(tree):
        bb.fatal("There is no data-root to make the partition dockin-ext4 of: add a package with Docker images to IMAGE_INSTALL,"
                 " or leave dockin-ext4 out of IMAGE_FSTYPES")
    values = {
        'DOCKIN_PARTITION_TREE': tree,
        'DOCKIN_PARTITION_KIB': str(dockin.store.partition.size_kib(tree, int(d.getVar('DOCKIN_DATAROOT_EXTRA_SPACE')))),
        'DOCKIN_PARTITION_UUID': str(uuid.uuid5(uuid.NAMESPACE_OID, d.expand('dockin ${IMAGE_BASENAME} ${MACHINE}'))),
        'E2FSPROGS_FAKE_TIME': str(dockin_dataroot_epoch(d)),
    }
    for name, value in values.items():
        d.setVar(name, value)
        d.setVarFlag(name, 'export', '1')
}

dockin_make_partition () {
    file=$1
    shift
    rm -f "$file"
    truncate -s "$DOCKIN_PARTITION_KIB"K "$file"
    # Below 512 MB, mkfs.ext4 uses smaller blocks by default, which limits extended attributes to their size.
    mkfs.ext4 -F -b 4096 -U "$DOCKIN_PARTITION_UUID" -E "hash_seed=$DOCKIN_PARTITION_UUID,root_owner=0:0" "$@" \
        -d "$DOCKIN_PARTITION_TREE" "$file"
    # Times at which the data-root was made and read differ from run to run: reset them. Inodes are used from the first on.
    last=$(debugfs -R "show_super_stats -h" "$file" 2> /dev/null | awk '/^(Inode count|Free inodes):/ { n = $NF - n } END { print -n }')
    awk -v last="$last" -v epoch="$E2FSPROGS_FAKE_TIME" 'BEGIN {
        for (inode = 2; inode <= last; inode++)
            for (field = split("atime ctime crtime", fields); field > 0; field--)
                printf "set_inode_field <%d> %s @%s\n", inode, fields[field], epoch
    }' | debugfs -w -f - "$file" > /dev/null
}
