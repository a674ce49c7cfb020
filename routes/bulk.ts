/** Bulk actions: how they stand, and how they are steered. They are made where what they are about stands. */
import { z } from "zod";
import { announceBulk } from "../actors/announce.ts";
import { BULK_COMMANDS, type BulkCommand } from "../actors/domain/bulk_action.ts";
import { bulkActionView, viewBulkAction } from "./bulk_view.ts";
import type { ApiDeps } from "./deps.ts";
import { type Endpoint, endpoint } from "./endpoint.ts";
import { notFound, problem } from "./errors.ts";
import { listView, page, pageQuery } from "./lists.ts";

const TAG = "bulk-actions";

const SUMMARIES: Readonly<Record<BulkCommand, string>> = {
  pause: "Pause a bulk action: nothing further begins",
  resume: "Go on with a paused bulk action",
  cancel: "Cancel a bulk action: nothing further begins, what has begun goes on to its end",
};

/** The endpoints of bulk actions. */
export function bulkEndpoints(deps: ApiDeps): readonly Endpoint[] {
  const { store, clock, log } = deps;

  const list = endpoint({
    method: "GET",
    path: "/api/v1/bulk-actions",
    tag: TAG,
    summary: "List bulk actions, newest first",
    query: z.strictObject(pageQuery),
    answers: { 200: { description: "A page of bulk actions", schema: listView(bulkActionView) } },
    problems: ["request_invalid", "cursor_invalid"],
    async handle({ query: { limit, cursor } }) {
      const request = { storeId: store.storeId, list: "bulk-actions", filter: {}, limit, cursor };
      const read = (count: number, after: string | null) => store.bulk.list(count, after);
      return { status: 200, body: await page(request, read, viewBulkAction) };
    },
  });

  const read = endpoint({
    method: "GET",
    path: "/api/v1/bulk-actions/{id}",
    tag: TAG,
    summary: "Read a bulk action with its progress",
    answers: { 200: { description: "The action", schema: bulkActionView } },
    problems: ["id_invalid", "not_found"],
    async handle({ id }) {
      const action = await store.bulk.get(id);
      if (action === null) throw notFound("bulk action", id);
      return { status: 200, body: viewBulkAction(action) };
    },
  });

  const commands = BULK_COMMANDS.map((command) =>
    endpoint({
      method: "POST",
      path: `/api/v1/bulk-actions/{id}/${command}`,
      tag: TAG,
      summary: SUMMARIES[command],
      body: z.strictObject({}),
      isBodyOptional: true,
      answers: { 200: { description: "The action, now or before", schema: bulkActionView } },
      problems: ["json_invalid", "id_invalid", "not_found", "state_conflict", "validation_failed"],
      async handle({ id, by }) {
        const answer = await store.bulk.command(id, command, { by, at: clock.now() });
        if (!answer.ok && answer.reason === "not-found") throw notFound("bulk action", id);
        if (!answer.ok) {
          const { state, stateReason } = answer.action;
          const why = stateReason === null ? "" : ` (${stateReason})`;
          throw problem("state_conflict", `The bulk action is ${state}${why}; that stays. Make a new one.`, {
            members: { state },
          });
        }
        if (answer.isNew) {
          log.info(`Bulk action: ${command}`, { actionId: id, by });
          announceBulk(deps, answer.action);
        }
        return { status: 200, body: viewBulkAction(answer.action) };
      },
    })
  );

  return [list, read, ...commands];
}
