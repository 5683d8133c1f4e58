# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""dockin.target.unpacked: what do_unpack says of an image to the tasks after it."""

from __future__ import annotations

import json

import pytest

from dockin.target import unpacked
from dockin.target.unpacked import Attached, InvalidDescription, UnpackedImage

DIGESTS = [f"sha256:{digit * 64}" for digit in "1234"]
IMAGE = UnpackedImage("docker.io/library/busybox:1.36.1", "linux/amd64", *DIGESTS, 10, 20)
BILL = Attached("busybox-1.36.1.spdx.json", "application/spdx+json", "5" * 64, "docker://docker.io/b@sha256:" + "6" * 64)
BILLED = UnpackedImage("localhost/a:1", "linux/arm/v7", *DIGESTS[::-1], 1, 2, (BILL,))


@pytest.mark.parametrize("image", [IMAGE, BILLED])
def test_it_is_read_as_it_was_written(tmp_path, image):
    path = tmp_path / "x.image.json"
    path.write_text(image.render())
    assert unpacked.read(str(path)) == unpacked.parse(image.render(), "x") == image


@pytest.mark.parametrize("change", [
    {"image_id": None}, {"reference": 1}, {"layers_size": "1"}, {"unpacked_size": True}, {"more": "x"}, {"attached": None},
    {"attached": [{}]}, {"attached": ["x"]}])
def test_another_member_is_refused(change):
    with pytest.raises(InvalidDescription, match=r"^Damaged description of an image, a\.image\.json: .*; unpack the image"):
        unpacked.parse(json.dumps({**json.loads(IMAGE.render()), **change}), "a.image.json")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "1", "[" * 100000, IMAGE.render()[:-10]])
def test_other_text_is_refused(text):
    with pytest.raises(InvalidDescription, match="Damaged"):
        unpacked.parse(text, "a.image.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidDescription, match="Can't read the description of an image, .*/gone: .*; unpack the image"):
        unpacked.read(str(tmp_path / "gone"))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff")
    with pytest.raises(InvalidDescription, match="Can't read"):
        unpacked.read(str(tmp_path / "x"))
