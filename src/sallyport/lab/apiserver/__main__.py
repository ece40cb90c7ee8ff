"""``python -m sallyport.lab.apiserver --port P --crds DIR``: the embedded control plane on its own."""

import argparse
import socket
from collections.abc import Iterator
from pathlib import Path

import yaml

from sallyport.lab.apiserver.errors import Object
from sallyport.lab.apiserver.http import Server


def read_crds(directory: Path) -> Iterator[Object]:
    """The CustomResourceDefinitions in the YAML files of a directory."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(directory.glob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader=loader):
            if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition":
                yield document


def main() -> None:
    """Listen and serve until interrupted."""
    parser = argparse.ArgumentParser(prog="sallyport.lab.apiserver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on; 0 takes a free one")
    parser.add_argument("--crds", type=Path, help="directory of CustomResourceDefinitions to serve from the start")
    parser.add_argument("--fd", type=int, action="append", default=[], help="listening socket to take over")
    parser.add_argument("--port-file", type=Path, help="write the port here once it listens")
    arguments = parser.parse_args()
    inherited = [socket.socket(fileno=number) for number in arguments.fd]
    listening = inherited or [_listen(arguments.host, arguments.port)]
    server = Server(list(read_crds(arguments.crds)) if arguments.crds else [])
    if arguments.port_file:
        arguments.port_file.write_text(str(listening[0].getsockname()[1]))
    server.run(listening)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


if __name__ == "__main__":
    main()
