"""Stand-ins for the tunnel programs, in a directory for PATH."""

import sys
from pathlib import Path

CLOUDFLARED = """
print("2026-01-01T00:00:00Z INF Requesting new quick Tunnel on trycloudflare.com...")
print("2026-01-01T00:00:01Z ERR Post https://api.trycloudflare.com/tunnel: try again")
print("2026-01-01T00:00:02Z INF |  https://some-four-word-name.trycloudflare.com    |")
"""
TAILSCALE = """
print("Available within your tailnet:\\n\\nhttps://box.tail1234.ts.net/\\n|-- proxy " + sys.argv[2])
"""
SSH = """
print("the tunnel is up")
"""
FAILING = """
sys.exit("ssh: connect to host example.org port 22: Connection refused")
"""


def tunnel_program(directory: Path, name: str, text: str, stays: bool = True) -> str:
    """Put a program into `directory` that does what `text` says; the directory.

    It notes its pid and arguments in the file `NAME.started`, a line for each start.
    """
    directory.mkdir(exist_ok=True)
    path = directory / name
    lines = [
        f"#!{sys.executable}",
        "import json, os, signal, sys",
        f"with open({str(path) + '.started'!r}, 'a') as started:",
        "    print(json.dumps([os.getpid(), *sys.argv[1:]]), file=started)",
        text,
        "sys.stdout.flush()",
        "signal.pause()" if stays else "",
    ]
    path.write_text("\n".join(lines))
    path.chmod(0o755)
    return str(directory)
