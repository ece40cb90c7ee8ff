"""A packet's walk through the nodes' kernels: which rule, route and set it meets, and how it ends."""

from sallyport.trace.packet import Hop, Packet, Protocol, Trace, Verdict
from sallyport.trace.underlay import Host, Underlay, underlay
from sallyport.trace.walk import walk, walks

__all__ = ["Hop", "Host", "Packet", "Protocol", "Trace", "Underlay", "Verdict", "underlay", "walk", "walks"]
