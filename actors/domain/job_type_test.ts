import { assertEquals } from "@std/assert";
import { defaultRoutingPattern, queueName, typeKey } from "./job_type.ts";

Deno.test("the type key is the class name in lower case without a trailing Job", () => {
  for (
    const [name, key] of [
      ["SendEmailJob", "sendemail"],
      ["GenerateReport", "generatereport"],
      ["JobberJob", "jobber"],
      ["Job", "job"],
      ["JobOfJobs", "jobofjobs"],
    ] as const
  ) assertEquals(typeKey(name), key);
});

Deno.test("queues carry the names that the guide prints", () => {
  assertEquals(defaultRoutingPattern("SendEmailJob"), "sendemail.*");
  assertEquals(queueName("sendemail.*", null), "jobs.sendemail.wildcard");
  assertEquals(queueName("report.#", null), "jobs.report.all");
  assertEquals(queueName("sendemail.*", "mail"), "jobs.mail.sendemail.wildcard");
});
