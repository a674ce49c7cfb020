/** The contract of `Events`. */
import type { Events, LiveEvent } from "../../actors/ports/events.ts";
import { assertEquals } from "@std/assert";
import { Inbox } from "./inbox.ts";

export type EventsFactory = () => Promise<{ readonly events: Events; close(): Promise<void> }>;

export function eventsContract(name: string, factory: EventsFactory): void {
  const promise = (sentence: string, body: (events: Events) => Promise<void>) =>
    Deno.test(`${name} events: ${sentence}`, async () => {
      const { events, close } = await factory();
      try {
        await body(events);
      } finally {
        await close();
      }
    });

  promise("each listener gets the events of its types, in order", async (events) => {
    const jobs = new Inbox<LiveEvent>();
    const both = new Inbox<LiveEvent>();
    const ends = [
      events.subscribe(["jobChanged"], (news) => jobs.push(news)),
      events.subscribe(["jobChanged", "workersChanged"], (news) => both.push(news)),
    ];
    const news = [jobChanged("a"), { type: "workersChanged", at: 2 } as const, jobChanged("b")];
    events.publish(news);
    assertEquals(await both.take(3), news);
    assertEquals(await jobs.take(2), [jobChanged("a"), jobChanged("b")]);
    for (const end of ends) end();
  });

  promise("a listener's fault reaches neither the publisher nor the others", async (events) => {
    const inbox = new Inbox<LiveEvent>();
    const ends = [
      events.subscribe(["jobChanged"], () => {
        throw new Error("a listener's own fault");
      }),
      events.subscribe(["jobChanged"], (news) => inbox.push(news)),
    ];
    events.publish([jobChanged("a")]);
    assertEquals(await inbox.take(1), [jobChanged("a")]);
    for (const end of ends) end();
  });

  promise("says whether anybody listens, and an ended subscription hears nothing", async (events) => {
    const listener = new Inbox<LiveEvent>();
    const listen = (news: readonly LiveEvent[]) => listener.push(news);
    const first = events.subscribe(["jobChanged"], listen);
    const second = events.subscribe(["jobChanged"], listen);
    assertEquals([events.wants("jobChanged"), events.wants("workersChanged")], [true, false]);
    first();
    first();
    events.publish([jobChanged("a")]);
    assertEquals(await listener.take(1), [jobChanged("a")]);
    assertEquals(listener.length, 0, "the same function may subscribe twice and end once");
    second();
    events.publish([jobChanged("b")]);
    assertEquals([events.wants("jobChanged"), listener.length], [false, 0]);
  });
}

function jobChanged(jobId: string): LiveEvent {
  return { type: "jobChanged", jobId, at: 1 };
}
