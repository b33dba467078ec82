"""What Transship says where Docker refuses, by Docker's words.

Where the two say the same nothing is listed. An entry holds Transship to one kind of refusal, also
where Docker has none (it answers 500, or fails within a stream), and to what the sentence must say:
which thing is wrong, and how. Docker's words often tell neither, or are those of its language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.oracle.subject import Json

_NO_TAR = r"Error processing tar file\(exit status 1\): "


@dataclass(frozen=True, slots=True)
class Entry:
    """*docker* and *ours* are expressions that fit the whole of what is said; *kind* is ours.

    Groups of *docker* that have a name may be used in *ours* as `{name}`.
    """

    docker: str
    kind: str
    ours: str


def agree(docker: Json, ours: Json, entries: Sequence[Entry]) -> Entry | None:
    """The entry by which a refusal of Transship fits one of Docker's; None where there is none."""
    for entry in entries:
        found = re.fullmatch(entry.docker, docker["says"], re.DOTALL)
        if found is None or ours["refused"] != entry.kind:
            continue
        named = {name: re.escape(text or "") for name, text in found.groupdict().items()}
        if re.fullmatch(entry.ours.format(**named), ours["says"], re.DOTALL):
            return entry
    return None


REFUSALS: Sequence[Entry] = (
    # --- names
    Entry(
        r"(no such image: .+: )?No such image: (?P<name>.+?)(:latest)?",
        "not-found",
        r"(.+: )?No such image: {name}(:latest)?",
    ),
    Entry(r"reference does not exist", "not-found", r"No such image: .+"),
    Entry(r"failed to get digest (?P<id>.+): open .+", "not-found", r"(.+: )?No such image: {id}"),
    Entry(
        r"(no such image: .+: )?invalid reference format: repository name must be lowercase",
        "invalid",
        r".*the repository must be lower case",
    ),
    Entry(
        r"(no such image: .+: )?(invalid reference format|invalid tag format)",
        "invalid",
        r".*(not an image reference|what follows the (colon is not a tag|@ is not a digest)"
        r"|the registry's host is not well formed|a name cannot be given together with a digest"
        r"|a digest needs a destination to go to)",
    ),
    Entry(
        r"no such image: .+: repository name must not be more than 255 characters",
        "invalid",
        r".+: the name is longer than 255 characters",
    ),
    Entry(
        r"invalid repository name \(.+\), cannot specify 64-byte hexadecimal strings",
        "invalid",
        r".+: 64 hexadecimal digits are an ID, not a name",
    ),
    Entry(
        r"refusing to create an ambiguous tag using digest algorithm as name",
        "invalid",
        r".+: a repository called like a digest's algorithm could not be told from a digest",
    ),
    # --- who uses it
    Entry(
        r"conflict: .+ image is referenced in multiple repositories",
        "conflict",
        r".+: it has \d names",
    ),
    Entry(
        r"conflict: .+ image has dependent child images",
        "conflict",
        r".+: it has child images, which need it",
    ),
    Entry(
        r"conflict: .+ container <short workspace (?P<by>[\w-]+)>( is using its .+)?",
        "conflict",
        r".+: the (busy )?workspace {by} uses it",
    ),
    Entry(
        r"Conflict\. The container name \"/(?P<by>.+)\" is already in use by container .+",
        "conflict",
        r"{by}: there is a workspace of this name",
    ),
    Entry(r"No such container: (?P<by>.+)", "not-found", r"{by}: no such workspace"),
    Entry(
        r"Could not find the file (?P<path>\S+) in container .+",
        "not-found",
        r"{path}: no such (path|directory) in the (image|workspace)",
    ),
    Entry(r"extraction point is not a directory", "invalid", r".+: it is not a directory"),
    # --- filters, times, limits
    Entry(
        r"Invalid filter '(?P<key>[^'=]+)'",
        "invalid",
        r"filters?: '{key}=?.*' is not one of .+, with =VALUE",
    ),
    Entry(
        r"Invalid filter '(?P<key>[a-z-]+)=\[(1|maybe)\]'",
        "invalid",
        r"filters?: {key} is true or false, not '(1|maybe)'",
    ),
    Entry(
        r"Invalid filter 'is-official=\[false true\]'",
        "invalid",
        r"filter: is-official can be given once",
    ),
    Entry(r"Invalid filter 'stars=many'", "invalid", r"filter: stars is a number"),
    Entry(
        r"syntax error in pattern",
        "invalid",
        r"filter: .+(is not closed|ends in a backslash|lacks a character)",
    ),
    Entry(
        r"(parsing time .+|failed to parse value as time or duration: .+)",
        "invalid",
        r"filters?: until is not a point in time",
    ),
    Entry(r"more than one until filter specified", "invalid", r"filters: until can be given once"),
    Entry(
        r"Limit -?\d+ is outside the range of \[1, 100\]",
        "invalid",
        r"limit: expected (1 or more|100 or less)",
    ),
    # --- registries
    Entry(
        r"manifest for (?P<name>.+) not found: .+",
        "not-found",
        r"{name}: image not found, or access denied",
    ),
    Entry(r"manifest unknown: .+", "not-found", r".+: image not found, or access denied"),
    Entry(
        r"repository (?P<name>\S+) not found: .+",
        "not-found",
        r"{name}: GET tags: answered 404 Not Found: NAME_UNKNOWN: .+",
    ),
    Entry(
        r"no matching manifest for (?P<on>\S+) in the manifest list entries",
        "failed",
        r".+: the image has no {on}",
    ),
    Entry(
        r"(tag does not exist: |An image does not exist locally with the tag: )(?P<name>\S+)",
        "not-found",
        r"No such image: {name}(:latest)?"
        r"|{name}: no image in the store has a name in this repository",
    ),
    Entry(
        r"An image does not exist locally with the tag: sha256",
        "invalid",
        r"reference: an ID needs a destination to go to",
    ),
    Entry(r"no tags to push for (?P<name>\S+)", "not-found", r"{name}: no tags to push"),
    Entry(r"no manifest found for full image ID", "failed", r".+: HEAD manifest: .+"),
    Entry(
        r"Invalid repository name \(ex: .+\)",
        "invalid",
        r"term: a term has no scheme in front of it",
    ),
    # --- platforms
    Entry(
        r"\"(?P<on>.+)\": (cannot parse platform specifier|unknown operating system .+): .+",
        "invalid",
        r"platforms?(\.0)?: {on}: not a platform",
    ),
    Entry(
        r"operating system is not supported",
        "invalid",
        r"platform: layers of other systems than linux hold more",
    ),
    # --- archives
    Entry(
        r"open <staged>/repositories: no such file or directory",
        "invalid",
        r"the archive is empty|neither a docker-archive nor an OCI layout: .+"
        r"|index\.json: the archive does not hold it",
    ),
    Entry(
        r"open <staged>/(?P<path>.+)\.(json|tar): no such file or directory",
        "invalid",
        r"{path}(\.json)?: the archive does not hold (this config|layer \d of .+)"
        r"|manifest\.json: the field 'config' is there twice",
    ),
    Entry(
        r"open <staged>/(?P<path>.+)/(json|layer\.tar): no such file or directory",
        "invalid",
        r"{path}/(json|layer\.tar): the archive does not hold this (image|layer)",
    ),
    Entry(
        r"json: cannot unmarshal \w+ into Go value of type \[\]tarexport\.manifestItem",
        "invalid",
        r"manifest\.json: is not a list of images",
    ),
    Entry(
        r"(unexpected EOF|unexpected end of JSON input|invalid character .+)",
        "invalid",
        r".+\.?json: (image config: )?not JSON: .+",
    ),
    Entry(
        r"read <staged>: is a directory",
        "invalid",
        r"manifest\.json: Config is None, not a path",
    ),
    Entry(
        r"invalid manifest, layers length mismatch: expected (?P<has>\d), got (?P<says>\d)",
        "invalid",
        r".+\.json: {has} layers, and {says} diffIDs in the config",
    ),
    Entry(
        r"invalid diffID for layer 0: expected \"(?P<says>.+)\", got \"(?P<has>.+)\"",
        "invalid",
        r".+\.tar: the layer's diffID is {has}, the config says {says}",
    ),
    Entry(
        r"invalid tag \"(?P<tag>.+)\"",
        "invalid",
        r"manifest\.json: a tag of an image is '{tag}', not NAME:TAG",
    ),
    Entry(
        r"evalSymlinksInScope: .+ is not in <staged>",
        "invalid",
        r".+: leads out of the archive|.+: links to a place outside the archive",
    ),
    Entry(
        r"open <staged>/etc/hostname: no such file or directory",
        "invalid",
        r".+: links to a place outside the archive",
    ),
    Entry(
        r"invalid image JSON, no RootFS key",
        "invalid",
        r".+\.json: an image config has no rootfs of the type layers",
    ),
    Entry(
        r"too many non-empty layers in History section",
        "invalid",
        r".+: more steps of its history have a layer than there are layers",
    ),
    Entry(
        r"image (?P<of>.+) is not a valid parent for (?P<child>.+)",
        "invalid",
        r"{child}: its history is not that of its parent {of} and one step more",
    ),
    Entry(
        r"invalid target ID: (?P<id>.+)",
        "invalid",
        r"repositories: names '{id}', which is not there",
    ),
    Entry(
        r"json: cannot unmarshal array into Go value of type struct .+",
        "invalid",
        r".+/json: is not an object",
    ),
    Entry(
        r"parsing time .+",
        "invalid",
        r".+/json: cannot be understood: 'yesterday' is no time",
    ),
    Entry(
        r"json: cannot unmarshal number into Go struct field Config\.config\.Cmd of type string",
        "invalid",
        r".+/json: cannot be understood: Cmd is 5",
    ),
    Entry(
        r"error squashing image: .+ is not a parent of the specified layer: .+",
        "invalid",
        r".+: not a parent of .+: the image has no layer above it",
    ),
    # --- layers
    Entry(
        _NO_TAR + r"archive/tar: invalid tar header",
        "invalid",
        r".*a header whose checksum is wrong, before byte \d+",
    ),
    Entry(
        _NO_TAR + r"unexpected EOF",
        "invalid",
        r".*(the archive is cut( \(.+\))?|the gzip stream is damaged or cut: .+)",
    ),
    Entry(
        _NO_TAR + r"link .+: (no such file or directory|operation not permitted|not a directory)",
        "invalid",
        r".+: (a hard link to what the layer does not have: .+|a hard link to a directory: .+"
        r"|a name that leads out of the image)",
    ),
    Entry(
        _NO_TAR + r"failed to mknod\(.+\): file exists",
        "invalid",
        r".+: a whiteout of (what the layer itself has|nothing that could be)",
    ),
    Entry(
        _NO_TAR + r"(open .+|failed to mknod\(.+\)): not a directory",
        "invalid",
        r".+: a file where a directory has to be",
    ),
    Entry(
        _NO_TAR + r"(open \S+: no such file or directory|mkdir \S+: file exists)",
        "invalid",
        r".+: a name behind a symbolic link that leads nowhere",
    ),
    Entry(
        _NO_TAR + r"open \S+: too many levels of symbolic links",
        "invalid",
        r".+: a name with too many symbolic links in it",
    ),
    Entry(
        _NO_TAR + r"open \S+: file name too long",
        "invalid",
        r".+: a name of more than 255 bytes",
    ),
    Entry(
        _NO_TAR + r"symlink  \S+: no such file or directory",
        "invalid",
        r".+: a symbolic link to nothing",
    ),
    Entry(
        r"Error processing tar file\(duplicates of file paths not supported\): ",
        "invalid",
        r".+: a path that the layer has twice",
    ),
    Entry(
        _NO_TAR + r"\"\.\./outside\" is outside of \"/etc\"",
        "invalid",
        r"\.\./outside: a name that leads out of the image",
    ),
    # --- instructions
    Entry(
        r"(?P<word>\S+) is not a valid change command",
        "invalid",
        r"changes: (?i:{word}) is none of CMD, ENTRYPOINT, ENV, EXPOSE, .+",
    ),
    Entry(
        r"(?P<word>[A-Z]+) isn't allowed as an ONBUILD trigger",
        "invalid",
        r"changes: ONBUILD: {word} is not allowed as a trigger",
    ),
    Entry(
        r"file with no instructions",
        "invalid",
        r"changes: there is no instruction in it",
    ),
    Entry(
        r"(Invalid containerPort|Invalid hostPort|Invalid proto|No port specified): .+",
        "invalid",
        r"changes: EXPOSE: '.+' is not a port, as in 80, 80/udp or 90-92",
    ),
    Entry(
        r"Invalid ip address:? .+",
        "invalid",
        r"changes: EXPOSE: '.+' is no address",
    ),
    Entry(
        r"Invalid ranges specified for container and host Ports: .+",
        "invalid",
        r"changes: EXPOSE: '.+' publishes \d ports as \d",
    ),
    Entry(
        r"Unknown flag: (?P<flag>.+)",
        "invalid",
        r"changes: [A-Z]+: the option --{flag} is not known",
    ),
    Entry(
        r"when using JSON array syntax, arrays must be comprised of strings only",
        "invalid",
        r"changes: [A-Z]+: a JSON array has to be of texts",
    ),
    Entry(
        r"(?P<word>[A-Z]+) (must have two|requires (at least|exactly) one) arguments?",
        "invalid",
        r"changes: {word}: (needs .+|NONE, or \[--OPTION=VALUE\]… CMD and a command)",
    ),
    Entry(
        r"(HEALTHCHECK NONE takes no arguments|Missing command after HEALTHCHECK CMD"
        r"|Unknown type \".+\" in HEALTHCHECK \(try CMD\))",
        "invalid",
        r"changes: HEALTHCHECK: (NONE, or \[--OPTION=VALUE\]… CMD and a command|needs a command)",
    ),
    Entry(
        r"(Interval \"(?P<flag>.+)\" cannot be less than 1ms|time: .+)",
        "invalid",
        r"changes: HEALTHCHECK: --[a-z-]+ is a duration of 1ms or more, as in 30s",
    ),
    Entry(
        r"(--retries must be at least 1 \(not .+\)|strconv\.ParseInt: parsing .+)",
        "invalid",
        r"changes: HEALTHCHECK: --retries is a number of 1 or more",
    ),
    Entry(
        r"Duplicate flag specified: (?P<flag>.+)",
        "invalid",
        r"changes: [A-Z]+: the option --{flag} is given twice",
    ),
    Entry(
        r"Missing a value on flag: (?P<flag>.+)",
        "invalid",
        r"changes: [A-Z]+: the option --{flag} needs a value",
    ),
    Entry(
        r"(?P<word>[A-Z]+) names can not be blank",
        "invalid",
        r"changes: {word}: a name is empty",
    ),
    Entry(
        r"Syntax error - can't find = in \"(?P<text>.+)\"\. Must be of the form: name=value",
        "invalid",
        r"changes: (ENV|LABEL): '{text}' is not NAME=VALUE",
    ),
    Entry(
        r"failed to process \".+\": unexpected end of statement while looking for matching "
        r"(?P<which>single|double)-quote",
        "invalid",
        r"changes: [A-Z]+: a {which} quote that is not closed",
    ),
    Entry(
        r"failed to process \".+\": (syntax error: .+|missing ':' in substitution)",
        "invalid",
        r"changes: [A-Z]+: a substitution (without a name|of .+ that is not closed, or is none)",
    ),
    Entry(
        r"Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        "invalid",
        r"changes: ONBUILD: ONBUILD is not allowed as a trigger",
    ),
    Entry(
        r"VOLUME specified can not be an empty string",
        "invalid",
        r"changes: VOLUME: needs paths that are not empty",
    ),
    Entry(r"cannot normalize nothing", "invalid", r"changes: WORKDIR: the path is empty"),
    Entry(
        r"invalid escape token '(?P<text>.+)' does not match ` or .+",
        "invalid",
        r"changes: the escape '{text}' is none of \\ and `",
    ),
)
