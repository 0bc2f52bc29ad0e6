"""The flags of ``atlas-invites plan``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from atlas_invites.settings import AtlasUrl  # noqa: TC001 - pydantic reads it


def _paths(value: Any) -> Any:  # noqa: ANN401 - whatever the user gave
    """Return a tuple of paths, for the variable (one path) or for several flags, without repetitions."""
    return tuple(dict.fromkeys([value] if isinstance(value, str) else value))


class PlanSettings(BaseSettings):
    """The flags of ``atlas-invites plan``. Each is also the environment variable ``ATLAS_INVITES_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="ATLAS_INVITES_", frozen=True, hide_input_in_errors=True)

    files: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_paths)] = Field(
        min_length=1, description="file or directory with manifests, or - for standard input (repeatable)"
    )
    cluster: bool = Field(
        default=False, description="also read the objects in the cluster and their status, with your kubeconfig"
    )
    prune: bool = Field(
        default=False,
        description="with --cluster: also show what would happen if the objects that have no manifest were deleted",
    )
    output: Literal["text", "json"] = Field("text", description="text or json")
    detailed_exitcode: bool = Field(default=False, description="exit with code 2 if something would change in Atlas")
    atlas_url: AtlasUrl = Field("https://cloud.mongodb.com", description="URL of the Atlas API")

    @model_validator(mode="after")
    def _prunes_a_cluster(self) -> PlanSettings:
        if self.prune and not self.cluster:
            raise PydanticCustomError("prune", "needs --cluster: only the cluster shows which objects have no manifest")
        return self
