/**
 * Addresses of the nodes of one cluster in one text, in either of two forms:
 *
 *   amqp://user:password@rabbit-1,rabbit-2:5673,rabbit-3/vhost     what is not a host holds for all
 *   amqp://user:password@rabbit-1/vhost,amqp://user:password@rabbit-2/vhost
 */

/** The nodes in their order, each as an address of its own, or what is wrong, in words without credentials. */
export type NodeAddresses =
  | { readonly ok: true; readonly urls: readonly [string, ...string[]] }
  | { readonly ok: false; readonly problem: string };

export function nodeAddresses(text: string): NodeAddresses {
  const urls = text.split(/,\s*(?=[a-z]+:\/\/)/i).map((one) => one.trim()).flatMap(eachHost);
  const parsed = urls.map((url) => URL.parse(url));
  const [first] = parsed;
  const [firstUrl, ...others] = urls;
  const seen = new Set<string>();
  for (const [index, url] of parsed.entries()) {
    const which = urls.length === 1 ? "it" : `address ${index + 1} of ${urls.length}`;
    if (url === null || url.hostname === "") return refused(`${which} is no address with a host`);
    if (url.protocol !== first?.protocol) {
      return refused(`${which} begins with another scheme than the first`);
    }
    if (url.pathname !== first.pathname) {
      return refused(
        `${which} names another path (a virtual host) than the first: the nodes are of one cluster`,
      );
    }
    if (seen.has(url.host)) return refused(`the host ${url.host} is named twice`);
    seen.add(url.host);
  }
  return firstUrl === undefined ? refused("it names no host") : { ok: true, urls: [firstUrl, ...others] };
}

/** The nodes of a text that was checked before. Throws RangeError for any other. */
export function nodesOf(text: string): readonly [string, ...string[]] {
  const read = nodeAddresses(text);
  if (!read.ok) throw new RangeError(`Not the addresses of one cluster: ${read.problem}`);
  return read.urls;
}

function refused(problem: string): NodeAddresses {
  return { ok: false, problem };
}

/** An address with several hosts becomes several addresses. */
function eachHost(text: string): readonly string[] {
  const parts = /^([a-z]+:\/\/)([^@/?#]*@)?([^/?#]*)(.*)$/i.exec(text);
  if (parts === null) return [text];
  const [, scheme = "", user = "", hosts = "", rest = ""] = parts;
  return hosts.split(",").map((host) => scheme + user + host.trim() + rest);
}
