/**
 * Links in what is proxied: those that begin at the root of the backend begin at its `/proxy` for the client
 * (apimachinery pkg/util/proxy/transport.go).
 */

/** Attributes whose values are URLs. */
const ATTRIBUTES = [
  ...[
    "action",
    "background",
    "cite",
    "classid",
    "codebase",
    "data",
    "formaction",
    "href",
    "icon",
    "longdesc",
  ],
  ...["manifest", "poster", "profile", "src", "usemap"],
];
const TAG = /<[a-zA-Z][^<>]*>/g;
const LINK = new RegExp(`(\\s(?:${ATTRIBUTES.join("|")})\\s*=\\s*)("[^"]*"|'[^']*')`, "gi");

export interface Rewriting {
  /** Path that the client puts before the backend's own. */
  readonly prefix: string;
  /** `host:port` of the backend, as in its own absolute URLs. */
  readonly backend: string;
}

/** The HTML text with the links of all tags changed. */
export function rewriteHtml(html: string, rewriting: Rewriting): string {
  return html.replace(TAG, (tag) =>
    tag.replace(LINK, (_, before: string, quoted: string) => {
      const quote = quoted[0]!;
      return `${before}${quote}${rewriteUrl(quoted.slice(1, -1), rewriting)}${quote}`;
    }),
  );
}

/** The URL as the client can use it; relative ones and those of other hosts are right as they are. */
export function rewriteUrl(url: string, { prefix, backend }: Rewriting): string {
  const [, host, path = ""] = /^(?:https?:)?\/\/([^/?#]*)(.*)$/i.exec(url) ?? [undefined, undefined, url];
  if (host !== undefined && host !== backend) return url;
  const target = path === "" && host !== undefined ? "/" : path;
  if (!target.startsWith("/") || target === prefix || target.startsWith(`${prefix}/`)) return target;
  return `${prefix}${target}`;
}
