"""The files that a rehearsal is given, recognised by their content and read into directors."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lvslab.errors import UsageError
from lvslab.reading.configured import ConfiguredServer, Pool
from lvslab.reading.keepalived import Keepalived, read_keepalived
from lvslab.reading.ldirectord import read_ldirectord
from lvslab.reading.netfilter import read_nft
from lvslab.reading.rules import read_rules
from lvslab.reading.sections import Kind, split
from lvslab.reading.sysctls import read_sysctls
from lvslab.rehearse.adapted import with_connects, without_digests
from lvslab.rehearse.director import Director, Manager
from lvslab.rehearse.links import links_of, macs_of, own_addresses
from lvslab.rehearse.marks import as_iptables
from lvslab.rehearse.seats import SPOKEN

_LONGEST = 8 << 20
"""Octets of a file; a configuration is never so long."""

_NAME = re.compile(r"[^a-z0-9]+")
_MAC = re.compile(r"[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}")

_LONGEST_NAME = 8
"""Letters of a director's name: its links are called by it, and Linux allows 15."""

KEEPALIVED_CONF = "/etc/keepalived/keepalived.conf"
LDIRECTORD_CF = "/etc/ha.d/ldirectord.cf"


@dataclass(frozen=True)
class Given:
    """One file, or a part of a file that holds several kinds of text.

    Attributes:
        kind: None: a plan.
    """

    path: Path
    kind: Kind | None
    text: str


_TABLES = (Kind.KEEPALIVED, Kind.LDIRECTORD, Kind.TABLE)
"""What describes a director's table; the first that is there counts."""

_READ = (*_TABLES, Kind.SYSCTLS, Kind.IPTABLES, Kind.RULESET, Kind.LINKS, Kind.IP_JSON)


@dataclass(frozen=True)
class Plan:
    """What files cannot say, from a TOML file (docs/rehearse.md).

    Attributes:
        own: director → interface → its addresses, each "address/length".
        macs: director → interface → its MAC address.
        speaks: door → what it speaks.
        config_ids: director → keepalived's --config-id.
        kernels: director → its kernel's name.
        pages: path → text of a page, word by word, for a check that compares its digest.
    """

    own: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    macs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    speaks: Mapping[str, str] = field(default_factory=dict)
    config_ids: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)


def read_paths(paths: Sequence[Path]) -> tuple[list[Director], Plan]:
    """The directors that files and folders describe.

    Files make one director; a folder makes one, or one for each folder in it that holds files; a
    keepalived.conf with conditional lines (`@id`) makes one for each id.

    Raises:
        UsageError: a file cannot be read or is none of the known kinds, or no file describes a
            table.
    """
    plan, loose = Plan(), list[Given]()
    groups: dict[str, list[Given]] = {}
    for path in paths:
        if path.is_dir():
            folders = _folders(path)
            check_names([name for name, _ in folders])
            for name, files in folders:
                groups.setdefault(name, []).extend(part for file in files for part in _parts(file))
        else:
            loose += _parts(path)
    for given in (*loose, *(each for group in groups.values() for each in group)):
        if given.kind is None:
            plan = _plan(given)
    directors = _directors("lvs", loose, plan)
    for name, group in groups.items():
        directors += _directors(name, [*group, *loose], plan)
    if not directors:
        raise UsageError(f"{paths[0]}: holds no keepalived.conf, ldirectord.cf or rules of ipvsadm")
    check_names([director.name for director in directors])
    return directors, plan


def check_names(names: Sequence[str]) -> None:
    """Refuse directors of one name.

    Raises:
        UsageError: there are two of one.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UsageError(
            f"two directors are called '{twice}': folders and ids count by their first {_LONGEST_NAME}"
            " letters and digits; give them other names"
        )


def _folders(path: Path) -> list[tuple[str, list[Path]]]:
    """A folder's directors: itself, or each folder in it."""
    inner = sorted(each for each in path.iterdir() if each.is_dir())
    here = sorted(each for each in path.iterdir() if each.is_file())
    if not inner:
        return [(short_name(path.resolve().name), here)]
    return [
        (short_name(each.name), sorted(file for file in each.iterdir() if file.is_file())) for each in inner
    ] + ([("", here)] if here else [])


def short_name(name: str) -> str:
    """A node's name from a folder's."""
    return _NAME.sub("", name.lower())[:_LONGEST_NAME] or "lvs"


