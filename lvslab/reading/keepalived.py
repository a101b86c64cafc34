"""keepalived.conf as what the network needs of it: VRRP's addresses and links, pools with their
checks, scripts. keepalived itself remains the judge of its file; what is not interpreted here is in
`Keepalived.tree`.

Facts are from keepalived.conf(5) 2.2.7.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lvslab.reading.blocks import Block, Tree, read_blocks
from lvslab.reading.configured import Pool, Script
from lvslab.reading.expansion import Include
from lvslab.reading.pools import read_pools
from lvslab.reading.unclear import Unclear
from lvslab.reading.vrrp import SyncSettings, Vrrp, read_instance, read_sync

_TOP = frozenset(
    """
    global_defs static_ipaddress static_routes static_rules static_track_group linkbeat_interfaces
    interface_up_down_delays garp_group vrrp_script vrrp_track_process track_process vrrp_track_file
    track_file track_bfd bfd_instance vrrp_sync_group vrrp_instance virtual_server_group
    virtual_server SSL net_namespace net_namespace_ipvs namespace_with_ipsets instance use_pid_dir
    linkbeat_use_polling child_wait_time include_check
    """.split()  # noqa: SIM905
)
_SCRIPTS = frozenset(
    """
    notify notify_master notify_backup notify_fault notify_stop notify_deleted
    notify_master_rx_lower_pri notify_up notify_down quorum_up quorum_down misc_path script
    startup_script shutdown_script notify_fifo_script vrrp_notify_fifo_script lvs_notify_fifo_script
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Keepalived:
    """A keepalived.conf.

    Attributes:
        tree: the whole file.
        router_id: "": the host's name.
        instances: VRRP, in the file's order.
        sync_groups: name → instances that move together.
        sync: the IPVS sync daemon; None: it is not started.
        timeouts: seconds by "tcp", "tcpfin", "udp"; those that the file sets.
        pools: virtual servers.
        scripts: every program that it would run.
        unclear: what was not understood.
    """

    tree: Tree = field(default_factory=Tree)
    router_id: str = ""
    instances: tuple[Vrrp, ...] = ()
    sync_groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sync: SyncSettings | None = None
    timeouts: tuple[tuple[str, int], ...] = ()
    pools: tuple[Pool, ...] = ()
    scripts: tuple[Script, ...] = ()
    unclear: tuple[Unclear, ...] = ()

    @property
    def config_ids(self) -> tuple[str, ...]:
        """The ids that conditional lines ask for, as `keepalived --config-id` takes them."""
        return self.tree.config_ids

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Every link that the file names, in its order."""
        names: dict[str, None] = {}
        for instance in self.instances:
            names |= dict.fromkeys((instance.interface, *instance.tracked))
            names |= dict.fromkeys(address.link for address in instance.addresses if not address.by_vmac)
        if self.sync:
            names[self.sync.interface] = None
        for block in self.tree.blocks:
            if block.keyword == "static_ipaddress":
                names |= dict.fromkeys(_after("dev", each) for each in block.children)
        return tuple(name for name in names if name)


def read_keepalived(
    text: str, *, file: str = "", config_id: str = "", include: Include | None = None
) -> Keepalived:
    """A keepalived.conf; the arguments are those of `lvslab.reading.blocks.read_blocks`."""
    tree = read_blocks(text, file=file, config_id=config_id, include=include)
    unclear = list(tree.unclear)

    def note(block: Block, why: str) -> None:
        unclear.append(Unclear(block.line, block.text, why, block.file))

    for block in tree.blocks:
        if block.keyword not in _TOP:
            note(block, "no statement of keepalived.conf(5) that lvslab knows")
    defaults = Block(
        (),
        tuple(child for block in tree.blocks if block.keyword == "global_defs" for child in block.children),
    )
    return Keepalived(
        tree,
        router_id=defaults.value("router_id"),
        instances=tuple(
            read_instance(block, note) for block in tree.blocks if block.keyword == "vrrp_instance"
        ),
        sync_groups=tuple(
            (
                " ".join(block.arguments),
                tuple(member.text for group in block.all("group") for member in group.children),
            )
            for block in tree.blocks
            if block.keyword == "vrrp_sync_group"
        ),
        sync=read_sync(defaults),
        timeouts=_timeouts(defaults),
        pools=read_pools(tree.blocks, note),
        scripts=tuple(_scripts(tree.blocks)),
        unclear=tuple(unclear),
    )


def _timeouts(defaults: Block) -> tuple[tuple[str, int], ...]:
    statement = defaults.last("lvs_timeouts", "lvs_timeout")
    words = statement.arguments if statement else ()
    return tuple(
        (name, int(value))
        for name, value in zip(words[::2], words[1::2], strict=False)
        if value.isascii() and value.isdigit() and len(value) < 10
    )


def _scripts(blocks: tuple[Block, ...], owner: str = "") -> Iterator[Script]:
    """Every script of a file, in its order."""
    waiting = [(block, owner) for block in reversed(blocks)]
    while waiting:
        block, owner = waiting.pop()
        is_definition = block.keyword in ("vrrp_script", "virtual_server", "vrrp_instance")
        if block.keyword in _SCRIPTS and block.arguments and not is_definition:
            yield Script(block.keyword, owner, _command(block), block.line, block.file)
        around = f"{owner}: {block.text}" if owner and block.children else block.text
        waiting += [(child, around) for child in reversed(block.children)]


def _command(block: Block) -> str:
    """A script with its arguments: one quoted word, or several words."""
    return block.arguments[0] if " " in block.arguments[0] else " ".join(block.arguments)


def _after(word: str, block: Block) -> str:
    """The word behind another one: the link behind "dev"."""
    words = block.words
    return words[words.index(word) + 1] if word in words[:-1] else ""
