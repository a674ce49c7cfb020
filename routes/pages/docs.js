import { ask, askForToken, byId, element, Refused, showProblem } from "./client.js";

/** Draws the OpenAPI document of this server. */
function draw(api) {
  const byTag = Map.groupBy(operations(api), ({ operation }) => operation.tags[0]);
  byId("content").replaceChildren(
    ...introduction(api.info.description),
    ...[...byTag].flatMap(([tag, group]) => [
      element("h2", { id: tag }, tag),
      ...group.map((one) => drawOperation(api, one)),
    ]),
    element("h2", { id: "problems" }, "Codes of problems"),
    problemTable(api["x-problems"]),
  );
  // The page was empty when the browser looked for the anchor.
  if (location.hash !== "") document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function* operations(api) {
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) yield { path, method, operation };
  }
}

/** Paragraphs and one list: all that the description uses of Markdown. */
function introduction(text) {
  const [first, ...rest] = text.split("\n\n");
  const points = rest.join("\n").split("\n").filter((line) => line.startsWith("- "));
  return [
    element("p", {}, first),
    element("ul", {}, ...points.map((point) => element("li", {}, ...withCode(point.slice(2))))),
  ];
}

/** `text with `code` in it` as nodes. */
function withCode(text) {
  return text.split("`").map((part, index) => index % 2 === 1 ? element("code", {}, part) : part);
}

function drawOperation(api, { path, method, operation }) {
  const body = operation.requestBody?.content["application/json"].schema;
  const title = element(
    "summary",
    {},
    element("span", { class: "method" }, method.toUpperCase()),
    element("code", {}, path),
    element("span", { class: "quiet" }, `  ${operation.summary}`),
  );
  return element(
    "details",
    { class: "endpoint", id: operation.operationId },
    title,
    ...(operation.description === undefined ? [] : [element("p", {}, operation.description)]),
    ...parameters(operation.parameters ?? []),
    ...(body === undefined ? [] : [
      element("h3", {}, operation.requestBody.required ? "Body" : "Body (may be left out)"),
      fields(api, body),
    ]),
    ...answers(api, operation.responses),
    element("h3", {}, "Try"),
    element("pre", {}, curl(path, method, body)),
  );
}

function parameters(list) {
  if (list.length === 0) return [];
  const rows = list.map(({ name, in: place, required, description, schema }) =>
    element(
      "li",
      {},
      element("code", {}, name),
      ` ${typeText(schema)}, ${place}${required ? ", required" : ""}`,
      element("span", { class: "quiet" }, description === undefined ? "" : ` · ${description}`),
    )
  );
  return [element("h3", {}, "Parameters"), element("ul", { class: "fields" }, ...rows)];
}

function answers(api, responses) {
  return Object.entries(responses).flatMap(([status, { description, content }]) => {
    const schema = content?.["application/json"]?.schema;
    return [
      element("h3", {}, `${status} `, element("span", { class: "quiet" }, description)),
      ...(schema === undefined ? [] : [fields(api, schema)]),
    ];
  });
}

function resolved(api, schema) {
  const name = schema.$ref?.replace("#/components/schemas/", "");
  return name === undefined ? schema : api.components.schemas[name];
}

function fields(api, given, depth = 0) {
  const schema = resolved(api, given);
  const inner = schema.items ?? schema.anyOf?.find((one) => one.type !== "null");
  if (schema.properties === undefined) {
    return inner === undefined || depth > 4 ? element("span", {}, "") : fields(api, inner, depth + 1);
  }
  const rows = Object.entries(schema.properties).map(([name, property]) => {
    const required = schema.required?.includes(name) && depth === 0 ? ", required" : "";
    return element(
      "li",
      {},
      element("code", {}, name),
      ` ${typeText(resolved(api, property))}${required}`,
      element(
        "span",
        { class: "quiet" },
        property.description === undefined ? "" : ` · ${property.description}`,
      ),
      depth > 4 ? "" : fields(api, property, depth + 1),
    );
  });
  return element("ul", { class: "fields" }, ...rows);
}

function typeText(schema) {
  if (schema.enum !== undefined) return schema.enum.map(String).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const types = schema.type === undefined
    ? (schema.anyOf ?? []).map(({ type }) => type ?? "value")
    : [schema.type].flat();
  const range = schema.minimum === undefined && schema.maximum === undefined
    ? ""
    : ` ${schema.minimum ?? ""}…${schema.maximum ?? ""}`;
  return (types.join(" or ") || "any value") + (schema.format === undefined ? "" : ` (${schema.format})`) +
    range;
}

function curl(path, method, body) {
  const options = method === "get" ? "" : ` -X ${method.toUpperCase()}`;
  const json = body === undefined ? "" : " \\\n  -H 'content-type: application/json' -d '{…}'";
  return `curl -s${options} ${location.origin}${path}${json}`;
}

function problemTable(problems) {
  const rows = Object.entries(problems).map(([code, { status, title }]) =>
    element(
      "tr",
      { id: code },
      element("td", { class: "number" }, String(status)),
      element("td", {}, element("code", {}, code)),
      element("td", {}, title),
    )
  );
  const head = ["Status", "Code", "Title"].map((text) => element("th", { scope: "col" }, text));
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...rows),
  );
}

async function start() {
  try {
    draw(await ask("/api/v1/openapi.json"));
    showProblem(null);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) askForToken(start);
    else showProblem(error);
  }
}

start();
