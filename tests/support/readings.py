# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""JSON documents of images that Python's json and Go's read differently, and ordinary ones that look as if.

Each is a good document in which one place is another: Change.of(). The documents are written as Go's programs write them,
without blanks.
"""

from __future__ import annotations

import json

from dataclasses import dataclass

OTHER = "sha256:" + "e" * 64
"""A digest that the good documents don't have."""


@dataclass(frozen=True)
class Change:
    """A document in which `old` is `new`; an empty `old` is its start, None its end."""

    name: str
    old: str | None
    new: str | bytes
    runs: bool = False
    """Whether real programs are shown it in the docker tier, too."""

    def of(self, document: bytes) -> bytes:
        """Return the changed document."""
        new = self.new.encode() if isinstance(self.new, str) else self.new
        if self.old is None:
            return document + new
        if not self.old:
            return new + document
        assert document.count(self.old.encode()) == 1, self.old
        return document.replace(self.old.encode(), new)

    def __str__(self) -> str:
        return self.name


def compact(value: object) -> bytes:
    """Return JSON as Go writes it."""
    return json.dumps(value, separators=(",", ":")).encode()


def config(architecture: str, diff_ids: list[str]) -> bytes:
    """Return the config to be changed, of an image that prints a file."""
    return compact({
        "architecture": architecture, "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["cat", "/word"], "Labels": {"a": "b"}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": [{"created_by": "tests"}],
    })


_OS = '"os":"linux"'
_LABEL = '"a":"b"'

# Go reads something else in these, or nothing at all.
CONFIGS = (
    Change("Architecture behind", _OS, _OS + ',"Architecture":"s390x"', runs=True),
    Change("ARCHITECTURE before", '{"arch', '{"ARCHITECTURE":"s390x","arch'),
    Change("architecture twice", _OS, _OS + ',"architecture":"s390x"'),
    Change("architecture twice, with an escape", _OS, _OS + ',"\\u0061rchitecture":"s390x"'),
    Change("Architecture alone", '"architecture"', '"Architecture"'),
    Change("OS", _OS, _OS + ',"OS":"windows"'),
    Change("os with a long s", _OS, _OS + ',"oſ":"windows"', runs=True),
    Change("os with an escaped long s", _OS, _OS + ',"o\\u017f":"windows"'),
    Change("Variant alone", _OS, _OS + ',"Variant":"v9"'),
    Change("Created", _OS, _OS + ',"Created":"1970-01-01T00:00:00Z"'),
    Change("RootFS", _OS, _OS + f',"RootFS":{{"type":"layers","diff_ids":["{OTHER}"]}}'),
    Change("RootFS at the end", '"history"', f'"RootFS":{{"type":"layers","DIFF_IDS":["{OTHER}"]}},"history"', runs=True),
    Change("rootfs with a long s", '"history"', '"rootfſ":{"type":"layers"},"history"'),
    Change("rootfs twice", '"history"', '"rootfs":{"type":"layers"},"history"'),
    Change("Diff_IDs", '"type":"layers",', f'"type":"layers","Diff_IDs":["{OTHER}"],'),
    Change("diff_ids with a long s", '"type":"layers",', f'"type":"layers","diff_idſ":["{OTHER}"],'),
    Change("diff_ids with an escape", '"diff_ids"', '"diff\\u005fids"'),
    Change("diff_ids in the history", '"created_by"', f'"diff_ids":["{OTHER}"],"created_by"'),
    Change("key that ends in diff_ids", '"created_by"', f'"x\\"diff_ids":["{OTHER}"],"created_by"'),
    Change("Config", _OS, _OS + ',"Config":{"Labels":{"a":"c"}}'),
    Change("labels", '"Labels"', '"labels":{"a":"c"},"Labels"'),
    Change("LABELS at the end", '}},"rootfs"', '},"LABELS":{"a":"c"}},"rootfs"', runs=True),
    Change("label twice", _LABEL, _LABEL + ',"a":"c"'),
    Change("label that is a number", _LABEL, '"a":1', runs=True),
    Change("labels that are a list", '{"a":"b"}', '["a"]'),
    Change("NaN", _OS, _OS + ',"x":NaN', runs=True),
    Change("Infinity", _OS, _OS + ',"x":Infinity'),
    Change("-Infinity", _OS, _OS + ',"x":[-Infinity]'),
    Change("1e999", _OS, _OS + ',"x":1e999'),
    Change("integer of 5000 digits", _OS, _OS + ',"x":' + "9" * 5000),
    Change("deep arrays", _OS, _OS + ',"x":' + "[" * 500 + "]" * 500),
    Change("deeper than Go reads", _OS, _OS + ',"x":' + '{"x":' * 10001 + "1" + "}" * 10001),
    Change("half of a pair in a label", _LABEL, '"a":"\\ud800"', runs=True),
    Change("half of a pair in a label's name", _LABEL, '"a\\udc00":"b"'),
    Change("pair the wrong way round", _LABEL, '"a":"\\udc00\\ud800"'),
    Change("half of a pair as bytes", _LABEL, b'"a":"\xed\xa0\x80"'),
    Change("no UTF-8 in a label", _LABEL, b'"a":"\xff"'),
    Change("too long UTF-8", _LABEL, b'"a":"\xc0\xaf"'),
    Change("no UTF-8 in another place", '"tests"', b'"\xe9"'),
    Change("line end in a string", _LABEL, '"a":"\n"'),
    Change("byte order mark", "", "\ufeff"),
    Change("second document", None, "{}"),
    Change("NUL at the end", None, "\0"),
    Change("comment", "", "/**/"),
    Change("comma too many", _LABEL, _LABEL + ","),
)
MANIFESTS = (
    Change("Layers", '"layers"', '"Layers":[],"layers"'),
    Change("layers with a long s", '"layers"', '"layerſ":[],"layers"'),
    Change("layers twice", '"layers"', '"layers":[],"layers"'),
    Change("Layers behind", "]}", '],"Layers":[]}', runs=True),
    Change("layers with a long s behind", "]}", '],"layerſ":[]}', runs=True),
    Change("layers twice, none in the second", "]}", '],"layers":[]}', runs=True),
    Change("Layers alone", '"layers"', '"Layers"'),
    Change("Config", '"config"', '"Config":{},"config"'),
    Change("Manifests", '"config"', '"Manifests":[],"config"'),
    Change("manifests with a long s", '"config"', '"manifeſts":[],"config"'),
    Change("SchemaVersion", '"schemaVersion"', '"SchemaVersion":1,"schemaVersion"'),
    Change("schemaVersion 2.0", '"schemaVersion":2', '"schemaVersion":2.0', runs=True),
    Change("schemaVersion 2e0", '"schemaVersion":2', '"schemaVersion":2e0'),
    Change("MediaType", '{"schema', '{"MediaType":"x/y","schema'),
    Change("Digest of a layer", '"layers":[{', f'"layers":[{{"Digest":"{OTHER}",'),
    Change("SIZE of a layer", '"layers":[{', '"layers":[{"SIZE":1,'),
    Change("mediatype of a layer", '"layers":[{', '"layers":[{"mediatype":"x/y",'),
    Change("Annotations of a layer", '"layers":[{', '"layers":[{"Annotations":{},'),
    Change("annotation that is a number", '"layers":[{', '"layers":[{"annotations":{"a":1},', runs=True),
    Change("digest of the config twice", '"config":{', f'"config":{{"digest":"{OTHER}",'),
)
INDEXES = (
    Change("Manifests", '"manifests"', '"Manifests":[],"manifests"'),
    Change("manifests twice", '"manifests"', '"manifests":[],"manifests"'),
    Change("Layers", '"manifests"', '"Layers":[],"manifests"'),
    Change("CONFIG", '"manifests"', '"CONFIG":{},"manifests"'),
    Change("layers with a long s", '"manifests"', '"layerſ":[],"manifests"'),
    Change("Digest", '"manifests":[{', f'"manifests":[{{"Digest":"{OTHER}",'),
    Change("Platform", '"platform"', '"Platform":{"os":"linux","architecture":"s390x"},"platform"'),
    Change("Architecture", '"platform":{', '"platform":{"Architecture":"s390x",'),
    Change("variant with another V", '"platform":{', '"platform":{"Variant":"v9",'),
    Change("size twice", '"manifests":[{', '"manifests":[{"size":1,'),
    Change("Manifests behind", "]}", '],"Manifests":[]}', runs=True),
    Change("digest behind", "}]}", f',"digest":"{OTHER}"}}]}}', runs=True),
    Change("Platform behind", "}]}", ',"Platform":{"os":"plan9","architecture":"s390x"}}]}', runs=True),
    Change("platform that is a list", '"platform":{', '"platform":[],"x":{', runs=True),
    Change("platform that is a text", '"platform":{', '"platform":"linux/amd64","x":{', runs=True),
    Change("os that is a number", '"os":"linux"', '"os":1', runs=True),
    Change("variant that is a list", '"os":"linux"', '"os":"linux","variant":["v7"]', runs=True),
)