def _parts(path: Path) -> list[Given]:
    """A file's parts that a rehearsal reads; a file of one kind is one part, comments and all."""
    if not path.is_file():
        raise UsageError(f"{path}: is no file")
    try:
        with path.open("rb") as stream:
            raw = stream.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _LONGEST:
        raise UsageError(f"{path}: has more than {_LONGEST >> 20} MiB, which no configuration has")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is no text") from None
    if path.suffix == ".toml":
        return [Given(path, None, text)]
    if not text.strip():
        raise UsageError(f"{path}: is empty")
    parts = [part for part in split(text) if part.kind in _READ]
    kinds = {part.kind for part in parts}
    if not kinds:
        raise UsageError(
            f"{path}: is none of what a rehearsal reads: keepalived.conf, ldirectord.cf, or what ipvsadm"
            " -Sn, sysctl -a, iptables-save, nft list ruleset or ip address print"
        )
    if len(kinds) == 1:
        return [Given(path, kinds.pop(), text)]
    return [Given(path, part.kind, part.text) for part in parts]


# -- directors -------------------------------------------------------------------------------------


def _directors(name: str, group: Sequence[Given], plan: Plan) -> list[Director]:
    """The directors of one folder or one list of files."""
    found = [given for kind in _TABLES for given in group if given.kind is kind]
    if not found:
        return []
    main, *others = found
    twice = next((given for given in others if given.kind is main.kind), None)
    if twice:
        raise UsageError(
            f"{main.path}, {twice.path}: both describe the table of one director; give each director a"
            " folder of its own"
        )
    rules = "\n".join(given.text for given in group if given.kind is Kind.IPTABLES)
    for given in group:
        if given.kind is Kind.RULESET:
            rules += as_iptables(read_nft(given.text).lines)
    links = links_of(given.text for given in group if given.kind in (Kind.LINKS, Kind.IP_JSON))
    extras = _Extras(
        own=own_addresses(links),
        macs=macs_of(links),
        sysctls={
            key: value
            for given in group
            if given.kind is Kind.SYSCTLS
            for key, value in read_sysctls(given.text).values.items()
            if key.startswith("net.")
        },
        iptables=rules,
    )
    if main.kind is Kind.KEEPALIVED:
        directors = _keepalived(name or "lvs", main, extras, plan)
    else:
        make = _ldirectord if main.kind is Kind.LDIRECTORD else _rules
        directors = [_completed(make(name or "lvs", main), extras, plan)]
    unused = tuple(f"{given.path}: is not used, as {main.path} makes the table" for given in others)
    return [replace(director, notes=(*director.notes, *unused)) for director in directors]


@dataclass(frozen=True)
class _Extras:
    own: Mapping[str, tuple[str, ...]]
    macs: Mapping[str, str]
    sysctls: Mapping[str, str]
    iptables: str


def _completed(director: Director, extras: _Extras, plan: Plan) -> Director:
    own = plan.own.get(director.name) or extras.own
    return replace(
        director,
        own=own,
        macs={**extras.macs, **plan.macs.get(director.name, {})},
        interfaces=tuple(dict.fromkeys((*director.interfaces, *own))),
        sysctls=extras.sysctls,
        iptables=extras.iptables,
        kernel=plan.kernels.get(director.name, ""),
    )


def _keepalived(name: str, main: Given, extras: _Extras, plan: Plan) -> list[Director]:
    files: dict[str, str] = {}
    first = _read(main, plan.config_ids.get(name, name), files)
    ids = [] if name in plan.config_ids else list(first.config_ids)
    if not ids or name in ids:
        director = _of_keepalived(name, first, files, plan.config_ids.get(name, name), plan)
        return [_completed(director, extras, plan)]
    found = []
    for identity in ids:
        files = {}
        read = _read(main, identity, files)
        director = _of_keepalived(short_name(identity), read, files, identity, plan)
        found.append(_completed(director, extras, plan))
    return found


def _read(main: Given, identity: str, files: dict[str, str]) -> Keepalived:
    """The file with what it includes; all are noted in `files`, each at its path in the lab."""
    files[KEEPALIVED_CONF] = main.text

    def include(pattern: str, _file: str) -> Sequence[tuple[str, str]] | None:
        base = main.path.parent
        places = [base / pattern.lstrip("/") if pattern.startswith("/") else base / pattern]
        if pattern.startswith("/"):
            places = [Path(pattern), *places, base / Path(pattern).name]
        for place in places:
            try:
                matches = sorted(place.parent.glob(place.name))
                texts = [(str(match), match.read_text()) for match in matches if match.is_file()]
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{main.path}: includes {pattern}, which cannot be read: {error}") from error
            if texts:
                target = Path(pattern) if pattern.startswith("/") else Path(KEEPALIVED_CONF).parent / pattern
                for match, text in texts:
                    files[str(target.parent / Path(match).name)] = text
                return texts
        return None

    return read_keepalived(main.text, file=str(main.path), config_id=identity, include=include)


