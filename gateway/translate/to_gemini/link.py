"""How far the provider's connection has come. Pure.

A setup is sent on entering WAITING, and a connection takes exactly one. What the client has
configured, or said, makes it NEEDED:

============================  =======================  ========
what happens                  step                     link
============================  =======================  ========
a provider is connected       OPENED                   OPEN
client: ``session.update``    NEEDED                   WAITING
server: ``setupComplete``     ACCEPTED                 READY
client: ``session.update``    REPLACED                 RENEWING
that connection is closed     CLOSED                   DUE
another one is connected      OPENED                   WAITING
============================  =======================  ========
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Link(Enum):
    """The states of the provider's connection."""

    AWAY = auto()  # there is none, and nothing to be told
    DUE = auto()  # there is none, and the next one is told the setup
    OPEN = auto()  # connected, and nothing was sent
    WAITING = auto()  # the setup was sent
    READY = auto()  # the setup was accepted
    RENEWING = auto()  # about to be replaced at once


class Step(Enum):
    """What moves it."""

    GREETED = auto()  # a client has come that will configure the session first
    NEEDED = auto()  # there is something to tell the provider
    OPENED = auto()
    ACCEPTED = auto()
    REPLACED = auto()  # the relay was told to replace the connection now
    CLOSED = auto()


# What is not in these tables changes nothing: the provider repeats itself, or is heard too late.
LINKS: Final[Mapping[Link, Mapping[Step, Link]]] = {
    Link.AWAY: {Step.NEEDED: Link.DUE, Step.OPENED: Link.OPEN},
    Link.DUE: {Step.OPENED: Link.WAITING, Step.GREETED: Link.AWAY},
    Link.OPEN: {Step.NEEDED: Link.WAITING, Step.CLOSED: Link.AWAY},
    Link.WAITING: {Step.ACCEPTED: Link.READY, Step.CLOSED: Link.DUE},
    Link.READY: {Step.REPLACED: Link.RENEWING, Step.CLOSED: Link.DUE},
    Link.RENEWING: {Step.CLOSED: Link.DUE},
}
# Where the client is not to be heard: what it says could only be kept.
WAITS: Final = frozenset({Link.DUE, Link.WAITING, Link.RENEWING})
