/** Events as Kubernetes' components record them: a repetition counts up the Event that is there. */
import { createHash } from "node:crypto";
import type { Event } from "../objects.js";
import { type KubeClient, type KubeObject, StatusError } from "../types.js";
import { retryOnConflict } from "./retry.js";

export interface EventRecord {
  /** The object that the Event is about. */
  readonly involved: KubeObject;
  readonly type: "Normal" | "Warning";
  /** One word in CamelCase, such as `Scheduled`. */
  readonly reason: string;
  readonly message: string;
  /** Who says so, such as `kubelet`. */
  readonly component: string;
}

/** Creates the Event, or adds one to its count and moves its last time. @throws StatusError, errors of the connection */
export async function recordEvent(client: KubeClient, record: EventRecord): Promise<void> {
  const now = `${new Date().toISOString().slice(0, 19)}Z`;
  const wanted = newEvent(record, now);
  const { namespace, name = "" } = wanted.metadata;
  await retryOnConflict(async () => {
    try {
      const found = await client.get<Event>("events", namespace, name);
      await client.update<Event>("events", { ...found, count: (found.count ?? 1) + 1, lastTimestamp: now });
    } catch (error) {
      if (!(error instanceof StatusError) || error.status.reason !== "NotFound") throw error;
      await client.create<Event>("events", wanted);
    }
  });
}

function newEvent({ involved, type, reason, message, component }: EventRecord, now: string): Event {
  const { apiVersion, kind, metadata = {} } = involved;
  const { name = "", namespace, uid, resourceVersion } = metadata;
  // Of what makes two Events the same one, so that no list has to be searched, also after a restart.
  const identity = JSON.stringify([kind, namespace, name, uid, type, reason, message, component]);
  const digest = createHash("sha256").update(identity).digest("hex").slice(0, 16);
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name}.${digest}`, namespace: namespace ?? "default" },
    involvedObject: {
      ...(kind ? { kind } : {}),
      ...(namespace ? { namespace } : {}),
      name,
      ...(uid ? { uid } : {}),
      ...(apiVersion ? { apiVersion } : {}),
      ...(resourceVersion ? { resourceVersion } : {}),
    },
    type,
    reason,
    message,
    source: { component },
    reportingComponent: component,
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  };
}
