"""Starting the server of a monitor: as the viewer's, with the same guard."""

from pathlib import Path
from typing import Any

from lacewing.pages.guard import Guard
from lacewing.progress import say
from lacewing.viewer.serve import address, listen, prepare, run, static_folder, token_for
from lacewing.viewer.watched.answering import shape
from lacewing.viewer.watched.app import application
from lacewing.watch.monitor import Monitor
from lacewing.watch.serving.service import Service

TOKENED = (
    "whoever has this address can ask the model and read the alarms with their texts; programs "
    "show the token as a bearer (Authorization: Bearer TOKEN)"
)


def serve(
    monitor: Monitor,
    host: str,
    port: int,
    alarms: Path | None = None,
    webhook: str | None = None,
) -> dict[str, Any]:
    """Answer until interrupted.

    Args:
        monitor: Watches, and has the model that answers.
        host: What to bind; anything but loopback gets a token.
        port: 0 for a free one.
        alarms: File that alarms are added to, as JSON lines.
        webhook: Address that they are posted to.

    Returns:
        Where it was, and how things stood at the end.

    Raises:
        ConfigError: the port is taken, the host is not this machine's, or the webhook no address.
        ArtifactError: the file of alarms cannot be written.
    """
    prepare()
    listening = listen(host, port)
    with listening:
        service = Service(monitor, alarms, webhook)
        port = listening.getsockname()[1]
        token = token_for(host)
        app = Guard(application(service, static_folder()), host, port, token, shape)
        url = address(host, port, token)
        say(f"lacewing watch: {url}  (stop with Ctrl-C)")
        say(f"completions: {address(host, port, None)}v1  model {service.name}")
        if service.webhook is not None:
            say(f"alarms are posted to {service.webhook.shown}")
        if token:
            say(TOKENED)
        try:
            run(app, listening)
        finally:
            now = service.standing
            say(f"{now['tokens']:,} tokens were watched; alarms: {now['alarms']}")
    return {
        "url": address(host, port, None),
        "tokens": now["tokens"],
        "raised": now["alarms"],
        "causes": sorted({alarm["cause"] for alarm in service.alarms()}),
    }
