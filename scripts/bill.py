#!/usr/bin/env python3
"""What a program is made of, from cargo's own account of it: which crates, under which licences, and what those say.

    cargo metadata --format-version 1 --locked --filter-platform TARGET | scripts/bill.py PROGRAM sbom OUT          CycloneDX 1.5
    cargo metadata --format-version 1 --locked --filter-platform TARGET | scripts/bill.py PROGRAM copyright OUT     Debian's format
    cargo metadata --format-version 1 --locked --filter-platform TARGET | scripts/bill.py PROGRAM licences OUT      their full texts
    dpkg-query --show --showformat FIELDS PACKAGE... | scripts/bill.py PROGRAM debian OUT          CycloneDX of libraries that go with it; FIELDS: the
                                                                                                   name, version and architecture, the source's name and version

The crates are those that end up in the program: no tests', no build scripts' and no procedural macros'. The same input gives the same bytes: times
are those of SOURCE_DATE_EPOCH, and nothing is random. A crate without a licence is an error.
"""

import collections
import datetime
import json
import os
import pathlib
import re
import sys
import urllib.parse
import uuid

TEXTS = re.compile(r"^(licen[cs]e|copying|notice|copyright|unlicense)([-._].*)?$", re.IGNORECASE)


def parts(metadata, program):
    """The packages of the program, sorted, the program's own first, and who needs whom."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = next(package["id"] for package in metadata["packages"] if package["name"] == program)
    needs, waiting = {}, [own]
    while waiting:
        package = waiting.pop()
        if package in needs:
            continue
        needs[package] = sorted(
            dependency["pkg"]
            for dependency in nodes[package]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]) and not is_macro(packages[dependency["pkg"]])
        )
        waiting.extend(needs[package])
    order = sorted(needs, key=lambda id: (id != own, packages[id]["name"], packages[id]["version"]))
    return [packages[id] for id in order], needs


def is_macro(package):
    return any("proc-macro" in target["kind"] for target in package["targets"])


def expression(package):
    """The SPDX expression; before there were such, crates wrote `MIT/Apache-2.0`."""
    if not package["license"]:
        sys.exit(f"error: {package['name']} {package['version']} names no licence")
    return re.sub(r"\s*/\s*", " OR ", package["license"])


def texts(package):
    directory = pathlib.Path(package["manifest_path"]).parent
    files = sorted(path for path in directory.iterdir() if path.is_file() and TEXTS.match(path.name))
    return [path.read_text(encoding="utf-8", errors="replace").strip() + "\n" for path in files]


def holders(package):
    """Who says to have the copyright, or else who is named as an author."""
    said = []
    for text in texts(package):
        for line in text.splitlines():
            # Not the sentences of a licence about copyright, nor the form to fill in at the end of Apache's.
            if re.match(r"^\s*copyright (\(c\)|©|\d{4})", line, re.IGNORECASE) and "[" not in line and "{" not in line:
                said.append(" ".join(line.split()))
    return list(dict.fromkeys(said)) or package["authors"] or [f"the authors of {package['name']}"]


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def sbom(packages, needs, checksums):
    by_id = {package["id"]: package for package in packages}
    moment = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)

    def component(package, kind):
        made = {
            "type": kind,
            "bom-ref": purl(package),
            "name": package["name"],
            "version": package["version"],
            "licenses": [{"expression": expression(package)}],
            "purl": purl(package),
        }
        if package.get("description"):
            made["description"] = " ".join(package["description"].split())
        if checksum := checksums.get((package["name"], package["version"])):
            made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        if package.get("repository"):
            made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
        return made

    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": component(packages[0], "application")},
        "components": [component(package, "library") for package in packages[1:]],
        "dependencies": [
            {"ref": purl(package), "dependsOn": sorted({purl(by_id[id]) for id in needs[package["id"]]})} for package in packages
        ],
    }
    return finished(bill)


def libraries(program, lines):
    """The packages of Debian whose libraries are shipped with the program."""

    def component(name, version, architecture, source, source_version):
        link = f"pkg:deb/debian/{name}@{urllib.parse.quote(version)}?arch={architecture}"
        upstream = f"pkg:deb/debian/{source}@{urllib.parse.quote(source_version)}?arch=source"
        return {
            "type": "library",
            "bom-ref": link,
            "name": name,
            "version": version,
            "purl": link,
            "pedigree": {"ancestors": [{"type": "library", "name": source, "version": source_version, "purl": upstream}]},
            "externalReferences": [{"type": "license", "url": f"file:///usr/share/doc/{name}/copyright"}],
        }

    moment = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "container", "bom-ref": f"{program}-image", "name": program},
        },
        "components": [component(*line.split()) for line in sorted(lines)],
    }
    return finished(bill)


def finished(bill):
    """As text; another content is another bill."""
    bill["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))}"
    return json.dumps(bill, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def locked_checksums(metadata):
    """Cargo.lock has what the registry promised of each crate."""
    text = pathlib.Path(metadata["workspace_root"], "Cargo.lock").read_text(encoding="utf-8")
    found = re.findall(r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"', text)
    return {(name, version): checksum for name, version, checksum in found}


def copyright_file(packages, head):
    """`head` is that of the program itself, with the texts of its own licences."""
    out = [head.rstrip() + "\n"]
    known = set(re.findall(r"^License: (\S+)$", head, re.MULTILINE))
    needed = set()
    for package in packages:
        if package["source"] is None:
            continue
        licence = re.sub(r"\b(OR|AND|WITH)\b", lambda word: word.group().lower(), expression(package).replace("(", "").replace(")", ""))
        licence = re.sub(r"with (\S+)", r"with \1 exception", licence)
        needed.update(re.sub(r" with .*", "", one.strip()) for one in re.split(r"\b(?:or|and)\b", licence))
        lines = "\n ".join(holders(package))
        out.append(f"Files: crates.io/{package['name']}-{package['version']}/*\nCopyright: {lines}\nLicense: {licence}\n")
    for licence in sorted(needed - known):
        out.append(f"License: {licence}\n The text is in licences.gz beside this file, under the name of each crate that has it.\n")
    return "\n".join(out)


def licence_texts(packages):
    """Each text once, behind the names of those who have it."""
    whose = collections.OrderedDict()
    without = []
    for package in packages:
        if package["source"] is None:
            continue
        name = f"{package['name']} {package['version']} ({expression(package)})"
        found = texts(package)
        if not found:
            without.append(name)
        for text in found:
            whose.setdefault(text, []).append(name)
    out = [f"{len(packages)} crates are in this program. What follows are the licences of those that others have written, as they came with them.\n"]
    if without:
        out.append("These came without a text, and are under the licence that they name:\n  " + "\n  ".join(without) + "\n")
    for text, names in whose.items():
        out.append("=" * 100 + "\n" + "\n".join(names) + "\n" + "-" * 100 + "\n\n" + text)
    return "\n".join(out)


def main():
    program, what, out = sys.argv[1:]
    if what == "debian":
        pathlib.Path(out).write_text(libraries(program, sys.stdin.read().splitlines()), encoding="utf-8")
        return
    metadata = json.load(sys.stdin)
    packages, needs = parts(metadata, program)
    if what == "sbom":
        text = sbom(packages, needs, locked_checksums(metadata))
    elif what == "copyright":
        head = pathlib.Path(metadata["workspace_root"], "contrib/debian/copyright").read_text(encoding="utf-8")
        text = copyright_file(packages, head)
    elif what == "licences":
        text = licence_texts(packages)
    else:
        sys.exit(f"error: {what} is none of sbom, copyright, licences, debian")
    pathlib.Path(out).write_text(text, encoding="utf-8")


main()