def _of_keepalived(
    name: str, read: Keepalived, files: Mapping[str, str], identity: str, plan: Plan
) -> Director:
    installed, replaced = dict[str, str](), dict[str, None]()
    for path, text in files.items():
        installed[path], said = without_digests(text, plan.pages.values())
        replaced |= dict.fromkeys(said)
    return Director(
        name,
        Manager.KEEPALIVED,
        installed,
        KEEPALIVED_CONF,
        read.pools,
        read.instances,
        read.sync,
        read.interfaces,
        scripts=_programs(script.command for script in read.scripts),
        notes=(*(str(unclear) for unclear in read.unclear), *replaced),
        config_id=identity,
        read=read,
    )


def _ldirectord(name: str, main: Given) -> Director:
    read = read_ldirectord(main.text, file=str(main.path))
    text, replaced = with_connects(main.text, read)
    return Director(
        name,
        Manager.LDIRECTORD,
        {LDIRECTORD_CF: text},
        LDIRECTORD_CF,
        read_ldirectord(text).pools,
        scripts=_programs(script.command for script in read.scripts),
        notes=(*(str(unclear) for unclear in read.unclear), *replaced),
        in_turn=read.settings.get("fork") != "yes",
        read=read,
    )


def _rules(name: str, main: Given) -> Director:
    table = read_rules(main.text)
    pools = tuple(
        Pool(service.name, (service,), tuple(ConfiguredServer(server) for server in service.real_servers))
        for service in table.services
    )
    return Director(
        name,
        Manager.RULES,
        {"rules": main.text},
        "rules",
        pools,
        notes=tuple(str(replace(unclear, file=str(main.path))) for unclear in table.unclear),
    )


def _programs(commands: Iterable[str]) -> tuple[str, ...]:
    """The files that commands start."""
    first = [words[0].strip("\"'") for command in commands if (words := command.split())]
    return tuple(dict.fromkeys(path for path in first if path.startswith("/")))


# -- the plan --------------------------------------------------------------------------------------


def _plan(given: Given) -> Plan:
    try:
        said = tomllib.loads(given.text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{given.path}: {error}") from error
    known = {"directors", "services", "pages"}
    for key in said:
        if key not in known:
            raise UsageError(
                f"{given.path}: '{key}' is no part of a plan; it has: {', '.join(sorted(known))}"
            )
    own: dict[str, dict[str, tuple[str, ...]]] = {}
    macs: dict[str, dict[str, str]] = {}
    texts: dict[str, dict[str, str]] = {"config_id": {}, "kernel": {}}
    for name, about in _tables(given, said, "directors").items():
        for key, value in about.items():
            where = f"{given.path}: directors.{name}.{key}"
            if key == "addresses":
                own[name] = {
                    link: tuple(
                        _address(each, f"{where}.addresses") for each in _list(addresses, f"{where}.{key}")
                    )
                    for link, addresses in _mapping(value, f"{where}.{key}").items()
                }
            elif key == "macs":
                macs[name] = {link: _mac(each, where) for link, each in _mapping(value, where).items()}
            elif key in texts and isinstance(value, str):
                texts[key][name] = value
            else:
                raise UsageError(f"{where}: a director has addresses, macs, and config_id and kernel, texts")
    speaks = {}
    for name, about in _tables(given, said, "services").items():
        speaks[name] = str(about.get("speaks"))
        if set(about) != {"speaks"} or speaks[name] not in SPOKEN:
            raise UsageError(f"{given.path}: services.{name}: give speaks, one of {', '.join(SPOKEN)}")
    pages = {}
    for path, about in _tables(given, said, "pages").items():
        where = f"{given.path}: pages.{path}"
        if set(about) != {"file"} or not isinstance(about["file"], str) or not path.startswith("/"):
            raise UsageError(f"{where}: give file, the name of a file that holds the page of this path")
        pages[path] = _page(given.path.parent / about["file"], where)
    return Plan(own, macs, speaks, texts["config_id"], texts["kernel"], pages)


def _page(file: Path, where: str) -> str:
    try:
        return file.read_bytes()[:_LONGEST].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: {file} cannot be read: {error}") from error


def _address(value: Any, where: str) -> str:
    try:
        own = ipaddress.ip_interface(value)
    except ValueError:
        own = None
    if own is None or not isinstance(value, str) or "/" not in value:
        raise UsageError(f"{where}: {value!r} is no address with its length, such as 10.0.0.2/24")
    return str(own)


def _mac(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise UsageError(f"{where}: {value!r} is no MAC address of one card, such as 02:00:00:00:60:11")
    return value.lower()


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{where}: give a list of addresses for each interface")
    return value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: give a value for each interface")
    return value


def _tables(given: Given, said: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    value = said.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise UsageError(f"{given.path}: {key}: give a table for each, as [{key}.NAME]")
    return value
