"""`twistd hapi-hub`."""

from __future__ import annotations

import os
from typing import Any

from twisted.application.service import IService
from twisted.python import usage


class Options(usage.Options):
    """Flags take precedence over the environment and settings.json."""

    synopsis = "[options]"
    optParameters = [  # noqa: RUF012 (usage.Options wants it so)
        ["host", None, None, "Address to listen on [127.0.0.1]"],
        ["port", None, None, "Port to listen on [3006]", int],
        ["database", None, None, "Database: a file or a postgresql:// URL [hub.db in the home]"],
        ["name", None, None, "Name among the hubs of a PostgreSQL database [the host name]"],
        ["advertise", None, None, "Serve with other hubs, which reach this one at this URL"],
        ["drain-seconds", None, None, "Time to close connections with --advertise [10]"],
        ["home", None, None, "Directory for settings, logs and data [~/.hapi]"],
        ["public-url", None, None, "Origin under which people reach the hub"],
        ["tls-cert", None, None, "File of the certificate chain (PEM), to serve HTTPS"],
        ["tls-key", None, None, "File of the private key (PEM) [that of --tls-cert]"],
        ["base-path", None, None, "Path below which a proxy serves the hub, e.g. /hapi [/]"],
        ["web-root", None, None, "Directory of another web page"],
        ["keep-sessions", None, None, "Remove sessions not used for this long, e.g. 90d [all]"],
        ["vapid-subject", None, None, "Contact for push services: a mailto: or https: URL"],
        ["push-private-addresses", None, None, "Send to push services at private addresses [no]"],
        ["notify-proxy", None, None, "HTTP proxy for push services and Telegram [none]"],
        ["telegram-api", None, None, "Address of the Telegram Bot API [https://api.telegram.org]"],
        ["telegram-notification", None, None, "Send notifications by Telegram [yes]"],
        ["git-actions", None, None, "Let people stage, commit and push from the page [no]"],
        ["max-database-size", None, None, "Remove old sessions beyond this size, e.g. 2G [none]"],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["allowed_hosts"] = []
        self["cors_origins"] = []
        self["trusted_proxies"] = []

    def opt_allowed_host(self, name: str) -> None:
        """Another host name that the hub answers to; can be repeated."""
        self["allowed_hosts"].append(name)

    def opt_cors_origin(self, origin: str) -> None:
        """Another origin whose pages may use the hub; can be repeated."""
        self["cors_origins"].append(origin)

    def opt_trusted_proxy(self, address: str) -> None:
        """Address or network of a reverse proxy whose Forwarded and X-Forwarded-For headers are
        believed; can be repeated.
        """
        self["trusted_proxies"].append(address)

    def postOptions(self) -> None:
        from hapi.home import HomeUnusable
        from hapi.hub.options import HubOptions, hide_password
        from hapi.redaction import escape_control
        from hapi.settings import ConfigurationError, InvalidSettings

        flags = {name: self[name] for name in ("host", "port", "database", "name")}
        flags |= {
            "public_url": self["public-url"],
            "advertise": self["advertise"],
            "drain_seconds": self["drain-seconds"],
            "base_path": self["base-path"],
            "web_root": self["web-root"],
            "tls_cert": self["tls-cert"],
            "tls_key": self["tls-key"],
            "keep_sessions": self["keep-sessions"],
            "max_database_size": self["max-database-size"],
            "vapid_subject": self["vapid-subject"],
            "push_private_addresses": self["push-private-addresses"],
            "notify_proxy": self["notify-proxy"],
            "telegram_api": self["telegram-api"],
            "telegram_notification": self["telegram-notification"],
            "git_actions": self["git-actions"],
            "allowed_hosts": self["allowed_hosts"] or None,
            "cors_origins": self["cors_origins"] or None,
            "trusted_proxies": self["trusted_proxies"] or None,
        }
        environ = dict(os.environ)
        if self["home"]:
            environ["HAPI_HOME"] = os.path.abspath(os.path.expanduser(self["home"]))
        try:
            self["options"] = HubOptions.from_environment(environ, **flags)
        except (ConfigurationError, InvalidSettings, HomeUnusable) as error:
            raise SystemExit(f"hapi-hub: {escape_control(error)}") from error
        hide_password(self["options"].database, self["database"])


def makeService(options: Any) -> IService:
    from twisted.internet import reactor

    from hapi.file_lock import LockUnusable
    from hapi.home import HomeUnusable
    from hapi.hub.lock import HubAlreadyRunning
    from hapi.hub.port import CannotServe
    from hapi.hub.service import HubService
    from hapi.hub.store.interface import StoreRefused
    from hapi.process.descriptor_limit import raise_descriptor_limit
    from hapi.process_host import TwistdHost
    from hapi.settings import ConfigurationError, InvalidSettings, save_hub_address

    class SavedHub(HubService):
        """A hub that writes its address into the settings of its home."""

        def startService(self) -> None:
            super().startService()
            if self.url:
                save_hub_address(self.options.home, self.url)
            else:
                self.when_listening.addCallback(self._save).addErrback(host.fail)

        def _save(self, url: str) -> None:
            save_hub_address(self.options.home, url)

    raise_descriptor_limit()
    host = TwistdHost(
        reactor,
        name="hapi-hub",
        expected={
            HubAlreadyRunning: 3,  # as `hapi hub`
            **dict.fromkeys((CannotServe, StoreRefused, LockUnusable), 1),
            **dict.fromkeys((ConfigurationError, InvalidSettings, HomeUnusable), 1),
        },
    )
    hub = SavedHub(reactor, options["options"])
    hub.setServiceParent(host.services)  # type: ignore[no-untyped-call]
    host.on_impatience = hub.hurry
    if options["options"].tls is not None:  # otherwise there is nothing to read again
        host.on_hangup = hub.reload
    return host.services
