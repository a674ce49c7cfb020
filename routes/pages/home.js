import { ask, askForToken, byId, element, Refused, showProblem, token } from "./client.js";

const SHOWN = 15;
const RECONNECT_MS = 2000;
const REFRESH_MS = 500;

const COMMANDS = [
  {
    title: "A job that runs each five seconds",
    command: (tool) =>
      `${tool} -H 'content-type: application/json' ${location.origin}/api/v1/jobs \\\n` +
      `  -d '{"displayName":"Hello","jobType":"SampleJob","cronExpression":"*/5 * * * * *","jobData":{"message":"hi"}}'`,
  },
  {
    title: "What ran",
    command: (tool, { job }) =>
      `${tool} '${location.origin}/api/v1/occurrences?limit=5${job === null ? "" : `&jobId=${job}`}'`,
  },
  {
    title: "What a run wrote",
    needs: "occurrence",
    command: (tool, { occurrence }) => `${tool} ${location.origin}/api/v1/occurrences/${occurrence}/logs`,
  },
  {
    title: "Run a job now",
    needs: "job",
    command: (tool, { job }) => `${tool} -X POST ${location.origin}/api/v1/jobs/${job}/trigger`,
  },
  {
    title: "When it will run",
    needs: "job",
    command: (tool, { job }) => `${tool} '${location.origin}/api/v1/jobs/${job}/next-runs?count=5'`,
  },
  {
    title: "Follow what happens",
    command: (tool) => `${tool} -N ${location.origin}/api/v1/live`,
  },
];

function momentCell(text) {
  if (text === null) return element("td", { class: "moment quiet" }, "—");
  const at = new Date(text);
  const time = element("time", { datetime: text, title: text }, at.toLocaleString());
  return element("td", { class: "moment" }, time);
}

function tookText(milliseconds) {
  if (milliseconds === null) return "";
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function outcomeText({ result, error, reason }) {
  if (error !== null) return `${error.name}: ${error.message}`;
  return result === null ? reason ?? "" : JSON.stringify(result);
}

function scheduleText(job) {
  if (job.pause !== null) return `paused: ${job.pause.reason}`;
  if (!job.isActive) return "not active";
  if (job.triggerOnly) return "when triggered";
  if (job.executeAt !== null) return "once";
  return `${job.cronExpression} (${job.timeZone})`;
}

function fill(id, rows) {
  byId(id).hidden = rows.length === 0;
  byId(`no-${id}`).hidden = rows.length > 0;
  byId(id).tBodies[0].replaceChildren(...rows);
}

function showCommands(ids) {
  const tool = token() === null ? "curl -s" : 'curl -s -H "Authorization: Bearer $MILVAION_API_TOKEN"';
  const shown = COMMANDS.filter(({ needs }) => needs === undefined || ids[needs] !== null);
  byId("commands").replaceChildren(...shown.flatMap(({ title, command }) => {
    const text = command(tool, ids);
    const copy = element("button", { type: "button", "aria-label": `Copy: ${title}` }, "Copy");
    copy.onclick = () => navigator.clipboard.writeText(text).then(() => copy.textContent = "Copied");
    return [element("h3", {}, title), element("div", { class: "try" }, element("pre", {}, text), copy)];
  }));
}

async function refresh() {
  const [about, leadership, workers, jobs, occurrences] = await Promise.all([
    ask("/api/v1/about"),
    ask("/api/v1/leadership"),
    ask("/api/v1/workers"),
    ask(`/api/v1/jobs?limit=${SHOWN}`),
    ask(`/api/v1/occurrences?limit=${SHOWN}`),
  ]);
  byId("store").textContent = about.store;
  byId("instance").textContent = `version ${about.version} at ${about.address}`;
  byId("leader").textContent = leadership.holder === null
    ? "nobody leads"
    : `${leadership.isLeader ? "this instance" : leadership.holder}, epoch ${leadership.epoch}`;
  byId("workers").textContent = workers.items.length === 0
    ? "none is there"
    : workers.items.map((one) => `${one.workerId}: ${one.lanesBusy} of ${one.maxParallelJobs} lanes busy`)
      .join("; ");
  byId("job-counts").textContent = `${about.jobs}, ${about.activeJobs} of them active`;
  const counts = Object.entries(about.occurrences).filter(([, count]) => count > 0);
  byId("occurrence-counts").textContent = counts.map(([status, count]) => `${count} ${status}`).join(", ") ||
    "none";

  const names = new Map(jobs.items.map((job) => [job.id, job.displayName]));
  fill(
    "occurrences",
    occurrences.items.map((one) =>
      element(
        "tr",
        {},
        momentCell(one.scheduledFor),
        element("td", { class: `status ${one.status}` }, one.status),
        element("td", {}, names.get(one.jobId) ?? one.jobType),
        element("td", { class: "number wide" }, tookText(one.durationMs)),
        element("td", { class: "wide" }, outcomeText(one)),
      )
    ),
  );
  fill(
    "jobs",
    jobs.items.map((job) => {
      const nextDue = momentCell(job.nextDueAt);
      nextDue.classList.add("wide");
      return element(
        "tr",
        {},
        element("td", {}, job.displayName),
        element("td", {}, job.jobType),
        element("td", {}, scheduleText(job)),
        nextDue,
      );
    }),
  );
  showCommands({ job: jobs.items[0]?.id ?? null, occurrence: occurrences.items[0]?.id ?? null });
}

/** Refreshes soon, once for however many events. */
let waiting = false;
function refreshSoon() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => {
    waiting = false;
    tryRefresh();
  }, REFRESH_MS);
}

async function tryRefresh() {
  try {
    await refresh();
    showProblem(null);
    return true;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) askForToken(start);
    else showProblem(error);
    return false;
  }
}

function light(state, text) {
  byId("light").className = `light ${state} quiet`;
  byId("light").textContent = text;
}

function listen() {
  const url = new URL("/api/v1/live", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const bytes = new TextEncoder().encode(token() ?? "");
  const base64 = btoa(String.fromCharCode(...bytes)).replace(/=+$/, "").replaceAll("+", "-").replaceAll(
    "/",
    "_",
  );
  const socket = new WebSocket(url, [
    "milvaion.v1",
    ...(token() === null ? [] : [`milvaion.bearer.${base64}`]),
  ]);
  socket.onopen = () => {
    light("live", "live");
    refreshSoon();
  };
  socket.onmessage = ({ data }) => {
    if (JSON.parse(data).type === "events") refreshSoon();
  };
  socket.onclose = () => {
    light("reconnecting", `reconnecting since ${new Date().toLocaleTimeString()}`);
    setTimeout(listen, RECONNECT_MS);
  };
}

async function start() {
  if (await tryRefresh()) listen();
}

start();
