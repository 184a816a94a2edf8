/** Discovery: which groups, versions and resources there are, in the plain form that every kubectl accepts. */
import { RESOURCES, type ResourceInfo } from "../resources.js";

const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const PROXIED: readonly string[] = ["pods", "services"];
const PROXY_VERBS = ["create", "delete", "get", "patch", "update"];
const SUBRESOURCE_VERBS = ["get", "patch", "update"];

const GROUPS = [...new Set(RESOURCES.map((info) => info.group))].filter((group) => group !== "");

/** The version of Kubernetes whose API this is. */
export const VERSION = {
  major: "1",
  minor: "30",
  gitVersion: "v1.30.0+podwire",
  gitCommit: "",
  gitTreeState: "",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: "",
  platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}`,
};

/** The document at a discovery path given by its parts; undefined when there is none. */
export function discoveryDocument(parts: readonly string[]): object | undefined {
  const [root, group, version, ...more] = parts;
  if (more.length > 0) return undefined;
  if (root === "api") {
    if (group === undefined) {
      const serverAddressByClientCIDRs = [{ clientCIDR: "0.0.0.0/0", serverAddress: "" }];
      return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs };
    }
    return group === "v1" && version === undefined ? resourceList("", "v1") : undefined;
  }
  if (root !== "apis") return undefined;
  if (group === undefined) return { kind: "APIGroupList", apiVersion: "v1", groups: GROUPS.map(apiGroup) };
  if (!GROUPS.includes(group)) return undefined;
  if (version === undefined) return { kind: "APIGroup", apiVersion: "v1", ...apiGroup(group) };
  return version === "v1" ? resourceList(group, version) : undefined;
}

function apiGroup(name: string): object {
  const version = { groupVersion: `${name}/v1`, version: "v1" };
  return { name, versions: [version], preferredVersion: version };
}

function resourceList(group: string, version: string): object {
  const groupVersion = group === "" ? version : `${group}/${version}`;
  const infos = RESOURCES.filter((info) => info.group === group);
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources: infos.flatMap(apiResources) };
}

function proxyResource({ name, namespaced, kind }: ResourceInfo): object {
  return {
    name: `${name}/proxy`,
    singularName: "",
    namespaced,
    kind: `${kind}ProxyOptions`,
    verbs: PROXY_VERBS,
  };
}

function apiResources(info: ResourceInfo): object[] {
  const { name, singular: singularName, namespaced, kind, shortNames, categories } = info;
  const main = {
    name,
    singularName,
    namespaced,
    kind,
    verbs: VERBS,
    ...(shortNames.length > 0 ? { shortNames } : {}),
    ...(categories.length > 0 ? { categories } : {}),
  };
  const others = info.subresources.map((subresource) => ({
    name: `${name}/${subresource}`,
    singularName: "",
    namespaced,
    kind: subresource === "scale" ? "Scale" : kind,
    verbs: SUBRESOURCE_VERBS,
    ...(subresource === "scale" ? { group: "autoscaling", version: "v1" } : {}),
  }));
  return [main, ...others, ...(PROXIED.includes(name) ? [proxyResource(info)] : [])];
}
