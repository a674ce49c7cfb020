import { assert, assertEquals } from "@std/assert";
import { decode, decodeJob, encodeJob, text } from "./wire.ts";
import { messageWith } from "../../tests/support/messages.ts";

const INLINE_BYTES = 1024;

const message = (jobData: string) => messageWith({ jobData });

Deno.test("job data up to the threshold travels in the message, as it always did", () => {
  for (const jobData of ["{}", JSON.stringify("x".repeat(INLINE_BYTES - 2))]) {
    const content = encodeJob(message(jobData), INLINE_BYTES);
    assertEquals(JSON.parse(content.toString()), { v: 1, ...message(jobData) });
    assertEquals(decodeJob(content), { ok: true, value: message(jobData) });
  }
});

Deno.test("larger job data stays behind: the message says how large it is, and has some 400 bytes", () => {
  const jobData = JSON.stringify("ü".repeat(100_000));
  const content = encodeJob(message(jobData), INLINE_BYTES);
  assert(content.length < 450, `${content.length} bytes`);
  const decoded = decodeJob(content);
  const without = { ...message(jobData), jobData: null, jobDataBytes: 200_002 };
  assertEquals(decoded, { ok: true, value: without });
  assertEquals(encodeJob(without, INLINE_BYTES), content, "published again it is the same");
});

Deno.test("a worker that does not know of job data left behind parks the message and says why", () => {
  const content = encodeJob(message(JSON.stringify("x".repeat(2000))), INLINE_BYTES);
  assertEquals(decode(content, (fields) => text(fields, "jobData")), {
    ok: false,
    reason: "version 2 is not known",
  });
});
