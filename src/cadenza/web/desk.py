"""What the routes of one server share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from cadenza.web.errands import Errands
from cadenza.web.folder import Studio
from cadenza.web.keepsakes import Keepsakes
from cadenza.web.music import Music
from cadenza.web.players import Players
from cadenza.web.runs import Runs
from cadenza.web.sessions import Sessions
from cadenza.web.sound import Speaker
from cadenza.web.training import Trainings


class Desk:
    """All that one server holds."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.errands, self.sessions, self.speaker = Errands(), Sessions(), Speaker()
        self.players = Players(studio)
        self.music = Music(studio, self.errands)
        self.trainings = Trainings(studio)
        self.runs = Runs(studio, self.trainings, self.players)
        self.keepsakes = Keepsakes(studio, self.errands)

    def begin(self) -> None:
        """Go on with what was going on when the last server of this folder ended."""
        self.studio.begin()
        self.music.begin()
        self.trainings.begin()
        self.keepsakes.begin()

    def warm(self) -> None:
        """Be quick from the first note on."""
        self.speaker.warm()
        self.players.warm()

    def end(self) -> None:
        self.trainings.end()
        self.errands.end()
        self.speaker.end()


def desk(request: Request) -> Desk:
    """That of the server that answers."""
    found: Desk = request.app.state.desk
    return found


Here = Annotated[Desk, Depends(desk)]
