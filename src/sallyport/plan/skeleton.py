"""The nftables tables of a node: chains and rules that stay, with empty sets whose members the node plan gives.

Rules never name a pod, a node or an egress IP, so a change in the cluster changes set elements only.
"""

import hashlib
import re
from collections.abc import Sequence

from sallyport.model.kernel import Link, Skeleton
from sallyport.model.settings import Settings

_FAMILY_SETS = """
  set nodes{f} {{ type {type}; }}
  set excluded{f} {{ type {type}; flags interval; }}
  set local_pods{f} {{ type {type}; flags interval; }}
  set governed{f} {{ type {type}; }}
  set free{f} {{ type {type}; }}
  set ordinary{f} {{ type {type} . {type}; flags interval; }}
  set held{f} {{ type {type}; }}
  set marks{f} {{ type mark; }}
  set forgotten{f} {{ type {type}; flags timeout; }}
  set unknown{f} {{ type {type}; size 4096; flags dynamic,timeout; timeout 1m; }}
  map clients{f} {{ type {type} : verdict; }}
  map exits{f} {{ type mark : {type}; }}
  set sources{f} {{ type mark . {type}; }}
"""

_INET = """table inet {table} {{
{sets}
  set alive {{ type inet_service; flags timeout; }}
  set networked {{ type mark; }}
  set wires {{ type mark . ifname; }}
  set externals {{ type ifname; }}
  map limits {{ type mark : limit; }}

  # What nodes say into the tunnel is remembered by nobody: the packets within are, where they come out. A service that
  # has the tunnel's port for its own is no node's, so that its destination NAT finds its connection.
  chain arriving {{
    type filter hook prerouting priority -300; policy accept;
    udp dport {port} goto outer comment "{digest}"
  }}
  chain outer {{
    ip saddr @nodes4 notrack
    ip6 saddr @nodes6 notrack
  }}

  # After the destination NAT of services (-100), so that what a service leads to is judged, not the service.
  # Replies to connections that others opened to a pod go back the way they came: original direction only.
  chain steer {{
    type filter hook prerouting priority -90; policy accept;
    iifname {devices} return
    # When the way back of a reply from an external network is checked (src_valid_mark), it is looked for in that
    # network's table. The mark is there for that check only.
    ct direction reply meta nfproto ipv4 iifname @externals ct label {label} meta mark set ct mark & {mask:#x}
    ct direction original ip daddr != @nodes4 ip daddr != @excluded4 fib daddr type unicast ip saddr vmap @clients4
    ct direction original ip6 daddr != @nodes6 ip6 daddr != @excluded6 {abroad} ip6 saddr vmap @clients6
  }}

  # The last word: whatever the routes say, a governed packet leaves by the tunnel or with an egress IP held here.
  chain guard {{
    type filter hook forward priority -5; policy accept;
    oifname {devices} goto into
    # Only nodes speak into the tunnel, and they do not forward it: masqueraded, a pod's would pass for its node's.
    udp dport {port} counter drop
    ct direction reply jump answer
    meta mark & {mask:#x} != 0 goto marked
    goto unmarked
  }}
  chain into {{
    iifname {devices} counter drop
    udp dport {port} counter drop
    meta mark & {mask:#x} != 0 return
    goto unmarked
  }}
  chain unmarked {{
    # Where conntrack has lost a connection, what the other side sends into it would pass for the beginning of a new one
    # in which the pod only replies: unsteered, and with its own address.
    ct state new ip daddr @governed4 goto fresh4
    ct state new ip6 daddr @governed6 goto fresh6
    # A connection keeps its translation when its pod is governed no more: the tunnel's, which is the pod's own address,
    # or an egress IP that may be another's by now. It does not go on without the mark that it began with.
    ct direction original ct label {label} counter drop
    ct direction reply return
    meta nfproto ipv4 goto unmarked4
    meta nfproto ipv6 goto unmarked6
  }}
  chain marked {{
    # An exit to external networks leaves by their wires and no other, whatever has become of its rule and its table.
    meta mark & {mask:#x} @networked meta mark & {mask:#x} . oifname != @wires counter drop
    limit name meta mark & {mask:#x} map @limits counter drop
    meta nfproto ipv4 meta mark & {mask:#x} @marks4 return
    meta nfproto ipv6 meta mark & {mask:#x} @marks6 return
    counter drop
  }}
{unmarked}
  # What a client may send goes through the tunnel, so the server's offer in its SYN-ACK is cut to the tunnel's size.
  chain answer {{
    iifname @externals meta mark set meta mark & {unmask:#x}
    tcp flags & (syn|rst) == syn ip daddr @governed4 tcp option maxseg size set {mss4}
    tcp flags & (syn|rst) == syn ip6 daddr @governed6 tcp option maxseg size set {mss6}
  }}

  chain input {{
    type filter hook input priority -5; policy accept;
    udp dport {port} jump tunnel
    meta l4proto {{ tcp, udp, sctp }} ip daddr @held4 counter drop
    meta l4proto {{ tcp, udp, sctp }} ip6 daddr @held6 counter drop
  }}
  chain tunnel {{
    ip saddr @nodes4 accept
    ip6 saddr @nodes6 accept
    fib saddr type local accept
    counter drop
  }}

  # A frozen agent does not renew its element: its node speaks no more BFD to others, and the next in rank takes over.
  # The tunnel's header has the mark of the packet within, which the outer one has no more use for once it is routed.
  chain output {{
    type filter hook output priority -300; policy accept;
    udp dport {port} notrack meta mark set meta mark & {unmask:#x} return
    udp dport 3784 ip daddr @nodes4 udp dport != @alive counter drop
    udp dport 3784 ip6 daddr @nodes6 udp dport != @alive counter drop
  }}

  # Once a connection has its NAT, no later NAT chain is asked: neither the CNI's masquerade nor kube-proxy's.
  chain exit {{
    type nat hook postrouting priority 95; policy accept;
    meta mark & {mask:#x} != 0 ct label set {label}
    meta mark & {mask:#x} @networked jump note
    oifname {devices} snat ip to ip saddr
    oifname {devices} snat ip6 to ip6 saddr
    fib saddr type local return
    meta nfproto ipv4 meta mark & {mask:#x} != 0 snat ip to meta mark & {mask:#x} map @exits4
    meta nfproto ipv6 meta mark & {mask:#x} != 0 snat ip6 to meta mark & {mask:#x} map @exits6
  }}

  # The connection's mark, for the way back of its replies. Its other bits are somebody else's: as nftables cannot join
  # two marks, ours are written one by one.
  chain note {{
    ct mark set ct mark & {unmask:#x}
{bits}  }}

  # After every NAT. A connection that was translated before its pod was governed keeps that translation for as long as
  # it lives; what leaves with another source than its mark's does not leave. Nodes' own connections (the tunnel's outer
  # packets carry the inner mark) are none of a pod's, nor is what is never governed: the kernel's own multicast
  # reports were seen with arbitrary marks, and with fwmark_reflect an ICMP error to a pod has the mark of its packet.
  chain verify {{
    type filter hook postrouting priority 110; policy accept;
    meta mark & {mask:#x} == 0 return
    oifname {devices} return
    meta mark & {mask:#x} . ip saddr @sources4 return
    meta mark & {mask:#x} . ip6 saddr @sources6 return
    ip daddr @nodes4 return
    ip daddr @excluded4 return
    ip6 daddr @nodes6 return
    ip6 daddr @excluded6 return
    ct original ip saddr @nodes4 return
    ct original ip6 saddr @nodes6 return
    counter drop
  }}
}}
"""