# Ordinary ones, with what Go reads in them as labels.
ORDINARY = {
    Change("as it is", None, ""): {"a": "b"},
    Change("line end at the end", None, "\n"): {"a": "b"},
    Change("labels of one word", _LABEL, '"maintainer":"x","Maintainer":"y","MAINTAINER":"z"', runs=True):
        {"maintainer": "x", "Maintainer": "y", "MAINTAINER": "z"},
    Change("labels with long letters", _LABEL, '"s":"1","ſ":"2","k":"3","\u212a":"4"'):
        {"s": "1", "ſ": "2", "k": "3", "\u212a": "4"},
    Change("labels of known names", _LABEL, '"architecture":"1","Architecture":"2","rootfs":"3","Layers":"4"'):
        {"architecture": "1", "Architecture": "2", "rootfs": "3", "Layers": "4"},
    Change("diff_ids in a label", _LABEL, '"a":"{\\"rootfs\\":{\\"diff_ids\\":[\\"x\\"]}}"', runs=True):
        {"a": '{"rootfs":{"diff_ids":["x"]}}'},
    Change("label that is null", _LABEL, '"a":null', runs=True): {"a": ""},
    Change("labels that are null", '{"a":"b"}', "null"): {},
    Change("no labels", ',"Labels":{"a":"b"}', ""): {},
    Change("pair in a label", _LABEL, '"a":"\\ud83d\\ude00"', runs=True): {"a": "\U0001f600"},
    Change("U+FFFD in a label", _LABEL, '"a":"\ufffd"'): {"a": "\ufffd"},
    Change("keys that nobody looks for", _OS, _OS + ',"x":{"Y":1,"y":2},"OS.version":"","os.Version":""'): {"a": "b"},
    Change("other settings", '"Env"', '"Hostname":"","ArgsEscaped":true,"Volumes":{"/v":{},"/V":{}},"Env"'): {"a": "b"},
    Change("as Docker 1.10 had it", _OS, _OS + ',"container_config":{"Labels":{"a":"z"}},"docker_version":"1.10"'):
        {"a": "b"},
    Change("numbers", _OS, _OS + ',"x":[1e300,-9223372036854775808,18446744073709551615,0.1]'): {"a": "b"},
    Change("BuildKit's notes", _OS, _OS + ',"moby.buildkit.cache.v0":"e30=","moby.buildkit.buildinfo.v1":"e30="'):
        {"a": "b"},
}
