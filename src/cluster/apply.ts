/** Creates or updates objects as `kubectl apply` would, and says of each what became of it. */
import { type KubeClient, type KubeObject, resourceOf, retryOnConflict, StatusError } from "../kube/index.js";
import type { ManifestPlan } from "../topology/index.js";

export interface Applied {
  readonly resource: string;
  readonly name: string;
  readonly outcome: "created" | "configured" | "unchanged";
}

/** Raised with the manifest's place in its file before the API server's words. */
export class ManifestError extends Error {
  override readonly name = "ManifestError";
}

export async function applyManifests(
  client: KubeClient,
  manifests: readonly ManifestPlan[],
): Promise<Applied[]> {
  const applied: Applied[] = [];
  for (const manifest of manifests) {
    try {
      applied.push(await applyOne(client, manifest.object as KubeObject));
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      const { file, line, column } = manifest.position;
      throw new ManifestError(`${file}:${line}:${column}: ${error.message}`);
    }
  }
  return applied;
}

async function applyOne(client: KubeClient, object: KubeObject): Promise<Applied> {
  const resource = resourceOf(object.apiVersion ?? "", object.kind ?? "");
  const { name = "", namespace } = object.metadata ?? {};
  try {
    await client.create(resource, object);
    return { resource, name, outcome: "created" };
  } catch (error) {
    if (!(error instanceof StatusError) || error.status.reason !== "AlreadyExists") throw error;
  }
  const changed = await retryOnConflict(async () => {
    const found = await client.get<KubeObject>(resource, namespace, name);
    const merged = merge(found, object) as KubeObject;
    if (JSON.stringify(merged) === JSON.stringify(found)) return false;
    await client.update(resource, merged);
    return true;
  });
  return { resource, name, outcome: changed ? "configured" : "unchanged" };
}

/** What the manifest names replaces what is stored; fields it is silent of (status, allocated addresses) stay. */
function merge(stored: unknown, wanted: unknown): unknown {
  if (!isRecord(stored) || !isRecord(wanted)) {
    return Array.isArray(stored) && Array.isArray(wanted) ? mergeLists(stored, wanted) : wanted;
  }
  const merged: Record<string, unknown> = { ...stored };
  for (const [key, value] of Object.entries(wanted))
    merged[key] = key in stored ? merge(stored[key], value) : value;
  return merged;
}

/** Lists of named things (ports, containers, env) keep what the API server filled in; other lists are replaced. */
function mergeLists(stored: readonly unknown[], wanted: readonly unknown[]): unknown[] {
  return wanted.map((item) => {
    const key = isRecord(item)
      ? ["name", "containerPort", "port"].find((candidate) => candidate in item)
      : undefined;
    if (!isRecord(item) || key === undefined) return item;
    const match = stored.find((candidate) => isRecord(candidate) && candidate[key] === item[key]);
    return match === undefined ? item : merge(match, item);
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
