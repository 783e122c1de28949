"""Where telescopes stand."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Site(BaseModel):
    """Where a telescope stands. East longitudes are positive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    latitude_deg: float = Field(ge=-90, le=90)
    longitude_deg: float = Field(ge=-180, le=180)
    altitude_m: float = 0.0
    code: str = Field("", description="Minor Planet Center's observatory code")
    telescopes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = Field((), description="what headers call it, in any case of letters")
