"""Antrea's configuration as its ConfigMap holds it: the options that concern Egress.

Option names and defaults: antrea-agent.conf and antrea-controller.conf of Antrea 2.8. Options of other features are
skipped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import yaml

from sallyport.apis.core import ConfigMap
from sallyport.model.addresses import parse_network
from sallyport.model.state import IPNetwork, ObjectRef, Problem

NAMESPACE = "kube-system"
NAME_PREFIX = "antrea-config"
AGENT_FILE = "antrea-agent.conf"
CONTROLLER_FILE = "antrea-controller.conf"
DEFAULT_LIMIT = 255
REASON = "InvalidConfiguration"


@dataclass(frozen=True, slots=True)
class Configuration:
    """`enabled` is the feature gate Egress, `limit` how many egress IPs a node may hold, `excepted` destinations that
    no Egress governs, `services` the Service networks."""

    enabled: bool = True
    limit: int = DEFAULT_LIMIT
    excepted: tuple[IPNetwork, ...] = ()
    services: tuple[IPNetwork, ...] = ()


def is_configuration(namespace: str, name: str) -> bool:
    """Whether a ConfigMap of that name is Antrea's: `antrea-config`, or with the hash that its manifests append."""
    return namespace == NAMESPACE and (name == NAME_PREFIX or name.startswith(f"{NAME_PREFIX}-"))


def read_configuration(maps: Iterable[ConfigMap]) -> tuple[Configuration, tuple[Problem, ...]]:
    """What the newest of Antrea's ConfigMaps says; its predecessors stay behind in a cluster after an upgrade."""
    ours = [item for item in maps if is_configuration(item.metadata.namespace, item.metadata.name)]
    if not ours:
        return Configuration(), ()
    newest = max(ours, key=lambda item: (item.metadata.creation_timestamp or "", item.metadata.name))
    reader = _Reader(newest)
    configuration = reader.agent(Configuration(), reader.options(AGENT_FILE))
    gate = reader.gate(reader.options(CONTROLLER_FILE), CONTROLLER_FILE)
    return replace(configuration, enabled=configuration.enabled and gate), tuple(reader.problems)


class _Reader:
    """Reads one ConfigMap and gathers what it cannot make sense of; the default is used in its place."""

    def __init__(self, source: ConfigMap) -> None:
        self._source = source
        self.problems: list[Problem] = []

    def options(self, file: str) -> dict[str, Any]:
        text = self._source.data.get(file, "")
        try:
            options = yaml.safe_load(text)
        except yaml.YAMLError as error:
            self._report(f"data.{file}", f"is not YAML: {' '.join(str(error).split())}")
            return {}
        if options is None:
            return {}
        if not isinstance(options, dict):
            self._report(f"data.{file}", "must hold a mapping of options")
            return {}
        return options

    def gate(self, options: dict[str, Any], file: str) -> bool:
        value = self._section(options, "featureGates", file).get("Egress", True)
        if isinstance(value, bool):
            return value
        self._report(f"data.{file}: featureGates.Egress", f"{value!r} must be true or false")
        return True

    def agent(self, configuration: Configuration, options: dict[str, Any]) -> Configuration:
        egress = self._section(options, "egress", AGENT_FILE)
        limit = egress.get("maxEgressIPsPerNode", 0)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            self._report(f"data.{AGENT_FILE}: egress.maxEgressIPsPerNode", f"{limit!r} must be a number, 0 or more")
            limit = 0
        services = [options.get(name) for name in ("serviceCIDR", "serviceCIDRv6")]
        return replace(
            configuration,
            enabled=self.gate(options, AGENT_FILE),
            limit=limit or DEFAULT_LIMIT,
            excepted=self._networks(egress.get("exceptCIDRs"), "egress.exceptCIDRs"),
            services=self._networks([item for item in services if item], "serviceCIDR"),
        )

    def _section(self, options: dict[str, Any], name: str, file: str) -> dict[str, Any]:
        section = options.get(name)
        if section is None:
            return {}
        if isinstance(section, dict):
            return section
        self._report(f"data.{file}: {name}", "must be a mapping")
        return {}

    def _networks(self, items: object, option: str) -> tuple[IPNetwork, ...]:
        if items is None:
            return ()
        if not isinstance(items, list):
            self._report(f"data.{AGENT_FILE}: {option}", "must be a list of networks")
            return ()
        networks: list[IPNetwork] = []
        for item in items:
            try:
                networks.append(parse_network(str(item)))
            except ValueError as error:
                self._report(f"data.{AGENT_FILE}: {option}", str(error))
        return tuple(networks)

    def _report(self, field: str, text: str) -> None:
        meta = self._source.metadata
        ref = ObjectRef("ConfigMap", meta.name, meta.namespace, meta.uid)
        self.problems.append(Problem(ref, REASON, f"{field}: {text}", field))
