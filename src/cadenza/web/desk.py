"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from cadenza.web.folder import Studio
from cadenza.web.players import Players
from cadenza.web.sessions import Sessions
from cadenza.web.sound import Speaker


@dataclass
class Desk:
    studio: Studio
    players: Players = field(init=False)
    sessions: Sessions = field(default_factory=Sessions)
    speaker: Speaker = field(default_factory=Speaker)

    def __post_init__(self) -> None:
        self.players = Players(self.studio)


def desk(request: Request) -> Desk:
    """That of the server that answers."""
    found: Desk = request.app.state.desk
    return found