_UNMARKED = """
  chain unmarked{f} {{
    {ip} daddr @nodes{f} return
    {ip} daddr @excluded{f} return
    {ip} saddr . {ip} daddr @ordinary{f} return
    {ip} saddr @governed{f} counter drop
    # What is left of a connection that was forgotten while its pod was governed: conntrack calls it invalid, and what
    # is invalid gets no NAT, the CNI's masquerade neither. A FIN went out with the pod's own address.
    {ip} saddr @forgotten{f} ct state invalid counter drop
    {ip} saddr @free{f} return
    {ip} saddr @local_pods{f} add @unknown{f} {{ {ip} saddr }} counter drop
  }}
  chain fresh{f} {{
    {ip} saddr @nodes{f} return
    {ip} saddr @excluded{f} return
    ct status dnat return
    tcp flags & (fin | syn | rst | ack) == syn return
    meta l4proto tcp counter drop
    {ip} daddr @forgotten{f} counter drop
  }}
"""

_BIT = "    meta mark & {bit:#x} != 0 ct mark set ct mark | {bit:#x}\n"

_NETDEV = """table netdev {table} {{
  # Frames carry a MAC derived from the outer address, not the device's own; marks are cut to the bits that are ours.
{chains}}}
"""

_INGRESS = """  chain {device} {{
    type filter hook ingress device "{device}" priority 0; policy accept;
    meta pkttype set host comment "{digest}"
    meta mark set meta mark & {mask:#x}
  }}
"""

_ABROAD = "fib daddr type != { local, broadcast, multicast, anycast }"
"""Not `type unicast`, which in IPv6 needs a route too: a client's node may have no IPv6 way out but the tunnel."""

_RULE = re.compile(r"^    (?!type |#)\S", re.MULTILINE)
"""A line of a chain that is a rule: the templates indent these by four spaces, as `type` lines and comments there."""


def skeletons(settings: Settings, links: Sequence[Link]) -> tuple[Skeleton, ...]:
    """Our inet table, and a netdev table with an ingress chain per tunnel device where there are any."""
    mtu = min((link.mtu for link in links), default=1450)
    values: dict[str, object] = {
        "table": settings.table_name,
        "sets": "".join(_FAMILY_SETS.format(f=f, type=f"ipv{f}_addr") for f in (4, 6)),
        "unmarked": "".join(_UNMARKED.format(f=f, ip="ip" if f == 4 else "ip6") for f in (4, 6)),
        "devices": f'"{settings.device_prefix}*"',
        "mask": settings.mark_mask,
        "unmask": 0xFFFFFFFF ^ settings.mark_mask,
        "bits": "".join(_BIT.format(bit=1 << n) for n in range(32) if settings.mark_mask >> n & 1),
        "port": settings.vxlan_port,
        "abroad": _ABROAD,
        "label": settings.connection_label,
        "mss4": mtu - 40,
        "mss6": mtu - 60,
    }
    made = [_finished("inet", settings.table_name, _INET, values)]
    if links:
        chains = "".join(_INGRESS.replace("{device}", link.name) for link in links)
        made.append(_finished("netdev", settings.table_name, _NETDEV.replace("{chains}", chains), values))
    return tuple(made)


def _finished(family: str, name: str, template: str, values: dict[str, object]) -> Skeleton:
    """The digest names the text and says how many rules there are: with it in a rule's comment, and the rules counted,
    a table read back tells whether it is this one and whole."""
    text = template.format(**values, digest="")
    digest = f"digest:{hashlib.sha256(text.encode()).hexdigest()[:16]}:{len(_RULE.findall(text))}"
    text = template.format(**values, digest=digest)
    return Skeleton(family=family, name=name, digest=digest, text=text)  # type: ignore[arg-type]
