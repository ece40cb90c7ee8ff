"""How the agent of a node does, as far as its kernel tells."""

from collections.abc import Iterator

from sallyport.model.fitness import Finding, Programmed, Severity


def agent(found: Programmed | None) -> Iterator[Finding]:
    """What is wrong with an agent that runs or ran here; nothing where none ever did."""
    if found is None:
        return
    if found.renewed is None:
        message = (
            "it has not said for too long that it lives: what it programmed is in force, but no change reaches this"
            " node, and other nodes take its egress IPs over"
        )
        yield Finding(Severity.PROBLEM, "agent", message, "start it, or see what its log says")
    if "" in found.digests or len(found.digests) < len(found.expected):
        message = "rules of them were changed or removed by somebody else"
        remedy = "an agent writes them anew within seconds: see whether it runs, and who changes them"
        yield Finding(Severity.PROBLEM, "our tables", message, remedy)
    elif found.digests != found.expected:
        message = "they are those of another version, or for another MTU, than this command's"
        yield Finding(Severity.WARNING, "our tables", message, "run agent and this command of one version")
    if found.configured and not found.answering:
        message = "it has a configuration and does not answer: no BFD, no BGP; other nodes take egress IPs over"
        remedy = "the agent starts it again within seconds: see whether it runs, and what its log says of BIRD"
        yield Finding(Severity.PROBLEM, "BIRD", message, remedy)
