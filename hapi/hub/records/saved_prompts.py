"""Prompts that people use again and again, shared by all devices of a namespace."""

from __future__ import annotations

import uuid
from typing import Any

from attrs import define, evolve

from hapi.hub.domain.errors import Conflict, NotFound
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.rows import SavedPromptRow
from hapi.hub.store.scratchlist import owner_of_prompts

MAX_PROMPTS = 200  # of a namespace

Json = dict[str, Any]


@define(eq=False, repr=False)
class SavedPrompts:
    registry: HubRegistry

    async def list(self, namespace: str) -> list[Json]:
        return [prompt_view(row) for row in await self.registry.store.saved_prompts(namespace)]

    async def add(self, namespace: str, name: str, text: str) -> Json:
        """Raises Conflict."""
        now = self.registry.now()
        row = SavedPromptRow(str(uuid.uuid4()), namespace, name, text, now, now)

        def add(turn: Any) -> None:
            if len(turn.saved_prompts(namespace)) >= MAX_PROMPTS:
                raise Conflict(
                    f"{MAX_PROMPTS} prompts are saved already: delete one first",
                    "saved_prompts_at_cap",
                )
            turn.write_saved_prompt(row)

        await self.registry.store.turn(owner_of_prompts(namespace), add)
        return prompt_view(row)

    async def change(
        self, namespace: str, prompt_id: str, name: str | None, text: str | None
    ) -> Json:
        """Raises NotFound."""
        now = self.registry.now()

        def change(turn: Any) -> SavedPromptRow:
            rows = turn.saved_prompts(namespace)
            row = next((each for each in rows if each.id == prompt_id), None)
            if row is None:
                raise NotFound("Saved prompt not found")
            changed: SavedPromptRow = evolve(
                row,
                name=row.name if name is None else name,
                text=row.text if text is None else text,
                updated_at=now,
            )
            turn.write_saved_prompt(changed)
            return changed

        row: SavedPromptRow = await self.registry.store.turn(owner_of_prompts(namespace), change)
        return prompt_view(row)

    async def delete(self, namespace: str, prompt_id: str) -> None:
        """Raises NotFound."""
        if not await self.registry.store.delete_saved_prompt(namespace, prompt_id):
            raise NotFound("Saved prompt not found")


def prompt_view(row: SavedPromptRow) -> Json:
    return {
        "id": row.id,
        "name": row.name,
        "text": row.text,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
    }
