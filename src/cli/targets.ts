/** Words such as `pods`, `svc/web`, `rc myweb mysql`, `pods,services` as resources and names. */
import { RESOURCES, type ResourceInfo } from "../kube/index.js";
import { CliError, Exit } from "./context.js";

export interface Target {
  readonly info: ResourceInfo;
  /** Empty: all of them. */
  readonly names: readonly string[];
}

/**
 * A resource by its plural, singular, kind or short name, with or without its group, as kubectl accepts them.
 * @throws CliError that names those there are
 */
export function findResource(word: string): ResourceInfo {
  const wanted = word.toLowerCase();
  const found = RESOURCES.find((info) =>
    [info.name, info.singular, ...info.shortNames].some(
      (name) => wanted === name || wanted === `${name}.${info.group}`,
    ),
  );
  if (found) return found;
  const known = RESOURCES.map((info) => info.shortNames[0] ?? info.name).join(", ");
  throw new CliError(`the lab doesn't have a resource type "${word}"; these are: ${known}`, Exit.usage);
}

/** A type as kubectl writes it before a name: `pod`, `replicaset.apps`. */
export function typeName({ singular, group }: ResourceInfo): string {
  return group === "" ? singular : `${singular}.${group}`;
}

/** @throws CliError for a type that is unknown or a word that is neither TYPE nor TYPE/NAME */
export function parseTargets(words: readonly string[]): Target[] {
  const [first = "", ...names] = words;
  if (words.some((word) => word.includes("/"))) {
    return words.map((word) => {
      const [type = "", name, more] = word.split("/");
      if (!name || more !== undefined)
        throw new CliError(`${word}: give TYPE/NAME, such as pod/web-1`, Exit.usage);
      return { info: findResource(type), names: [name] };
    });
  }
  const infos =
    first === "all"
      ? RESOURCES.filter((info) => info.categories.includes("all"))
      : first.split(",").map(findResource);
  return infos.map((info) => ({ info, names }));
}
