/** Reads the files of `-f`; all are checked before anything is done with the first. */
import { readFileSync } from "node:fs";
import { loadManifests, type ManifestPlan } from "../topology/index.js";
import type { Lab } from "./context.js";

export function readManifests(files: readonly string[], lab: Lab, namespace: string): ManifestPlan[] {
  const images = Object.keys(lab.record.plan.images);
  return files.flatMap((file) => {
    const stdin = file === "-" ? { stdin: readFileSync(0, "utf8") } : {};
    return loadManifests(file, images, { namespace, ...stdin });
  });
}
