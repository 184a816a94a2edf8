/** Words such as `pods`, `svc/web`, `rc myweb mysql`, `pods,services` as resources and names. */
import { RESOURCES, type ResourceName } from "../kube/index.js";
import { CliError, Exit } from "./context.js";

export interface Target {
  readonly resource: ResourceName;
  /** Empty: all of them. */
  readonly names: readonly string[];
}

/** A resource by its plural, singular, kind or short name, as kubectl accepts them. */
export function findResource(word: string): ResourceName {
  const wanted = word.toLowerCase();
  for (const info of RESOURCES) {
    if ([info.name, info.singular, info.kind.toLowerCase(), ...info.shortNames].includes(wanted))
      return info.name;
  }
  const known = RESOURCES.map((info) => info.shortNames[0] ?? info.name).join(", ");
  throw new CliError(`the lab doesn't have a resource type "${word}"; these are: ${known}`, Exit.usage);
}

export function parseTargets(words: readonly string[]): Target[] {
  const [first = "", ...rest] = words;
  if (words.some((word) => word.includes("/"))) {
    return words.map((word) => {
      const [type = "", name, more] = word.split("/");
      if (!name || more !== undefined)
        throw new CliError(`${word}: give TYPE/NAME, such as pod/web-1`, Exit.usage);
      return { resource: findResource(type), names: [name] };
    });
  }
  if (first === "all")
    return (["pods", "replicationcontrollers", "services", "replicasets"] as const).map((resource) => ({
      resource,
      names: rest,
    }));
  return first.split(",").map((type) => ({ resource: findResource(type), names: rest }));
}
