"""Which of the machine's Debian mirrors serves a suite, signed by a key that is trusted here."""

from __future__ import annotations

from pathlib import Path

from lvslab.catalog.debian import apt
from lvslab.catalog.debian.apt import PrivateApt
from lvslab.catalog.debian.apt_output import UntrustedError
from lvslab.errors import CannotError
from lvslab.events import Event, Listener

KEYRING_PACKAGE = "debian-archive-keyring"


class Mirrors:
    """The machine's mirrors, with private states of apt below a working directory."""

    def __init__(self, work: Path, tell: Listener) -> None:
        """`work` must exist; nothing is fetched yet."""
        self._work, self._tell, self._states = work, tell, 0

    def serving(self, suite: str) -> PrivateApt:
        """The first of the machine's mirrors that serves the suite, signed by Debian; its lists of
        packages are there.

        Further sources that use Debian's names for suites (other makers' repositories) fail by
        their signature.

        Raises:
            CannotError: none does; with the first one's reason.
        """
        first: CannotError | None = None
        for mirror in apt.machine_mirrors():
            try:
                return self._trusted(mirror, suite)
            except CannotError as error:
                first = first or error
        assert first is not None  # machine_mirrors gives at least one
        raise first

    def _trusted(self, mirror: str, suite: str) -> PrivateApt:
        keyring = apt.machine_keyring()
        # Updates and backports do not carry the C library: it comes from the suite that they belong
        # to.
        suites = list(dict.fromkeys((suite, suite.split("-")[0])))
        try:
            return self._updated(mirror, suites, keyring)
        except UntrustedError as error:
            newer = self._newer_keyring(mirror, suite, keyring)
            if newer is None:
                raise error
            return self._updated(mirror, suites, newer)

    def _updated(self, mirror: str, suites: list[str], keyring: Path) -> PrivateApt:
        self._states += 1
        source = PrivateApt(self._work / f"apt-{self._states}", mirror, suites, keyring, self._tell)
        source.update()
        return source

    def _newer_keyring(self, mirror: str, suite: str, keyring: Path) -> Path | None:
        """Debian's keys as the installed release has them now: a suite that is trusted already
        vouches for them.
        """
        codename = apt.os_release().get("VERSION_CODENAME")
        if codename in (None, suite):
            return None
        self._tell(
            Event(
                "",
                "fetch",
                f"{suite}: signed by a key that is not here; looking for newer keys in {codename}",
            )
        )
        try:
            source = self._updated(mirror, [codename], keyring)
            version = apt.newest_version(source.versions(KEYRING_PACKAGE, codename))
            where = self._work / "keyring"
            apt.unpack(source.download(KEYRING_PACKAGE, version), where)
        except CannotError:
            return None
        return next(
            (
                where / path.relative_to("/")
                for path in apt.KEYRINGS
                if (where / path.relative_to("/")).is_file()
            ),
            None,
        )
