"""The front-end for Calico's egress gateways, external networks and BGP peers."""
