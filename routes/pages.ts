/**
 * The pages that come with the API: what runs here, and the documentation. Static, without data, nothing from
 * elsewhere; their scripts ask the API as anyone would, so they need its token where one is needed.
 */
import { type Endpoint, endpoint } from "./endpoint.ts";
import clientScript from "./pages/client.js" with { type: "text" };
import docsPage from "./pages/docs.html" with { type: "text" };
import docsScript from "./pages/docs.js" with { type: "text" };
import homePage from "./pages/home.html" with { type: "text" };
import homeScript from "./pages/home.js" with { type: "text" };
import style from "./pages/style.css" with { type: "text" };

const FILES: readonly (readonly [path: string, contentType: string, text: string])[] = [
  ["/", "text/html", homePage],
  ["/docs", "text/html", docsPage],
  ["/assets/client.js", "text/javascript", clientScript],
  ["/assets/docs.js", "text/javascript", docsScript],
  ["/assets/home.js", "text/javascript", homeScript],
  ["/assets/style.css", "text/css", style],
];

/** The pages, and what they are made of. */
export function pageEndpoints(): readonly Endpoint[] {
  return FILES.map(([path, contentType, text]) =>
    endpoint({
      method: "GET",
      path,
      tag: "pages",
      summary: "A page",
      answers: { 200: { description: "The file", contentType } },
      problems: [],
      handle: () => new Response(text, { headers: { "content-type": `${contentType}; charset=utf-8` } }),
    })
  );
}
