// What both pages need: asking the API, and building elements. All text of jobs goes in through textContent.

const TOKEN_KEY = "milvaion.token";

/** The token of this tab, or null. */
export function token() {
  return sessionStorage.getItem(TOKEN_KEY);
}

export function keepToken(value) {
  sessionStorage.setItem(TOKEN_KEY, value);
}

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.status = problem.status;
  }
}

/** The JSON answer of an address. Throws Refused with the problem's detail. */
export async function ask(path) {
  const headers = token() === null ? {} : { authorization: `Bearer ${token()}` };
  const response = await fetch(path, { headers });
  const body = await response.json();
  if (!response.ok) throw new Refused(body);
  return body;
}

/** `element("td", { class: "number" }, "12 ms")` */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Shows the form for the token; `onGiven` is called once it was given. */
export function askForToken(onGiven) {
  const form = byId("sign-in");
  form.hidden = false;
  byId("token").focus();
  form.onsubmit = (event) => {
    event.preventDefault();
    keepToken(byId("token").value);
    form.hidden = true;
    onGiven();
  };
}

export function showProblem(error) {
  const place = byId("problem");
  place.textContent = error === null ? "" : error.message;
  place.hidden = error === null;
}
