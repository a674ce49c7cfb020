/** Addresses that are refused: their ids, pages, filters, methods, and what is not one's own to listen to. */
import { assertEquals } from "@std/assert";
import { withApi } from "../support/api.ts";
import { call, JOBS, NOBODY, refuses } from "./bad_input.ts";

refuses("B10 ids that are none", () => [
  ...[
    "1",
    "{" + NOBODY + "}",
    NOBODY.replaceAll("-", ""),
    "00000000-0000-0000-0000-000000000000",
    "a".repeat(5000),
    "%00",
    "..%2F",
  ]
    .map((id) => call(`id ${id.slice(0, 40)}`, `GET ${JOBS}/${id}`, [400, "id_invalid", "id"])),
  call("an id of nothing, in capitals", `GET ${JOBS}/${NOBODY.toUpperCase()}`, [404, "not_found"]),
  call("out of the folder", `GET ${JOBS}/../../etc/passwd`, [404, "not_found"]),
  call("in a filter", "GET /api/v1/occurrences?jobId=1", [400, "id_invalid", "jobId"]),
]);

refuses("B11 pages and filters that are none", () => [
  ...["0", "-1", "201", "1000000000"].map((limit) =>
    call(`limit ${limit}`, `GET ${JOBS}?limit=${limit}`, [400, "out_of_range", "limit"])
  ),
  call("limit abc", `GET ${JOBS}?limit=abc`, [400, "type", "limit"]),
  call("a cursor made up", `GET ${JOBS}?cursor=bm90IG9uZQ`, [400, "cursor_invalid", "cursor"]),
  call("a parameter that does not exist", `GET ${JOBS}?sort=name`, [400, "field_unknown", "sort"]),
  call("a parameter given twice", `GET ${JOBS}?limit=1&limit=2`, [400, "duplicate", "limit"]),
  call("500 terms", `GET /api/v1/occurrences?status=${Array(500).fill("Failed").join()}`, [
    400,
    "filter_too_complex",
    "status",
  ]),
  call("a status that does not exist", "GET /api/v1/occurrences?status=Done", [
    400,
    "choice_unknown",
    "status",
  ]),
  call("a time without offset", "GET /api/v1/occurrences?from=2026-01-01T00:00:00", [
    400,
    "offset_required",
    "from",
  ]),
]);

refuses("B23 addresses and methods that do not exist", () => [
  call("an address", "GET /api/v1/job", [404, "not_found"]),
  call("a method", `PATCH ${JOBS}`, [405, "method_not_allowed"]),
  call("a method of an inner address", `DELETE ${JOBS}/${NOBODY}/trigger`, [405, "method_not_allowed"]),
]);

refuses("B25 listening to what is not one's own", () => [
  {
    ...call("a foreign page", "GET /api/v1/live", [403, "origin_not_allowed"]),
    headers: { origin: "http://evil.example" },
  },
  {
    ...call("a foreign name", "GET /api/v1/live", [421, "host_not_allowed"]),
    headers: { host: "evil.example" },
  },
  call("a token in the address", "GET /api/v1/live?access_token=abc", [
    400,
    "token_in_query",
    "access_token",
  ]),
  call("an occurrence that does not exist", `GET /api/v1/live?occurrenceId=${NOBODY}`, [404, "not_found"]),
  call("a type that does not exist", "GET /api/v1/live?types=everything", [400, "choice_unknown", "types"]),
]);

Deno.test("B13 what looks like a pattern or like SQL is searched for letter for letter", () =>
  withApi(async (api) => {
    await api.createJob({ displayName: "plain" });
    for (const search of ["%", "_", "\\", "'); DROP TABLE jobs; --", "(a+)+$", "*"]) {
      const { status, body } = await api.get(`${JOBS}?search=${encodeURIComponent(search)}`);
      assertEquals([status, body.items], [200, []], search);
    }
    assertEquals((await api.get(JOBS)).body.items.length, 1);
  }));
