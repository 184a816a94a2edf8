/** Paths of the API: `/api/v1/...` and `/apis/GROUP/VERSION/...` to what they are about. */
import { RESOURCES, type ResourceInfo, type Subresource } from "../resources.js";

export interface ResourceRoute {
  readonly info: ResourceInfo;
  readonly namespace?: string;
  /** Without a name the path is that of a collection. */
  readonly name?: string;
  readonly subresource?: Subresource;
}

/** The parts of a path, decoded; undefined when it is no path. */
export function pathParts(pathname: string): string[] | undefined {
  try {
    const parts = pathname.split("/").slice(1).map(decodeURIComponent);
    if (parts.at(-1) === "") parts.pop();
    // A part with a slash could name a key of the store that is not the object's own.
    return parts.some((part) => part === "" || part.includes("/")) ? undefined : parts;
  } catch {
    return undefined;
  }
}

/** The route of a resource's path; undefined when there is no such path. */
export function resourceRoute(parts: readonly string[]): ResourceRoute | undefined {
  const core = parts[0] === "api";
  if (!core && parts[0] !== "apis") return undefined;
  const [group, version, ...rest] = core ? ["", ...parts.slice(1)] : parts.slice(1);
  // A namespace's own path, /namespaces/NAME, is not one of things within it.
  const within = rest[0] === "namespaces" && rest.length > 2 && !isSubresource("namespaces", rest[2]);
  const [namespace, names] = within ? [rest[1], rest.slice(2)] : [undefined, rest];
  const [resource, name, subresource, ...more] = names;
  const info = RESOURCES.find(
    (one) => one.name === resource && one.group === group && one.version === version,
  );
  if (info === undefined || more.length > 0) return undefined;
  if (within ? !info.namespaced : info.namespaced && name !== undefined) return undefined;
  if (subresource !== undefined && !isSubresource(info.name, subresource)) return undefined;
  return {
    info,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource: subresource as Subresource }),
  };
}

function isSubresource(resource: string, word: string | undefined): boolean {
  const info = RESOURCES.find((one) => one.name === resource);
  return info?.subresources.some((one) => one === word) ?? false;
}
