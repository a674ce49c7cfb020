/** Filters, selections and resolutions that are refused, of dead letters and bulk actions. */
import { call, job, NOBODY, refuses } from "./bad_input.ts";

refuses("dead letters and bulk actions: filters, selections, resolutions and ids that are none", (
  { completed },
) => {
  const FAILED = "/api/v1/failed-occurrences";
  const post = (
    path: string,
    body: unknown,
    expected: [status: number, code: string, ...fields: string[]],
  ) => ({
    ...job(`${path} ${JSON.stringify(body)}`, body, expected),
    path,
  });
  return [
    call("kind", `GET ${FAILED}?kind=late`, [400, "choice_unknown", "kind"]),
    call("two kinds", `GET ${FAILED}/groups?kind=failed,late`, [400, "choice_unknown", "kind"]),
    call("fingerprint", `GET ${FAILED}?fingerprint=%27%20OR%201=1`, [
      400,
      "fingerprint_invalid",
      "fingerprint",
    ]),
    call("a cursor made up", `GET ${FAILED}?cursor=abc`, [400, "cursor_invalid", "cursor"]),
    call("a word for an id", `GET ${FAILED}/newest`, [400, "id_invalid", "id"]),
    call("an occurrence that did not fail", `GET ${FAILED}/${completed}`, [404, "not_found"]),
    call("no such action", `POST /api/v1/bulk-actions/${NOBODY}/pause`, [404, "not_found"]),
    call("no such command", `POST /api/v1/bulk-actions/${NOBODY}/undo`, [404, "not_found"]),
    call("a method", `DELETE /api/v1/bulk-actions/${NOBODY}`, [405, "method_not_allowed"]),
    call("no body", `POST ${FAILED}/replay`, [400, "json_invalid"]),
    post(`${FAILED}/${NOBODY}/resolve`, { action: "Fixed", note: "n" }, [404, "not_found"]),
    post(`${FAILED}/${completed}/resolve`, { action: "fixed", note: "n" }, [
      422,
      "choice_unknown",
      "action",
    ]),
    post(`${FAILED}/${completed}/resolve`, { action: 99, note: "" }, [
      422,
      "validation_failed",
      "action",
      "note",
    ]),
    post(`${FAILED}/${completed}/replay`, {}, [404, "not_found"]),
    post(`${FAILED}/replay`, { filter: {} }, [422, "filter_empty", "filter"]),
    post(`${FAILED}/replay`, { filter: null }, [422, "type", "filter"]),
    post(`${FAILED}/replay`, {}, [422, "selection_missing", "body"]),
    post(`${FAILED}/replay`, { filter: { jobtype: "A" } }, [422, "unknown_field", "filter.jobtype"]),
    post(`${FAILED}/replay`, { filter: { kinds: [] } }, [422, "too_few_items", "filter.kinds"]),
    post(`${FAILED}/replay`, { ids: [completed] }, [422, "not_found", "ids.0"]),
    post(`${FAILED}/replay`, { ids: [NOBODY], ratePerSecond: 1e9 }, [422, "out_of_range", "ratePerSecond"]),
    post("/api/v1/occurrences/cancel", { filter: {} }, [422, "filter_empty", "filter"]),
    post("/api/v1/occurrences/cancel", { ids: [completed] }, [422, "not_found", "ids.0"]),
    post("/api/v1/occurrences/cancel", { filter: { statuses: ["Completed"] } }, [
      422,
      "choice_unknown",
      "filter.statuses.0",
    ]),
    post("/api/v1/occurrences/cancel", { filter: { jobId: NOBODY } }, [409, "state_conflict"]),
  ];
});
